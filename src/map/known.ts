// The row statistics of a map: given by a forward pass, taken from a logSumExp, or computed for the rows asked for.
import type { AttentionProblem } from '../attention/problem.js';
import { recallStatistics } from '../attention/statistics.js';
import { type HostTensor, toFloat64 } from '../tensor/host.js';
import { countOf, queryAt, type Rows } from './weight-source.js';

/** Laid out as logSumExp is. */
export interface Known {
  readonly rowMax: Float32Array | Float64Array;
  readonly rowSum: Float32Array | Float64Array;
  /** 1 where a row's are still to be computed; absent where all are known. */
  readonly missing?: Uint8Array;
}

/**
 * Those of a forward pass where `logSumExp` is its own. Else its nearest float32 stands for the maximum, and the sum holds
 * what a float64 one has beyond.
 */
export function fromLogSumExp(p: AttentionProblem, logSumExp: HostTensor): Known {
  const own = recallStatistics(logSumExp.data);
  if (own?.layout === p.layout && own.rowMax.length === logSumExp.data.length) return own;
  const exact = toFloat64(logSumExp);
  const rowMax = Float32Array.from(exact);
  const rowSum = rowMax.map((max, n) => (max === Number.NEGATIVE_INFINITY ? 0 : Math.exp(exact[n] - max)));
  return { rowMax, rowSum };
}

export function unknown(p: AttentionProblem): Required<Known> {
  const size = p.statistics.shape.reduce((a, n) => a * n, 1);
  return {
    rowMax: new Float32Array(size),
    rowSum: new Float32Array(size),
    missing: new Uint8Array(size).fill(1),
  };
}

/** Where row i of (b, h) has its statistics. */
export function statisticAt(p: AttentionProblem, b: number, h: number, i: number): number {
  return p.statistics.offsets[b] + h * p.statistics.head + i * p.statistics.row;
}

/** The first row from `from` on whose statistics are missing, or the number of rows. */
export function nextMissing(
  { missing }: Known,
  p: AttentionProblem,
  [b, h]: readonly [number, number],
  rows: Rows,
  from: number,
): number {
  const all = countOf(rows);
  if (missing === undefined) return all;
  let t = from;
  while (t < all && !missing[statisticAt(p, b, h, queryAt(rows, t))]) t++;
  return t;
}

/** At most `most` rows from `from` on whose statistics are missing. */
export function missingOf(
  known: Known,
  p: AttentionProblem,
  pair: readonly [number, number],
  rows: Rows,
  from: number,
  most: number,
): Rows {
  const all = countOf(rows);
  const list: number[] = [];
  for (let t = from; list.length < most; t++) {
    t = nextMissing(known, p, pair, rows, t);
    if (t === all) break;
    list.push(queryAt(rows, t));
  }
  const [first, n] = [list[0] ?? 0, list.length];
  return n === 0 || list[n - 1] - first === n - 1 ? [first, first + n] : Int32Array.from(list);
}

/** Adds the sink to a row's maximum and sum over its keys, and keeps them. */
export function learn(
  known: Known,
  p: AttentionProblem,
  [b, h, i]: readonly [number, number, number],
  max: number,
  sum: number,
): void {
  const at = statisticAt(p, b, h, i);
  const sink = Math.fround(sinkOf(p, h));
  const top = Math.max(max, sink);
  const none = top === Number.NEGATIVE_INFINITY;
  known.rowMax[at] = top;
  // Times the sum even where it is 0: a NaN stays one.
  known.rowSum[at] = none
    ? sum
    : (max === Number.NEGATIVE_INFINITY ? sum : sum * Math.exp(max - top)) + Math.exp(sink - top);
  known.missing![at] = 0;
}

/** The sink of a head; −∞ without one. */
export function sinkOf(p: AttentionProblem, h: number): number {
  return p.sinks === undefined ? Number.NEGATIVE_INFINITY : toFloat64(p.sinks)[h];
}

/** exp(sink − logSumExp) of rows [0, n): the share of the softmax that falls on no key. */
export function sinkWeights(known: Known, p: AttentionProblem, b: number, h: number): Float32Array {
  const sink = sinkOf(p, h);
  return Float32Array.from({ length: p.queryCounts[b] }, (_, i) => {
    const at = statisticAt(p, b, h, i);
    const sum = known.rowSum[at];
    return sum === 0 || sink === Number.NEGATIVE_INFINITY ? 0 : Math.exp(sink - known.rowMax[at]) / sum;
  });
}
