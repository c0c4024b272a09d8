// Adam, clipping and averaging on the engine against plain float64.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Parameter } from '../../dist/autograd/parameter.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine } from '../../dist/engine/types.js';
import { Random } from '../../dist/nn/random.js';
import { OptionError } from '../../dist/tensor/errors.js';
import { Adam, type AdamOptions, WeightAverage } from '../../dist/train/index.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

const SHAPES: [string, number[]][] = [
  ['matrix', [7, 13]],
  ['vector', [5]],
];

function numbers(random: Random, count: number): Float32Array {
  return Float32Array.from({ length: count }, () => (random.uint32() / 2 ** 31 - 1) * 2);
}

function parametersOf(random: Random): Map<string, Parameter> {
  return new Map(
    SHAPES.map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b);
      return [name, Parameter.create(engine, name, shape, numbers(random, size))];
    }),
  );
}

interface Plain {
  p: number[];
  m: number[];
  v: number[];
}

/** One step of all parameters in float64. */
function plainStep(
  all: Map<string, Plain>,
  grads: Map<string, Float32Array>,
  step: number,
  rate: number,
  multiply: number,
  o: AdamOptions,
): void {
  let squared = 0;
  for (const grad of grads.values()) for (const g of grad) squared += g * g;
  const norm = multiply * Math.sqrt(squared);
  const scale = multiply * (o.clip > 0 ? Math.min(1, o.clip / norm) : 1);
  for (const [name, { p, m, v }] of all) {
    const decay = name === 'matrix' ? o.weightDecay : 0;
    grads.get(name)!.forEach((raw, i) => {
      const g = raw * scale;
      m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
      v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
      const mean = m[i] / (1 - o.beta1 ** step);
      const root = Math.sqrt(v[i] / (1 - o.beta2 ** step));
      p[i] += -rate * decay * p[i] - (rate * mean) / (root + o.eps);
    });
  }
}

const base: AdamOptions = { beta1: 0.9, beta2: 0.98, eps: 1e-9, weightDecay: 0, clip: 0 };
test.each([
  ['Adam', base],
  ['AdamW: decay on matrices alone', { ...base, weightDecay: 0.1 }],
  ['clipping that bites', { ...base, clip: 0.05 }],
  ['clipping that does not', { ...base, clip: 1e6 }],
  ['a large eps', { ...base, eps: 0.3 }],
])('%s: 20 steps within 3e-6 of float64', async (_, options) => {
  const random = new Random(11);
  const parameters = parametersOf(random);
  const all = new Map<string, Plain>();
  for (const [name, { value }] of parameters) {
    const p = [...((await value.read()) as Float32Array)];
    all.set(name, { p, m: p.map(() => 0), v: p.map(() => 0) });
  }
  const adam = new Adam(parameters, options);
  const squared = engine.zeros([1]);
  for (let step = 1; step <= 20; step++) {
    const grads = new Map<string, Float32Array>();
    let sum = 0;
    for (const [name, { grad }] of parameters) {
      grads.set(name, numbers(random, grad.size));
      grad.write(grads.get(name)!);
      for (const g of grads.get(name)!) sum += g * g;
    }
    const rate = 0.01 / step;
    adam.step(step, rate, 0.25, squared);
    plainStep(all, grads, step, rate, 0.25, options);
    const [got] = (await squared.read()) as Float32Array;
    expect(Math.abs(got - sum)).toBeLessThanOrEqual(1e-6 * sum);
  }
  for (const [name, { value, grad }] of parameters) {
    const got = (await value.read()) as Float32Array;
    all.get(name)!.p.forEach((x, i) => {
      expect(Math.abs(got[i] - x), `${name}[${i}]`).toBeLessThanOrEqual(3e-6);
    });
    // The gradients are zeroed for the next step.
    expect(((await grad.read()) as Float32Array).every((g) => g === 0)).toBe(true);
  }
  adam.dispose();
  squared.dispose();
  for (const parameter of parameters.values()) parameter.dispose();
});

test('options out of range name themselves', () => {
  const parameters = parametersOf(new Random(1));
  for (const [name, value] of Object.entries({
    beta1: 1,
    beta2: -1,
    eps: 0,
    weightDecay: -1,
    clip: Number.NaN,
  })) {
    expect(() => new Adam(parameters, { [name]: value })).toThrow(OptionError);
    expect(() => new Adam(parameters, { [name]: value })).toThrow(`adam: ${name} must`);
  }
  expect(() => new Adam(new Map())).toThrow(/no parameters/);
  for (const [name, value] of Object.entries({ decay: 1, every: 0, fromStep: 0 })) {
    expect(() => new WeightAverage(parameters, { kind: 'ema', [name]: value })).toThrow(
      `averaging: ${name} must`,
    );
  }
});

test.each(['mean', 'ema'] as const)(
  '%s of every second step from the third: within 1e-6 of float64',
  async (kind) => {
    const random = new Random(3);
    const parameters = parametersOf(random);
    const average = new WeightAverage(parameters, { kind, decay: 0.5, fromStep: 3, every: 2 });
    const { value } = parameters.get('vector')!;
    let expected: number[] = [];
    let samples = 0;
    for (let step = 1; step <= 9; step++) {
      const now = numbers(random, value.size);
      value.write(now);
      average.update(step);
      if (step < 3 || (step - 3) % 2 !== 0) continue;
      const n = samples++;
      const share = kind === 'mean' ? 1 / (n + 1) : n === 0 ? 1 : 1 - Math.min(0.5, (1 + n) / (10 + n));
      expected = [...now].map((x, i) => (n === 0 ? x : expected[i] + share * (x - expected[i])));
    }
    expect(average.samples).toBe(4);
    const got = (await average.values.get('vector')!.read()) as Float32Array;
    expected.forEach((x, i) => {
      expect(Math.abs(got[i] - x)).toBeLessThanOrEqual(1e-6);
    });
    const trained = [...((await value.read()) as Float32Array)];
    const inPlace = await average.during(async () => [...((await value.read()) as Float32Array)]);
    expect(inPlace).toEqual([...got]);
    expect([...((await value.read()) as Float32Array)]).toEqual(trained);
    // The trained values come back when scoring fails, too.
    await expect(average.during(() => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect([...((await value.read()) as Float32Array)]).toEqual(trained);
    average.dispose();
  },
);
