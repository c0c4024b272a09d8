// Elementwise kernels against float64, at sizes that straddle the vector width and the boundaries of parts.
import { afterAll, describe, expect, test } from 'vitest';
import * as ops from '../../dist/engine/ops/elementwise.js';
import {
  anyEngine,
  disposeEngines,
  EPS,
  everywhere,
  expectClose,
  expectSameBits,
  normal,
} from './everywhere.js';

const SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 16383, 16384, 16385, 2 * 16384 + 7];

afterAll(disposeEngines);

describe('sums and copies', () => {
  test.each(SIZES)(
    'add, scale: correctly rounded; addInto, lerpInto: 2 roundings; %i elements',
    async (n) => {
      const [a, b] = [normal(n, 1), normal(n, 2)];
      const results = await everywhere((engine) => {
        const [x, y] = [engine.tensor(a, [n]), engine.tensor(b, [n])];
        const [target, mean] = [engine.tensor(a, [n]), engine.tensor(a, [n])];
        ops.addInto(target, y, 0.3);
        ops.lerpInto(mean, y, 0.3);
        return [ops.add(x, y), ops.scale(x, 0.3), target, mean];
      });
      const f = Math.fround(0.3);
      for (const [sum, scaled, target, mean] of results) {
        expectClose(
          sum!,
          a.map((v, i) => v + b[i]!),
          () => 0,
          'add',
        );
        expectClose(
          scaled!,
          a.map((v) => v * f),
          () => 0,
          'scale',
        );
        const bound = (i: number) => EPS * 3 * (Math.abs(a[i]!) + Math.abs(b[i]!));
        expectClose(
          target!,
          Array.from(a, (v, i) => v + f * b[i]!),
          bound,
          'addInto',
        );
        expectClose(
          mean!,
          Array.from(a, (v, i) => v + f * (b[i]! - v)),
          bound,
          'lerpInto',
        );
      }
    },
  );

  test.each(SIZES)('fill: every element of float32 and int32, none beside; %i elements', async (n) => {
    const results = await everywhere((engine) => {
      const x = engine.tensor(normal(n + 2, 3), [n + 2]);
      const whole = engine.tensor(new Int32Array(n), [n]);
      ops.fill(x.rows(1, n + 1), 2.5);
      ops.fill(whole, -7);
      return [x, whole];
    });
    const want = normal(n + 2, 3).fill(2.5, 1, n + 1);
    for (const [x, whole] of results) {
      expectSameBits(x!, want);
      expectSameBits(whole!, new Int32Array(n).fill(-7));
    }
  });

  test.each([1, 3, 4, 5, 128, 130])('copy2d: exactly the rows asked for; %i columns', async (columns) => {
    const rows = Math.ceil(70000 / columns);
    const source = normal(rows * (columns + 3) + 5, 4);
    const width = columns + 2;
    const results = await everywhere((engine) => {
      const to = engine.zeros([rows, width]);
      const from = { tensor: engine.tensor(source, [source.length]), offset: 5, stride: columns + 3 };
      ops.copy2d(from, { tensor: to, offset: 1, stride: width }, rows, columns);
      return [to];
    });
    const want = Float32Array.from({ length: rows * width }, (_, e) => {
      const [row, column] = [Math.floor(e / width), (e % width) - 1];
      return column < 0 || column >= columns ? 0 : source[5 + row * (columns + 3) + column]!;
    });
    for (const [to] of results) expectSameBits(to!, want);
  });
});

describe('activations', () => {
  const special = [0, -0, NaN, 1e-8, -1e-8, 1e-38, 3.2e38, 30, -30, 9, -9];
  const sample = Float32Array.from([
    ...special,
    ...Array.from({ length: 33000 }, (_, i) => (i - 16500) / 1650),
  ]);
  const relu = (x: number) => Math.max(0, x);
  const gelu = (x: number) => x * normalCdf(x);
  const geluTanh = (x: number) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
  const forward = { relu, gelu, 'gelu-tanh': geluTanh };

  test.each(['relu', 'gelu', 'gelu-tanh'] as const)(
    '%s: error ≤ 4e-7·max(1, |x|) from -10 to 10, rounding beyond',
    async (kind) => {
      const want = Array.from(sample, forward[kind]);
      const bound = (i: number) => {
        const size = Math.abs(sample[i]!);
        return size <= 10 ? 4e-7 * Math.max(1, size) : EPS * Math.abs(want[i]!) + 1e-30;
      };
      for (const [y] of await everywhere((e) => [ops.activation(e.tensor(sample, [sample.length]), kind)])) {
        expectClose(y!, want, bound, kind);
      }
    },
  );

  test('gelu: relative error ≤ 3e-6 down to x = -9', async () => {
    const x = Float32Array.from({ length: 3601 }, (_, i) => -9 + i / 400);
    for (const [y] of await everywhere((e) => [ops.activation(e.tensor(x, [x.length]), 'gelu')])) {
      expectClose(y!, Array.from(x, gelu), (i) => 3e-6 * Math.abs(gelu(x[i]!)), 'gelu');
    }
  });

  test.each(['relu', 'gelu', 'gelu-tanh'] as const)(
    '%s backward: error ≤ 2e-6·|dy|, against differences in float64',
    async (kind) => {
      const x = sample.filter((v) => Math.abs(v) <= 10 && Math.abs(v) > 1e-3);
      const dy = normal(x.length, 5);
      const f = forward[kind];
      const slope = (v: number) => (8 * (f(v + 1e-4) - f(v - 1e-4)) - (f(v + 2e-4) - f(v - 2e-4))) / 12e-4;
      const results = await everywhere((e) => [
        ops.activationBackward(e.tensor(dy, [x.length]), e.tensor(x, [x.length]), kind),
      ]);
      const want = Array.from(x, (v, i) => dy[i]! * slope(v));
      for (const [dx] of results) expectClose(dx!, want, (i) => 2e-6 * Math.abs(dy[i]!) + 1e-10, kind);
    },
  );

  test.each(['relu', 'gelu', 'gelu-tanh'] as const)(
    '%s: NaN stays NaN; at 0 the slope is 0, ½, ½',
    async (kind) => {
      const x = Float32Array.of(NaN, 0, NaN, -0, 0);
      const results = await everywhere((e) => {
        const t = e.tensor(x, [5]);
        return [
          ops.activation(t, kind),
          ops.activationBackward(e.tensor(new Float32Array(5).fill(1), [5]), t, kind),
        ];
      });
      for (const [y, dx] of results) {
        expect(Array.from(y!, Number.isNaN)).toEqual([true, false, true, false, false]);
        expect(dx![1]).toBeCloseTo(kind === 'relu' ? 0 : 0.5, 7);
        if (kind !== 'relu') expect(dx![0]).toBeNaN();
      }
    },
  );

  test.each(SIZES)('an element has the same bits at any place; %i elements', async (n) => {
    const x = normal(n, 6).fill(-0.7312);
    for (const [y] of await everywhere((e) => [ops.activation(e.tensor(x, [n]), 'gelu')])) {
      expect(new Set(y).size).toBe(n === 0 ? 0 : 1);
    }
  });
});

test('refusals: kinds, dtypes, sizes, ranges', async () => {
  const engine = await anyEngine();
  const [a, b] = [engine.zeros([4]), engine.zeros([5])];
  const whole = engine.zeros([4], 'int32');
  expect(() => ops.add(a, b)).toThrow(/add: b has shape \[5\], a \[4\]/);
  expect(() => ops.add(a, whole)).toThrow(/add: b is int32, expected float32/);
  expect(() => ops.activation(a, 'silu' as 'relu')).toThrow(
    /kind must be one of relu, gelu, gelu-tanh, got silu/,
  );
  expect(() => ops.dropout(a, 1.5, { seed: 1, counter: 1 })).toThrow(/rate must be in \[0, 1\], got 1.5/);
  expect(() => ops.dropout(a, NaN, { seed: 1, counter: 1 })).toThrow(/rate/);
  expect(() => ops.dropout(a, 0.5, { seed: -1, counter: 1 })).toThrow(/key.seed/);
  const rows = { tensor: a, stride: 2 };
  expect(() => ops.copy2d(rows, { tensor: b, stride: 2 }, 2, 3)).toThrow(
    /from ends at element 5, its tensor has 4/,
  );
  for (const t of [a, b, whole]) t.dispose();
});

/** Φ(x) in float64: series of erf near 0, continued fraction of erfc beyond. */
function normalCdf(x: number): number {
  const z = Math.abs(x) / Math.SQRT2;
  let tail: number;
  if (z < 2.5) {
    let [term, sum] = [z, z];
    for (let n = 1; n < 80; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    tail = 0.5 - sum / Math.sqrt(Math.PI);
  } else {
    let fraction = z;
    for (let n = 120; n > 0; n--) fraction = z + n / 2 / fraction;
    tail = Math.exp(-z * z) / fraction / Math.sqrt(Math.PI) / 2;
  }
  return x < 0 ? tail : 1 - tail;
}
