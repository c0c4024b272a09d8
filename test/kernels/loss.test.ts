// Cross-entropy, log-softmax and sums against float64, with logits that break a softmax without its maximum.
import { afterAll, describe, expect, test } from 'vitest';
import { crossEntropy, logSoftmax, logSoftmaxBackward, sumAll } from '../../dist/engine/ops/loss.js';
import { anyEngine, disposeEngines, EPS, everywhere, expectClose, integers, normal } from './everywhere.js';

// [T, V]: a part holds about 32768 elements, at least one row.
const SHAPES: [number, number][] = [
  [0, 3],
  [1, 1],
  [2, 2],
  [3, 5],
  [4, 7],
  [5, 8],
  [3, 12],
  [6, 17],
  [40, 1000],
  [7, 6001],
  [2, 40003],
];

afterAll(disposeEngines);

/** Logits of about ±20 around 95: e^x alone would overflow. */
const logitsOf = (t: number, v: number) => normal(t * v, 1, 6).map((x) => x + 95);

/** In float64: losses, plain losses, and the gradient of the sum of losses. */
function truth(x: Float32Array, targets: Int32Array, v: number, smoothing: number) {
  const losses: number[] = [];
  const plain: number[] = [];
  const gradient = new Array<number>(x.length).fill(0);
  targets.forEach((target, row) => {
    const line = Array.from(x.subarray(row * v, (row + 1) * v));
    const largest = line.reduce((a, b) => Math.max(a, b), -Infinity);
    const lse = largest + Math.log(line.reduce((sum, l) => sum + Math.exp(l - largest), 0));
    const mean = line.reduce((sum, l) => sum + l, 0) / v;
    const nll = target < 0 ? 0 : lse - line[target]!;
    plain.push(nll);
    losses.push(target < 0 ? 0 : (1 - smoothing) * nll + smoothing * (lse - mean));
    if (target < 0) return;
    line.forEach((l, k) => {
      gradient[row * v + k] = Math.exp(l - lse) - (1 - smoothing) * Number(k === target) - smoothing / v;
    });
  });
  return { losses, plain, gradient };
}

describe('crossEntropy', () => {
  const cases = SHAPES.flatMap(([t, v]) => [0, 0.1].map((s) => [t, v, s] as const));

  test.each(cases)(
    'T=%i V=%i ε=%d: losses within 1e-6·(1+|loss|), gradient within 2e-6·p + 1.5·2⁻²⁴',
    async (t, v, smoothing) => {
      const logits = logitsOf(t, v);
      const targets = integers(t, v, 2).map((id, row) => (row % 5 === 3 ? -1 : id));
      const results = await everywhere((engine) => {
        const i = engine.tensor(targets, [t]);
        const apart = crossEntropy(engine.tensor(logits, [t, v]), i, smoothing);
        const inPlace = crossEntropy(engine.tensor(logits, [t, v]), i, smoothing, { inPlace: true });
        return [apart.losses, apart.plain, apart.dLogits, inPlace.losses, inPlace.plain, inPlace.dLogits];
      });
      const want = truth(logits, targets, v, smoothing);
      const bound = (list: number[]) => (row: number) => 1e-6 * (1 + Math.abs(list[row]!));
      const hit = (e: number) => Number(e % v === targets[Math.floor(e / v)]);
      const p = (e: number) => want.gradient[e]! + (1 - smoothing) * hit(e) + smoothing / v;
      for (const got of results) {
        for (const [losses, plain, gradient] of [got.slice(0, 3), got.slice(3)]) {
          expectClose(losses!, want.losses, bound(want.losses), 'losses');
          expectClose(plain!, want.plain, bound(want.plain), 'plain');
          expectClose(gradient!, want.gradient, (e) => 2e-6 * Math.abs(p(e)) + 1.5 * EPS, 'gradient');
        }
      }
    },
  );

  test('the gradient is the difference quotient of the losses in float64, within 1e-7', () => {
    const [t, v] = [2, 4];
    const [logits, targets] = [logitsOf(t, v).map((x) => x - 95), Int32Array.of(3, 0)];
    const { gradient } = truth(logits, targets, v, 0.1);
    const total = (e: number, by: number) => {
      const moved = Float64Array.from(logits, (x, i) => (i === e ? x + by : x));
      return truth(moved as unknown as Float32Array, targets, v, 0.1).losses.reduce((a, b) => a + b);
    };
    gradient.forEach((g, e) => {
      expect(Math.abs((total(e, 1e-5) - total(e, -1e-5)) / 2e-5 - g)).toBeLessThan(1e-7);
    });
  });

  test('−1 is ignored even over NaN; NaN, +∞ and targets outside spoil their row; −∞ is probability 0', async () => {
    const v = 6;
    const logits = normal(7 * v, 3);
    logits.fill(NaN, 0, v);
    logits[v + 4] = NaN;
    logits[2 * v] = Infinity;
    logits[3 * v + 2] = -Infinity;
    const targets = Int32Array.of(-1, 0, 0, 0, 6, -2, 5);
    const results = await everywhere((e) => {
      const { losses, dLogits } = crossEntropy(e.tensor(logits, [7, v]), e.tensor(targets, [7]), 0);
      return [losses, dLogits];
    });
    for (const [losses, gradient] of results) {
      expect(Array.from(losses!, Number.isFinite)).toEqual([true, false, false, true, false, false, true]);
      expect(losses![0]).toBe(0);
      expect(gradient!.subarray(0, v).every((g) => g === 0)).toBe(true);
      expect(gradient![3 * v + 2]).toBe(0);
      for (const row of [1, 4, 5])
        expect(gradient!.subarray(row * v, (row + 1) * v).every(Number.isNaN)).toBe(true);
    }
  });

  test('refusals', async () => {
    const engine = await anyEngine();
    const [logits, ids] = [engine.zeros([2, 3]), engine.zeros([3], 'int32')];
    expect(() => crossEntropy(logits, ids, 0)).toThrow(/targets has shape \[3\], expected \[2\]/);
    expect(() => crossEntropy(logits, logits, 0)).toThrow(/targets is float32, expected int32/);
    expect(() => crossEntropy(logits, ids.rows(0, 2), 1.1)).toThrow(/smoothing must be in \[0, 1\], got 1.1/);
    for (const t of [logits, ids]) t.dispose();
  });
});

describe('logSoftmax', () => {
  test.each(SHAPES)(
    '[%i, %i]: within 1e-6·(1+|y|); gradient within 4e-6·Σ|dy|·p + 2⁻²³·|dy|',
    async (rows, columns) => {
      const [x, dy] = [logitsOf(rows, columns), normal(rows * columns, 4)];
      const results = await everywhere((e) => {
        const y = logSoftmax(e.tensor(x, [rows, columns]));
        return [y, logSoftmaxBackward(e.tensor(dy, [rows, columns]), y)];
      });
      const y: number[] = [];
      const dx: number[] = [];
      const scale: number[] = [];
      for (let r = 0; r < rows; r++) {
        const line = Array.from(x.subarray(r * columns, (r + 1) * columns));
        const largest = line.reduce((a, b) => Math.max(a, b));
        const lse = largest + Math.log(line.reduce((s, l) => s + Math.exp(l - largest), 0));
        const d = dy.subarray(r * columns, (r + 1) * columns);
        const sum = d.reduce((s, g) => s + g, 0);
        const size = d.reduce((s, g) => s + Math.abs(g), 0);
        line.forEach((l, c) => {
          y.push(l - lse);
          dx.push(d[c]! - Math.exp(l - lse) * sum);
          scale.push(Math.exp(l - lse) * size);
        });
      }
      for (const [gotY, gotDx] of results) {
        expectClose(gotY!, y, (e) => 1e-6 * (1 + Math.abs(y[e]!)), 'y');
        // p = e^y inherits y's rounding, |y| up to about 60.
        expectClose(
          gotDx!,
          dx,
          (e) => (4e-6 + 2 * EPS * Math.abs(y[e]!)) * scale[e]! + 2 * EPS * Math.abs(dy[e]!),
          'dx',
        );
      }
    },
  );
});

describe('sumAll', () => {
  test.each([0, 1, 2, 3, 5, 8, 65535, 65536, 65537, 3 * 65536 + 2])(
    '%i elements: correctly rounded up to 1e-12·Σ|x|',
    async (n) => {
      const x = normal(n, 5, 1000);
      let [sum, size] = [0, 0];
      for (const v of x) {
        sum += v;
        size += Math.abs(v);
      }
      for (const [got] of await everywhere((e) => [sumAll(e.tensor(x, [n]))])) {
        expectClose(got!, [sum], () => EPS * Math.abs(sum) + 1e-12 * size);
      }
    },
  );
});
