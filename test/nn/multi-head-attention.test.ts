// Multi-head attention, every option of the layer: values, weights and gradients against plain float64 loops.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DropoutStream } from '../../dist/autograd/dropout-stream.js';
import { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import {
  type AttentionForwardOptions,
  MultiHeadAttention,
  type MultiHeadAttentionOptions,
  packSequences,
  Random,
} from '../../dist/nn/index.js';
import { difference, type Host, numericGradient, randomHost, toEngine } from '../autograd/gradients.js';
import { type PlainOptions, plainAttention } from './attention-reference.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

const E = 6;
const H = 2;
const TOLERANCE = 2e-5;

interface Case {
  name: string;
  /** [B, Lq, Lk]; default [2,3,4]. */
  sizes?: [number, number, number];
  layer?: Partial<MultiHeadAttentionOptions>;
  sharing?: 'all' | 'keyValue';
  options?: (engine: Engine) => AttentionForwardOptions;
  plain?: Partial<PlainOptions>;
}

const bytes = (shape: number[], f: (...at: number[]) => unknown): Uint8Array => {
  const size = shape.reduce((a, b) => a * b, 1);
  return Uint8Array.from({ length: size }, (_, index) => {
    const at: number[] = [];
    for (let i = shape.length - 1, rest = index; i >= 0; rest = Math.floor(rest / shape[i]), i--) {
      at.unshift(rest % shape[i]);
    }
    return f(...at) ? 1 : 0;
  });
};
const bool = (shape: number[], f: (...at: number[]) => unknown) => engine.tensor(bytes(shape, f), shape);
const float = (shape: number[], f: (index: number) => number) =>
  engine.tensor(
    Float32Array.from(
      bytes(shape, () => 1),
      (_, i) => f(i),
    ),
    shape,
  );
const wave = (index: number) => Math.fround(Math.sin(index * 1.7));

const CASES: Case[] = [
  { name: 'three different inputs' },
  { name: 'self-attention by one fused product', sizes: [2, 4, 4], sharing: 'all' },
  { name: 'keys and values by one fused product', sharing: 'keyValue' },
  { name: 'no biases', layer: { bias: false }, sharing: 'keyValue' },
  { name: 'kdim and vdim', layer: { kdim: 5, vdim: 7 } },
  { name: 'kdim alone, no biases', layer: { kdim: 4, bias: false } },
  { name: 'one head', layer: { heads: 1 }, plain: { heads: 1 } },
  { name: 'learned appended key', layer: { addBiasKV: true }, plain: { addBiasKV: true } },
  { name: 'zero appended key', layer: { addZeroAttention: true }, plain: { addZeroAttention: true } },
  {
    name: 'both appended, with kdim and a mask per head',
    layer: { addBiasKV: true, addZeroAttention: true, kdim: 3 },
    options: () => ({ mask: bool([2, 3, 4], (h, i, j) => (h + i + j) % 2) }),
    plain: { addBiasKV: true, addZeroAttention: true, allowed: (_, h, i, j) => (h + i + j) % 2 === 1 },
  },
  {
    name: 'causal and key lengths with appended keys',
    layer: { addZeroAttention: true },
    sizes: [2, 3, 3],
    options: () => ({ causal: true, keyLengths: [3, 1] }),
    plain: { addZeroAttention: true, allowed: (b, _, i, j) => j <= i && j < [3, 1][b] },
  },
  {
    name: 'lower-right diagonal with lengths and appended keys',
    layer: { addZeroAttention: true },
    options: () => ({ causal: 'lower-right', keyLengths: [4, 3] }),
    plain: { addZeroAttention: true, allowed: (b, _, i, j) => j < [4, 3][b] && j <= i + [4, 3][b] - 3 },
  },
  {
    name: 'causal',
    sizes: [2, 4, 4],
    options: () => ({ causal: true }),
    plain: { allowed: (_, __, i, j) => j <= i },
  },
  {
    name: 'upper-left diagonal',
    options: () => ({ causal: 'upper-left' }),
    plain: { allowed: (_, __, i, j) => j <= i },
  },
  {
    name: 'lower-right diagonal',
    options: () => ({ causal: 'lower-right' }),
    plain: { allowed: (_, __, i, j) => j <= i + 1 },
  },
  {
    name: 'diagonal with an offset, forbidding a whole row',
    options: () => ({ causal: { offset: -1 } }),
    plain: { allowed: (_, __, i, j) => j <= i - 1 },
  },
  {
    name: 'lower-right diagonal with key lengths',
    options: () => ({ causal: 'lower-right', keyLengths: [4, 3] }),
    plain: { allowed: (b, _, i, j) => j < [4, 3][b] && j <= i + [4, 3][b] - 3 },
  },
  {
    name: 'key lengths, one of 0',
    options: () => ({ keyLengths: [0, 3] }),
    plain: { allowed: (b, _, __, j) => j < [0, 3][b] },
  },
  {
    name: 'bool mask per batch, key mask, causal: all together',
    sizes: [2, 4, 4],
    options: () => ({
      mask: bool([2, 1, 4, 4], (b, _, i, j) => (b + i * j) % 3),
      keyMask: bool([2, 4], (b, j) => j !== b + 1),
      causal: true,
    }),
    plain: { allowed: (b, _, i, j) => (b + i * j) % 3 !== 0 && j !== b + 1 && j <= i },
  },
  {
    name: 'float mask and float key mask add up',
    options: () => ({ mask: float([3, 4], wave), keyMask: float([2, 4], (i) => -wave(i + 5)) }),
    plain: { bias: (b, _, i, j) => wave(i * 4 + j) - wave(b * 4 + j + 5) },
  },
  {
    name: 'float mask with minus infinity, bool key mask, learned key',
    layer: { addBiasKV: true },
    options: () => ({
      mask: float([3, 4], (i) => (i % 3 === 0 ? Number.NEGATIVE_INFINITY : wave(i))),
      keyMask: bool([2, 4], (b, j) => b !== j),
    }),
    plain: {
      addBiasKV: true,
      allowed: (b, _, i, j) => b !== j && (i * 4 + j) % 3 !== 0,
      bias: (_, __, i, j) => ((i * 4 + j) % 3 === 0 ? 0 : wave(i * 4 + j)),
    },
  },
  { name: 'one query, one key', sizes: [1, 1, 1] },
];

/** [B,L,·] as [L,B,·]. */
function seqFirst({ data, shape: [B, L, W] }: Host): Host {
  const moved = new Float64Array(data.length);
  for (let b = 0; b < B; b++) {
    for (let l = 0; l < L; l++)
      moved.set(data.subarray((b * L + l) * W, (b * L + l + 1) * W), (l * B + b) * W);
  }
  return { data: moved, shape: [L, B, W] };
}

type Form = 'batch-first' | 'seq-first' | 'unbatched';

async function check(c: Case, form: Form): Promise<void> {
  const before = engine.memory.tensors;
  const random = new Random(11);
  const [B, Lq, Lk] = c.sizes ?? [2, 3, 4];
  const layer = { embedDim: E, heads: H, ...c.layer, batchFirst: form !== 'seq-first' };
  const module = new MultiHeadAttention(engine, layer, random);
  const names = [...module.parameters().keys()];
  const values: Host[] = [];
  for (const { shape, value } of module.parameters().values()) {
    values.push(randomHost(random, [...shape], 0.5));
    value.write(Float32Array.from(values[values.length - 1].data));
  }
  const query = randomHost(random, [B, Lq, E]);
  const key = c.sharing === 'all' ? query : randomHost(random, [B, Lk, c.layer?.kdim ?? E]);
  const value = c.sharing ? key : randomHost(random, [B, Lk, c.layer?.vdim ?? E]);
  const distinct = [...new Set([query, key, value])];
  const plain = (want: 'output' | 'weights') => (all: Host[]) => {
    const named = Object.fromEntries(names.map((name, i) => [name, all[i]]));
    return plainAttention(named, query, key, value, { embedDim: E, heads: H, ...c.plain })[want];
  };
  const everything = [...values, ...distinct];
  const output = plain('output')(everything);
  const dy = { data: Float64Array.from(output, () => Math.fround(random.normal())), shape: [B, Lq, E] };

  const arrange = (x: Host): Host =>
    form === 'seq-first' ? seqFirst(x) : form === 'unbatched' ? { data: x.data, shape: x.shape.slice(1) } : x;
  const result = engine.scope(() => {
    const tape = new Tape(engine);
    const tensors = distinct.map((x) => tape.watch(toEngine(engine, arrange(x))));
    const [q, k, v] = [query, key, value].map((x) => tensors[distinct.indexOf(x)]);
    const options = { ...c.options?.(engine), needWeights: 'heads' as const };
    const { output, weights } = module.forward(tape, q, k, v, options);
    const mean = module.forward(null, q, k, v, { ...options, needWeights: 'mean' }).weights!;
    tape.backward(output, toEngine(engine, arrange(dy)));
    return { output, weights: weights!, mean, gradients: tensors.map((t) => tape.gradient(t)!) };
  });
  const read = async (tensor: Tensor) => Float64Array.from((await tensor.read()) as Float32Array);
  const expectClose = async (tensor: Tensor, expected: Host, label: string) => {
    expect(tensor.shape, label).toEqual(expected.shape);
    expect(difference(await read(tensor), expected.data), label).toBeLessThan(TOLERANCE);
  };
  const heads = layer.heads;
  const keys = Lk + +!!c.layer?.addBiasKV + +!!c.layer?.addZeroAttention;
  const lead = form === 'unbatched' ? [] : [B];
  const weights = plain('weights')(everything);
  const mean = Float64Array.from({ length: B * Lq * keys }, (_, index) => {
    const [b, cell] = [Math.floor(index / (Lq * keys)), index % (Lq * keys)];
    let sum = 0;
    for (let h = 0; h < heads; h++) sum += weights[(b * heads + h) * Lq * keys + cell];
    return sum / heads;
  });
  await expectClose(result.output, arrange({ data: output, shape: [B, Lq, E] }), 'output');
  await expectClose(result.weights, { data: weights, shape: [...lead, heads, Lq, keys] }, 'weights');
  await expectClose(result.mean, { data: mean, shape: [...lead, Lq, keys] }, 'mean weights');
  const gradient = (i: number) => numericGradient(plain('output'), everything, i, dy.data);
  for (let i = 0; i < distinct.length; i++) {
    const expected = { data: gradient(names.length + i), shape: distinct[i].shape };
    await expectClose(result.gradients[i], arrange(expected), `gradient of input ${i}`);
  }
  const parameters = [...module.parameters().values()];
  for (let i = 0; i < names.length; i++) {
    await expectClose(
      parameters[i].grad,
      { data: gradient(i), shape: values[i].shape },
      `gradient of ${names[i]}`,
    );
  }
  for (const tensor of [result.output, result.weights, result.mean, ...result.gradients]) tensor.dispose();
  module.dispose();
  expect(engine.memory.tensors, 'tensors left behind').toBe(before);
}

const WITHIN = 'output, weights and all gradients within 2e-5 of the largest magnitude';

describe.each(['batch-first', 'seq-first'] as const)(`%s: ${WITHIN}`, (form) => {
  test.each(CASES.map((c) => [c.name, c] as const))('%s', (_, c) => check(c, form));
});

describe(`unbatched: ${WITHIN}`, () => {
  const options = () => ({ keyMask: bool([4], (j) => j !== 2) });
  test.each<[string, Case]>([
    ['plain', { name: '', sizes: [1, 3, 4] }],
    [
      'key mask [Lk]',
      { name: '', sizes: [1, 3, 4], options, plain: { allowed: (_, __, ___, j) => j !== 2 } },
    ],
    [
      'mask per head and learned key',
      {
        name: '',
        sizes: [1, 3, 4],
        layer: { addBiasKV: true },
        options: () => ({ mask: bool([2, 3, 4], (h, i, j) => (h + i + j) % 2) }),
        plain: { addBiasKV: true, allowed: (_, h, i, j) => (h + i + j) % 2 === 1 },
      },
    ],
  ])('%s', (_, c) => check(c, 'unbatched'));
});

describe('packed sequences', () => {
  const lengths = { query: [3, 1, 5, 0], key: [2, 4, 5, 1] };
  const total = (list: number[]) => list.reduce((a, b) => a + b, 0);
  const starts = (list: number[]) => list.map((_, i) => total(list.slice(0, i)));

  test.each([
    ['cross', {}, undefined],
    ['cross, lower-right diagonal', {}, 'lower-right'],
    ['cross, upper-left diagonal', {}, 'upper-left'],
    ['cross, learned and zero keys', { addBiasKV: true, addZeroAttention: true }, undefined],
    ['self, causal', { self: true }, true],
  ] as const)('%s: equal to one call per sequence within 1e-6', async (_, given, causal) => {
    const { self, ...layer } = { self: false, ...given };
    const random = new Random(5);
    const module = new MultiHeadAttention(engine, { embedDim: E, heads: H, ...layer }, random);
    const list = { query: lengths.query, key: self ? lengths.query : lengths.key };
    const query = randomHost(random, [total(list.query), E]);
    const key = self ? query : randomHost(random, [total(list.key), E]);
    const dy = randomHost(random, query.shape);
    const run = (q: Host, k: Host, d: Host, options: (e: Engine) => AttentionForwardOptions) =>
      engine.scope(() => {
        const tape = new Tape(engine);
        const x = tape.watch(toEngine(engine, q));
        const memory = self ? x : tape.watch(toEngine(engine, k));
        const { output } = module.forward(tape, x, memory, memory, { ...options(engine), causal });
        tape.backward(output, toEngine(engine, d));
        return [output, tape.gradient(x)!, tape.gradient(memory)!];
      });
    const packed = run(query, key, dy, (e) => {
      const q = packSequences(e, list.query);
      return { packed: { query: q, key: self ? q : packSequences(e, list.key) } };
    });
    const grads = new Map<string, Float32Array>();
    for (const [name, parameter] of module.parameters()) {
      grads.set(name, (await parameter.grad.read()) as Float32Array);
    }
    module.zeroGrad();
    const apart = [[], [], []] as number[][];
    const part = (x: Host, sizes: number[], b: number): Host => {
      const from = starts(sizes)[b] * E;
      return { data: x.data.slice(from, from + sizes[b] * E), shape: [sizes[b], E] };
    };
    for (let b = 0; b < list.query.length; b++) {
      const [q, k, d] = [part(query, list.query, b), part(key, list.key, b), part(dy, list.query, b)];
      const results = run(q, k, d, () => ({}));
      for (let i = 0; i < 3; i++) apart[i].push(...((await results[i].read()) as Float32Array));
      for (const tensor of results) tensor.dispose();
    }
    for (let i = 0; i < 3; i++) {
      expect(difference((await packed[i].read()) as Float32Array, apart[i])).toBeLessThan(1e-6);
    }
    for (const [name, parameter] of module.parameters()) {
      const sum = (await parameter.grad.read()) as Float32Array;
      expect(difference(grads.get(name)!, sum), name).toBeLessThan(1e-6);
    }
    for (const tensor of packed) tensor.dispose();
    module.dispose();
  });
});

test('projections of the memory made beforehand give the same bits', async () => {
  const random = new Random(8);
  const module = new MultiHeadAttention(engine, { embedDim: E, heads: H }, random);
  const [direct, reused] = engine.scope(() => {
    const [x, memory] = [
      toEngine(engine, randomHost(random, [2, 3, E])),
      toEngine(engine, randomHost(random, [2, 4, E])),
    ];
    const projected = module.projectMemory(null, memory);
    return [module.forward(null, x, memory).output, module.forward(null, x, x, x, { projected }).output];
  });
  expect(await reused.read()).toEqual(await direct.read());
  for (const tensor of [direct, reused]) tensor.dispose();
  module.dispose();
});

test('dropout draws the same weights from the same state, and others from the next', async () => {
  const random = new Random(8);
  const module = new MultiHeadAttention(engine, { embedDim: E, heads: H, dropout: 0.5 }, random);
  const x = toEngine(engine, randomHost(random, [2, 5, E]));
  const run = async (dropout: DropoutStream | null) => {
    const y = engine.scope(() => module.forward(new Tape(engine, { dropout }), x).output);
    const data = await y.read();
    y.dispose();
    return data;
  };
  const stream = new DropoutStream(3, 9);
  const first = await run(stream);
  expect(stream.state).toEqual({ seed: 3, counter: 10 });
  expect(await run(stream)).not.toEqual(first);
  expect(await run(new DropoutStream(3, 9))).toEqual(first);
  expect(await run(null)).toEqual(await run(null));
  expect(await run(null)).not.toEqual(first);
  x.dispose();
  module.dispose();
});

test('what does not fit is refused by name', () => {
  const module = new MultiHeadAttention(engine, { embedDim: E, heads: H }, null);
  const grown = new MultiHeadAttention(engine, { embedDim: E, heads: H, addBiasKV: true }, null);
  engine.scope(() => {
    const x = engine.zeros([2, 3, E]);
    const memory = engine.zeros([2, 4, E]);
    const forward =
      (options: AttentionForwardOptions, key = memory) =>
      () =>
        module.forward(null, x, key, key, options);
    expect(() => new MultiHeadAttention(engine, { embedDim: 6, heads: 4 }, null)).toThrow(
      'not a multiple of heads 4',
    );
    expect(forward({ causal: true })).toThrow("say 'upper-left' or 'lower-right'");
    expect(forward({}, engine.zeros([3, 4, E]))).toThrow('key has shape [3,4,6], but query has [2,3,6]');
    expect(forward({}, engine.zeros([2, 4, 5]))).toThrow(
      'key has shape [2,4,5], expected a last dimension of 6',
    );
    expect(forward({ mask: bool([4, 3], () => 1) })).toThrow('mask: has shape [4,3]');
    expect(forward({ mask: engine.zeros([3, 4], 'int32') })).toThrow(
      'mask is int32, expected bool or float32',
    );
    expect(forward({ keyMask: bool([4], () => 1) })).toThrow('keyMask has shape [4], expected [2,4]');
    expect(forward({ keyLengths: [1] })).toThrow('1 keyLengths, expected 2');
    expect(forward({ keyLengths: [1, 5] })).toThrow(
      'keyLengths[1] must be a whole number from 0 to 4, got 5',
    );
    const lengths = packSequences(engine, [2, 1]);
    expect(forward({ packed: { query: lengths, key: lengths } })).toThrow('packed query has shape [2,3,6]');
    const flat = engine.zeros([3, E]);
    const packed = { query: lengths, key: lengths };
    expect(() => module.forward(null, flat, flat, flat, { packed, keyLengths: [1, 1] })).toThrow(
      'packed sequences',
    );
    expect(() => module.forward(null, flat, flat, flat, { packed, needWeights: 'mean' })).toThrow(
      'from the record',
    );
    expect(() => grown.forward(null, flat, flat, flat, { packed, causal: true })).toThrow('have no kernel');
    expect(() => grown.projectMemory(null, x)).toThrow('no appended keys');
    expect(() => packSequences(engine, [1, -1])).toThrow('length 1 must be a whole number from 0');
  });
  module.dispose();
  grown.dispose();
});
