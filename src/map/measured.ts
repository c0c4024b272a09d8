// Row statistics on their way into the engine, and out of it: joined over ranges of keys, read from where the lanes lie.
import type { AttentionProblem } from '../attention/problem.js';
import type { AttentionStatistics } from '../engine/ops/attention.js';
import type { Engine } from '../engine/types.js';
import { uploadStatistics } from './call.js';
import { type Known, statisticAt } from './known.js';
import type { Rows } from './weight-source.js';

/** Statistics of some rows of (b, h), in the engine. */
export function statisticsFor(
  engine: Engine,
  p: AttentionProblem,
  known: Known,
  [b, h]: readonly [number, number],
  rows: Rows,
): AttentionStatistics {
  if (!(rows instanceof Int32Array)) {
    const piece = { batches: [b, b + 1], heads: [h, h + 1], keyHeads: [0, 0], rows } as const;
    return uploadStatistics(engine, p, known, piece);
  }
  const own = (data: Known['rowMax']) =>
    engine.tensor(
      Float32Array.from(rows, (i) => data[statisticAt(p, b, h, i)]),
      [rows.length],
    );
  return { rowMax: own(known.rowMax), rowSum: own(known.rowSum) };
}

/** Where [spans][groups][numbers][8] has the first number of each row, span by span. */
export function spanRows(
  size: number,
  rows: number,
  numbers: number,
  visit: (at: number, t: number) => void,
): void {
  const span = Math.ceil(rows / 8) * numbers * 8;
  for (let from = 0; from < size; from += span) {
    for (let t = 0; t < rows; t++) visit(from + (t >> 3) * numbers * 8 + (t & 7), t);
  }
}

/** Maximum and sum of some rows over the keys taken so far; −∞ and 0 for none. */
export class Measured {
  private readonly maxima: Float64Array;
  private readonly sums: Float64Array;

  constructor(rows: number) {
    this.maxima = new Float64Array(rows).fill(Number.NEGATIVE_INFINITY);
    this.sums = new Float64Array(rows);
  }

  /** Joins what attentionStatistics gave for rows [from, from + rows) over other keys. */
  take(data: ArrayLike<number>, from: number, rows: number): void {
    spanRows(data.length, rows, 2, (at, t) => this.join(from + t, data[at], data[at + 8]));
  }

  forEach(visit: (t: number, max: number, sum: number) => void): void {
    this.maxima.forEach((max, t) => {
      visit(t, max, this.sums[t]);
    });
  }

  private join(t: number, max: number, sum: number): void {
    const { maxima, sums } = this;
    if (sum === 0) return;
    const top = Math.max(maxima[t], max);
    sums[t] = (sums[t] === 0 ? 0 : sums[t] * Math.exp(maxima[t] - top)) + sum * Math.exp(max - top);
    maxima[t] = top;
  }
}
