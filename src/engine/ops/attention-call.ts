// How a call of attention is told to the kernels: operands and cells as strided views, and the argument slots made of
// them (listed in kernels/cpu/attention-slots.ts). Strides are elements here, bytes in the slots.
import type { Tensor } from '../types.js';

/** Rows of a float32 tensor: element (b, h, i, d) lies at offset + b·batch + h·head + i·row + d; a stride of 0 broadcasts. */
export interface Operand {
  tensor: Tensor;
  offset: number;
  batch: number;
  head: number;
  row: number;
}

/** Cells over [B,H,Lq,Lk]: one element stride per dimension, 0 broadcasts. */
export interface Cells {
  tensor: Tensor;
  offset?: number;
  strides: readonly [number, number, number, number];
}

export type AttentionDropout =
  | {
      rate: number;
      /** A whole number below 2^53, or the two words of a 64-bit seed, the low one first. */
      seed: number | readonly [number, number];
      keyOffset?: number;
      /** The same for batch entries, heads and queries: where this call begins in the one it is a part of. */
      origin?: readonly [batch: number, head: number, query: number];
    }
  /** bool: true keeps; at rate 0 too. */
  | { rate: number; keep: Cells };

export interface AttentionCall {
  q: Operand;
  k: Operand;
  v: Operand;
  B: number;
  H: number;
  Hkv: number;
  Lq: number;
  Lk: number;
  D: number;
  Dv: number;
  scale: number;
  /** 0 is off. */
  softcap: number;
  causal: boolean;
  /** Keys to the left and right of the diagonal, inclusive; −1 is open. */
  window: readonly [number, number];
  /** The diagonal o: one for all, int32 [B], or lower-right: keyLengths[b] − Lq, or Lk − Lq (per sequence if packed). */
  offset: number | Tensor | 'lower-right';
  /** int32 [B] */
  keyLengths?: Tensor;
  /** bool: true may attend. */
  mask?: Cells;
  /** float32, added to scores; −∞ forbids. */
  bias?: Cells;
  /** float32 slopes and their element strides. */
  alibi?: { tensor: Tensor; batch: number; head: number };
  /** float32 [H] */
  sinks?: Tensor;
  dropout?: AttentionDropout;
  /** int32 [B+1] each: starts of B packed sequences. Batch strides are unused; Lq and Lk are the longest. */
  packed?: { q: Tensor; k: Tensor };
}

/** Per row, [B,H,Lq], packed [Tq,H]; the sink is included in both: rowSum = Σ exp(score − rowMax). */
export interface AttentionStatistics {
  rowMax: Tensor;
  rowSum: Tensor;
}

export type Strided<N extends string> = { [slot in N | `${N}Batch` | `${N}Head` | `${N}Row`]: number };

/** An operand's slots, in bytes. */
export function strided<N extends string>(name: N, x?: Operand): Strided<N> {
  return {
    [name]: x ? x.tensor.pointer + x.offset * 4 : 0,
    [`${name}Batch`]: (x?.batch ?? 0) * 4,
    [`${name}Head`]: (x?.head ?? 0) * 4,
    [`${name}Row`]: (x?.row ?? 0) * 4,
  } as Strided<N>;
}

function stridedCells<N extends string>(
  name: N,
  x: Cells | undefined,
  bytes: number,
): Strided<N> & { [slot in `${N}Key`]: number } {
  const strides = x?.strides ?? [0, 0, 0, 0];
  return {
    [name]: x ? x.tensor.pointer + (x.offset ?? 0) * bytes : 0,
    [`${name}Batch`]: strides[0] * bytes,
    [`${name}Head`]: strides[1] * bytes,
    [`${name}Row`]: strides[2] * bytes,
    [`${name}Key`]: strides[3] * bytes,
  } as Strided<N> & { [slot in `${N}Key`]: number };
}

/** The slots all attention kernels read. */
export function callSlots(
  call: AttentionCall,
  stats: AttentionStatistics,
  perPart: number,
  logSumExp?: Tensor,
) {
  const { B, H, Hkv, Lq, Lk, D, Dv, scale, softcap, causal, window, offset, alibi } = call;
  return {
    ...strided('q', call.q),
    ...strided('k', call.k),
    ...strided('v', call.v),
    ...{ B, H, Hkv, Lq, Lk, D, Dv, scale, softcap },
    causal: +causal,
    windowLeft: bounded(window[0]),
    windowRight: bounded(window[1]),
    offset: typeof offset === 'number' ? Math.max(-(2 ** 29), Math.min(2 ** 29, offset)) : 0,
    offsets: typeof offset === 'object' ? offset.pointer : 0,
    lowerRight: +(offset === 'lower-right'),
    keyLengths: call.keyLengths?.pointer ?? 0,
    ...stridedCells('mask', call.mask, 1),
    ...stridedCells('bias', call.bias, 4),
    alibi: alibi?.tensor.pointer ?? 0,
    alibiBatch: (alibi?.batch ?? 0) * 4,
    alibiHead: (alibi?.head ?? 0) * 4,
    sinks: call.sinks?.pointer ?? 0,
    ...dropoutSlots(call.dropout),
    cuQ: call.packed?.q.pointer ?? 0,
    cuK: call.packed?.k.pointer ?? 0,
    rowMax: stats.rowMax.pointer,
    rowSum: stats.rowSum.pointer,
    logSumExp: logSumExp?.pointer ?? 0,
    perPart,
  };
}

/** A window's side as 32 bits: beyond 2^30 it is as good as open. */
function bounded(side: number): number {
  return side < 0 ? -1 : Math.min(side, 2 ** 30);
}

function dropoutSlots(dropout: AttentionDropout | undefined) {
  const keep = dropout && 'keep' in dropout ? dropout.keep : undefined;
  const off = !dropout || (dropout.rate === 0 && !keep);
  const drawn = !off && 'seed' in dropout ? dropout : undefined;
  const seed = drawn?.seed ?? 0;
  const [low, high] = typeof seed === 'number' ? [seed, Math.floor(seed / 2 ** 32)] : seed;
  return {
    dropMode: off ? 0 : keep ? 2 : 1,
    dropThreshold: off ? 0 : Math.ceil(dropout.rate * 2 ** 24),
    dropScale: off ? 1 : 1 / (1 - dropout.rate),
    seedLow: low >>> 0,
    seedHigh: high >>> 0,
    keyOffset: drawn?.keyOffset ?? 0,
    batchOrigin: drawn?.origin?.[0] ?? 0,
    headOrigin: drawn?.origin?.[1] ?? 0,
    queryOrigin: drawn?.origin?.[2] ?? 0,
    ...stridedCells('keep', keep, 1),
  };
}
