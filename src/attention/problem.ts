// One attention call in one form, whatever its layout, rank, broadcasts or packing: what validate.ts makes of a legal
// call, and all that the reference and the kernels' callers read. Strides and offsets are counted in elements.
//
// Legend: B batch entries (or packed sequences), H query heads, Hkv key heads, Lq and Lk lengths (the longest, when
// packed), D and Dv widths. Element d of row i, head h, batch entry b of an operand lies at
// offsets[b] + h·head + i·row + d.
import type { HostTensor } from '../tensor/host.js';

/** Where the rows of q, k, v or the output lie. The last dimension is contiguous. */
export interface RowLayout {
  readonly shape: readonly number[];
  /** Of each batch entry's first row, `[B]`; equal for entries that share a broadcast operand. */
  readonly offsets: readonly number[];
  /** The batch stride if one tells all of `offsets` (0 for a broadcast operand), else undefined. */
  readonly batch: number | undefined;
  readonly head: number;
  readonly row: number;
}

export interface Operand extends RowLayout {
  readonly tensor: HostTensor;
}

/** A tensor that broadcasts to [B,H,Lq,Lk]: cell (b,h,i,j) lies at offsets[b] + h·head + i·query + j·key. */
export interface CellTensor {
  readonly tensor: HostTensor;
  readonly offsets: readonly number[];
  readonly batch: number | undefined;
  readonly head: number;
  readonly query: number;
  readonly key: number;
}

/** Where the numbers [B,H,Lq], one per row of scores, lie: at offsets[b] + h·head + i·row. */
export interface StatisticLayout {
  /** [B,H,Lq], [H,Lq] or [Lq]; packed: [Tq,H]. */
  readonly shape: readonly number[];
  readonly offsets: readonly number[];
  readonly head: number;
  readonly row: number;
}

export type Dropout =
  | { readonly rate: number; readonly seed: readonly [low: number, high: number]; readonly keyOffset: number }
  | { readonly rate: number; readonly keep: CellTensor };

export interface AttentionProblem {
  readonly layout: 'bhld' | 'blhd' | 'packed';
  readonly B: number;
  readonly H: number;
  readonly Hkv: number;
  readonly Lq: number;
  readonly Lk: number;
  readonly D: number;
  readonly Dv: number;
  readonly q: Operand;
  readonly k: Operand;
  readonly v: Operand;
  readonly output: RowLayout;
  readonly statistics: StatisticLayout;
  readonly scale: number;
  /** 0 is off. */
  readonly softcap: number;
  readonly causal: boolean;
  /** −1 is open. */
  readonly window: readonly [left: number, right: number];
  /** The diagonal o of each batch entry, `[B]`. */
  readonly diagonal: readonly number[];
  /** Whether anything depends on the diagonal. */
  readonly usesDiagonal: boolean;
  /** Rows of each batch entry, `[B]`. */
  readonly queryCounts: readonly number[];
  /** Keys of each batch entry, keyLengths applied, `[B]`. */
  readonly keyCounts: readonly number[];
  /** As given. */
  readonly keyLengths?: Int32Array;
  readonly mask?: CellTensor;
  readonly bias?: CellTensor;
  /** Slopes: of (b,h) at b·batch + h. */
  readonly alibi?: { readonly tensor: HostTensor; readonly batch: number };
  /** [H] */
  readonly sinks?: HostTensor;
  readonly dropout?: Dropout;
  /** First rows of each sequence and the end, `[B+1]`. */
  readonly packed?: { readonly q: Int32Array; readonly k: Int32Array };
}

/** The key head that query head h reads: ⌊h·Hkv/H⌋. */
export function keyHead(problem: { H: number; Hkv: number }, h: number): number {
  return Math.floor((h * problem.Hkv) / problem.H);
}
