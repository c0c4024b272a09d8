// What a map asks of where its weights come from: the kernels, or the float64 reference. Indices are checked by the map.
import type { AttentionProblem } from '../attention/problem.js';
import type { Known } from './known.js';
import type { Range } from './parts.js';
import type { Progress } from './progress.js';

export type { Range };

/** Query rows of one (batch, head): a range, or some of them, ascending. */
export type Rows = Range | Int32Array;

/** Weights folded into bins. */
export interface PoolWork {
  readonly batch: number;
  readonly head: number;
  readonly rows: Rows;
  /** Which row of `into` each of the rows belongs to. */
  readonly bins: Int32Array;
  readonly keys: Range;
  /** Bins of keys, at most as many as keys: bin c begins at key ⌊c·n/columns⌋ of the n. */
  readonly columns: number;
  /** The maximum instead of the sum. */
  readonly most: boolean;
  /** Row-major [..., columns]; sums are added to what is there, maxima raise it. */
  readonly into: Float64Array;
}

/** Per query row of one (batch, head). */
export interface Moments {
  readonly entropy: Float32Array;
  readonly distance: Float32Array;
}

export interface Statistics {
  readonly known: Known;
  readonly problem: AttentionProblem;
}

export interface WeightSource {
  /** Row-major [queries, keys] of one (batch, head). */
  tile(batch: number, head: number, queries: Range, keys: Range, progress?: Progress): Promise<Float32Array>;
  /** Of all heads of a batch entry, [H, queries, keys]; undefined where that is more than goes at a time. */
  together?(batch: number): Promise<Float32Array | undefined>;
  /** Advances the progress by 1 for every weight. */
  pool(work: PoolWork, progress: Progress): Promise<void>;
  moments(batch: number, head: number, progress: Progress): Promise<Moments>;
  /** The weight of each query i at key i + own, 0 where there is none. */
  diagonal(batch: number, head: number, own: number, progress: Progress): Promise<Float32Array>;
  /** Row statistics, those of some queries computed if they were not, and what they are laid out by. */
  statisticsOf(batch: number, head: number, queries: Range, progress: Progress): Promise<Statistics>;
  /** Copies the caller's arrays, so that they may change. */
  retain(): void;
  dispose(): void;
}

export function countOf(rows: Rows): number {
  return rows instanceof Int32Array ? rows.length : rows[1] - rows[0];
}

export function queryAt(rows: Rows, t: number): number {
  return rows instanceof Int32Array ? rows[t] : rows[0] + t;
}

export function someOf(rows: Rows, from: number, to: number): Rows {
  return rows instanceof Int32Array ? rows.subarray(from, to) : [rows[0] + from, rows[0] + to];
}
