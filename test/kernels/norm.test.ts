// Layer normalisation, its gradient and column sums against float64, at widths and heights that straddle vectors and blocks.
import { afterAll, describe, expect, test } from 'vitest';
import { columnSum, layerNorm, layerNormBackward } from '../../dist/engine/ops/norm.js';
import { anyEngine, disposeEngines, EPS, everywhere, expectClose, normal } from './everywhere.js';

// [rows, columns]: blocks of column sums have 64 rows, or more from 4096 rows on; parts of columns 128.
const SHAPES: [number, number][] = [
  [0, 4],
  [1, 1],
  [1, 7],
  [2, 8],
  [3, 33],
  [63, 5],
  [64, 4],
  [65, 131],
  [129, 127],
  [200, 128],
  [4200, 9],
];
const OFFSET = 3;

afterAll(disposeEngines);

/** A row-major matrix of float64 from plain rows and columns. */
function matrix(rows: number, columns: number, at: (row: number, column: number) => number): number[] {
  return Array.from({ length: rows * columns }, (_, e) => at(Math.floor(e / columns), e % columns));
}

/** Σ over columns of f in each row. */
function rowSums(rows: number, columns: number, f: (e: number) => number): number[] {
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let c = 0; c < columns; c++) sum += f(row * columns + c);
    return sum;
  });
}

/** Σ over rows of f in each column. */
function columnSums(rows: number, columns: number, f: (e: number) => number): number[] {
  return Array.from({ length: columns }, (_, column) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += f(r * columns + column);
    return sum;
  });
}

function inputs(rows: number, columns: number) {
  return {
    x: normal(rows * columns, 1).map((v) => v + OFFSET),
    dy: normal(rows * columns, 2),
    weight: normal(columns, 3).map((v) => v + 1),
    bias: normal(columns, 4),
  };
}

const NORM_EPS = 1e-5;

/** y and the gradients in float64. */
function truth(rows: number, columns: number) {
  const { x, dy, weight, bias } = inputs(rows, columns);
  const mean = rowSums(rows, columns, (e) => x[e]!).map((s) => s / columns);
  const row = (e: number) => Math.floor(e / columns);
  const variance = rowSums(rows, columns, (e) => (x[e]! - mean[row(e)]!) ** 2).map((s) => s / columns);
  const rstd = variance.map((v) => 1 / Math.sqrt(v + NORM_EPS));
  const n = Array.from(x, (v, e) => (v - mean[row(e)]!) * rstd[row(e)]!);
  const g = Array.from(dy, (v, e) => v * weight[e % columns]!);
  const a = rowSums(rows, columns, (e) => g[e]!).map((s) => s / columns);
  const b = rowSums(rows, columns, (e) => g[e]! * n[e]!).map((s) => s / columns);
  return {
    mean,
    rstd,
    n,
    y: matrix(rows, columns, (r, c) => n[r * columns + c]! * weight[c]! + bias[c]!),
    dx: matrix(
      rows,
      columns,
      (r, c) => rstd[r]! * (g[r * columns + c]! - a[r]! - n[r * columns + c]! * b[r]!),
    ),
    dWeight: columnSums(rows, columns, (e) => dy[e]! * n[e]!),
    dBias: columnSums(rows, columns, (e) => dy[e]!),
  };
}

describe('layerNorm', () => {
  // The mean is about OFFSET, so x − mean carries an error of 2⁻²⁴·(√C/4 + 1)·OFFSET, which rstd magnifies.
  const scaleOf = (rstd: number) => 1 + 6 * OFFSET * rstd;

  test.each(SHAPES)(
    '[%i, %i]: y within 4·2⁻²⁴·(1 + 18·rstd)·(1 + |y|), dx 6 times that',
    async (rows, columns) => {
      const host = inputs(rows, columns);
      const want = truth(rows, columns);
      const results = await everywhere((engine) => {
        const [x, dy] = [engine.tensor(host.x, [rows, columns]), engine.tensor(host.dy, [rows, columns])];
        const [weight, bias] = [engine.tensor(host.weight, [columns]), engine.tensor(host.bias, [columns])];
        const { y, mean, rstd } = layerNorm(x, weight, bias, NORM_EPS);
        const { dx, dWeight, dBias } = layerNormBackward(dy, x, weight, mean, rstd);
        const into = {
          dWeight: engine.tensor(host.bias, [columns]),
          dBias: engine.tensor(host.bias, [columns]),
        };
        const added = layerNormBackward(dy, x, weight, mean, rstd, into);
        // By identity: a deep comparison would walk the engine's memory, which its threads still write.
        expect(added.dWeight).toBe(into.dWeight);
        expect(added.dBias).toBe(into.dBias);
        return [y, mean, rstd, dx, dWeight, dBias, into.dWeight, into.dBias];
      });
      const row = (e: number) => Math.floor(e / columns);
      const unit = (e: number) => EPS * scaleOf(want.rstd[row(e)]!);
      const sizes = {
        dWeight: columnSums(rows, columns, (e) => Math.abs(host.dy[e]!) * (1 + Math.abs(want.n[e]!))),
        dBias: columnSums(rows, columns, (e) => Math.abs(host.dy[e]!)),
      };
      const worst = Math.max(1, ...want.rstd.map(scaleOf));
      for (const [y, mean, rstd, dx, dWeight, dBias, ...added] of results) {
        expectClose(mean!, want.mean, () => 4 * EPS * (OFFSET + 3), 'mean');
        // With one column the variance is 0 and rstd its largest: 1/√eps.
        expectClose(rstd!, want.rstd, (r) => 20 * EPS * want.rstd[r]! * (1 + want.rstd[r]!), 'rstd');
        expectClose(y!, want.y, (e) => 4 * unit(e) * (1 + Math.abs(want.y[e]!)), 'y');
        expectClose(dx!, want.dx, (e) => 24 * unit(e) * want.rstd[row(e)]!, 'dx');
        // Longest chain of additions: 64 rows of a block, then at most 64 blocks.
        const chain = Math.min(rows + 6, 140) * EPS;
        expectClose(dWeight!, want.dWeight, (c) => chain * worst * sizes.dWeight[c]!, 'dWeight');
        expectClose(dBias!, want.dBias, (c) => chain * sizes.dBias[c]!, 'dBias');
        for (const [k, fresh] of [dWeight!, dBias!].entries()) {
          const both = fresh.map((v, c) => v + host.bias[c]!);
          expectClose(added[k]!, both, () => 0, 'added');
        }
      }
    },
  );

  test('the gradient is the difference quotient of the forward in float64, within 1e-8', () => {
    // The truth above, checked against what a gradient means.
    const [rows, columns] = [2, 5];
    const { x, dy, weight } = inputs(rows, columns);
    const loss = (data: ArrayLike<number>) => {
      let sum = 0;
      for (let r = 0; r < rows; r++) {
        const line = Array.from({ length: columns }, (_, c) => data[r * columns + c]!);
        const mean = line.reduce((s, v) => s + v) / columns;
        const rstd = 1 / Math.sqrt(line.reduce((s, v) => s + (v - mean) ** 2, 0) / columns + NORM_EPS);
        line.forEach((v, c) => {
          sum += dy[r * columns + c]! * (v - mean) * rstd * weight[c]!;
        });
      }
      return sum;
    };
    const { dx } = truth(rows, columns);
    for (let e = 0; e < x.length; e++) {
      const moved = (by: number) => loss(Array.from(x, (v, i) => (i === e ? v + by : v)));
      expect(Math.abs((moved(1e-5) - moved(-1e-5)) / 2e-5 - dx[e]!)).toBeLessThan(1e-8);
    }
  });

  test('a NaN spoils its own row and no other; the constant row gives the bias', async () => {
    const [rows, columns] = [5, 13];
    const host = inputs(rows, columns);
    host.x[2 * columns + 12] = NaN;
    host.x.fill(7, 3 * columns, 4 * columns);
    const results = await everywhere((e) => {
      const [weight, bias] = [e.tensor(host.weight, [columns]), e.tensor(host.bias, [columns])];
      return [layerNorm(e.tensor(host.x, [rows, columns]), weight, bias, NORM_EPS).y];
    });
    for (const [y] of results) {
      const spoilt = Array.from({ length: rows }, (_, r) =>
        y!.subarray(r * columns, (r + 1) * columns).every(Number.isNaN),
      );
      expect(spoilt).toEqual([false, false, true, false, false]);
      expect(y!.filter(Number.isNaN).length).toBe(columns);
      expectClose(y!.slice(3 * columns, 4 * columns), host.bias, () => 0, 'constant row');
    }
  });
});

describe('columnSum', () => {
  test.each(SHAPES)(
    '[%i, %i]: within min(R + 3, 90)·2⁻²⁴·Σ|x|, fresh, into and added',
    async (rows, columns) => {
      const { x, bias } = inputs(rows, columns);
      const results = await everywhere((engine) => {
        const t = engine.tensor(x, [rows, columns]);
        const [out, more] = [engine.tensor(bias, [columns]), engine.tensor(bias, [columns])];
        expect(columnSum(t, out)).toBe(out);
        return [columnSum(t), out, columnSum(t, more, true)];
      });
      const want = columnSums(rows, columns, (e) => x[e]!);
      const size = columnSums(rows, columns, (e) => Math.abs(x[e]!));
      const bound = (c: number) => Math.min(rows + 3, 90) * EPS * (size[c]! + Math.abs(bias[c]!));
      for (const [sum, into, added] of results) {
        expectClose(sum!, want, bound, 'fresh');
        expectClose(into!, want, bound, 'into');
        expectClose(
          added!,
          want.map((v, c) => v + bias[c]!),
          bound,
          'added',
        );
      }
    },
  );
});

test('refusals: ranks, widths, accumulate without out', async () => {
  const engine = await anyEngine();
  const [x, w, line] = [engine.zeros([3, 4]), engine.zeros([5]), engine.zeros([4])];
  expect(() => layerNorm(x, w, line, 1e-5)).toThrow(/layerNorm: weight has shape \[5\], expected \[4\]/);
  expect(() => layerNorm(line, line, line, 1e-5)).toThrow(/x has shape \[4\], expected two dimensions/);
  expect(() => columnSum(x, undefined, true)).toThrow(/accumulate needs out/);
  expect(() => columnSum(x, w)).toThrow(/out has shape \[5\], expected \[4\]/);
  for (const t of [x, w, line]) t.dispose();
});
