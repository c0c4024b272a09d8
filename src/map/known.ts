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
  /** Where they come from elsewhere. */
  readonly doubt?: Doubt;
}

/** What of given statistics was compared with q and k. */
export interface Doubt {
  /** Pairs b·H + h. */
  readonly compared: Set<number>;
  /** Makes what is thrown of a row that is another's. */
  readonly error: (message: string) => Error;
}

/** Largest logSumExp, either way, that tells a weight within 2^-12 of it: its last bit is worth no more. */
const TELLING: Readonly<Record<string, number>> = { float16: 2 ** -2, float32: 2 ** 11, float64: 2 ** 40 };

/**
 * Those of a forward pass where `logSumExp` is its own. Else its nearest float32 stands for the maximum, and the sum holds
 * what a float64 one has beyond; rows that it tells too little of are to be computed, and `error` says of others that
 * they do not belong to q and k.
 */
export function fromLogSumExp(p: AttentionProblem, logSumExp: HostTensor, error: Doubt['error']): Known {
  const own = recallStatistics(logSumExp.data);
  if (own?.layout === p.layout && own.rowMax.length === logSumExp.data.length) return own;
  const exact = toFloat64(logSumExp);
  const most = TELLING[logSumExp.dtype];
  const rowMax = Float32Array.from(exact);
  const rowSum = rowMax.map((max, n) => (max === Number.NEGATIVE_INFINITY ? 0 : Math.exp(exact[n] - max)));
  const missing = Uint8Array.from(exact, (lse) => +(Math.abs(lse) > most && Number.isFinite(lse)));
  return { rowMax, rowSum, missing, doubt: { compared: new Set(), error } };
}

export function unknown(p: AttentionProblem): Known {
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

export type Row = readonly [b: number, h: number, i: number];

/** Keeps a row's maximum and sum over its keys, with the sink. */
export function learn(known: Known, p: AttentionProblem, [b, h, i]: Row, max: number, sum: number): void {
  const at = statisticAt(p, b, h, i);
  [known.rowMax[at], known.rowSum[at]] = withSink(p, h, max, sum);
  known.missing![at] = 0;
}

/** Adds the sink to a row's maximum and sum over its keys. */
function withSink(p: AttentionProblem, h: number, max: number, sum: number): [max: number, sum: number] {
  const sink = Math.fround(sinkOf(p, h));
  const top = Math.max(max, sink);
  if (top === Number.NEGATIVE_INFINITY) return [top, sum];
  // Times the sum even where it is 0: a NaN stays one.
  return [top, (max === Number.NEGATIVE_INFINITY ? sum : sum * Math.exp(max - top)) + Math.exp(sink - top)];
}

/** Multiplications that the rows of one head may take that are compared. */
const LITTLE = 2 ** 24;
const FEWEST = 8;

/** The rows of a head that are compared with q and k: all where that is little work, else some, spread evenly, with both ends. */
export function rowsToCompare(rows: number, work: number): Rows {
  const most = Math.max(FEWEST, Math.floor(LITTLE / Math.max(1, work)));
  if (rows <= most) return [0, rows];
  return Int32Array.from({ length: most }, (_, t) => Math.round((t * (rows - 1)) / (most - 1)));
}

/** Throws where a row's given statistics are not those computed, over its keys, within what rounding may do. */
export function compare(known: Known, p: AttentionProblem, [b, h, i]: Row, max: number, sum: number): void {
  const at = statisticAt(p, b, h, i);
  if (known.missing?.[at]) return;
  const [top, total] = withSink(p, h, max, sum);
  const given = known.rowMax[at] + Math.log(known.rowSum[at]);
  const computed = top + Math.log(total);
  const tolerance = 0.05 + Math.abs(computed) * 2 ** -18;
  // Scores that are not finite are the caller's own.
  if (!(computed < Number.POSITIVE_INFINITY) || given === computed || Math.abs(given - computed) <= tolerance)
    return;
  const [is, should] = [given, computed].map((x) => Number(x.toPrecision(6)));
  throw known.doubt!.error(
    `logSumExp does not belong to q and k: it is ${is} of head ${h}, query ${i}${p.B > 1 ? `, batch ${b}` : ''}, and ${should} by their scores`,
  );
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
