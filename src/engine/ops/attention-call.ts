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

/** Address of an operand's first element of `bytes` bytes; 0 where there is none. */
function addressOf(x: { tensor: Tensor; offset?: number } | undefined, bytes: number): number {
  return x ? x.tensor.pointer + (x.offset ?? 0) * bytes : 0;
}

/** A softcap that float32 would make 0 caps scores to nearly 0; one that it would make ∞ leaves them as they are. */
function heldCap(softcap: number): number {
  if (softcap === 0 || Math.fround(softcap) === Number.POSITIVE_INFINITY) return 0;
  return Math.max(2 ** -126, softcap);
}

const NO_STRIDES = [0, 0, 0, 0] as const;

/** The slots all attention kernels read. One literal of names written out: computed and spread ones cost 15 µs a call. */
export function callSlots(
  call: AttentionCall,
  stats: AttentionStatistics,
  perPart: number,
  logSumExp?: Tensor,
) {
  const { q, k, v, B, H, Hkv, Lq, Lk, D, Dv, scale, softcap, causal, window, offset, alibi, dropout } = call;
  const keep = dropout && 'keep' in dropout ? dropout.keep : undefined;
  const off = !dropout || (dropout.rate === 0 && !keep);
  const drawn = !off && 'seed' in dropout ? dropout : undefined;
  const seed = drawn?.seed ?? 0;
  const [low, high] = typeof seed === 'number' ? [seed, Math.floor(seed / 2 ** 32)] : seed;
  const mask = call.mask?.strides ?? NO_STRIDES;
  const bias = call.bias?.strides ?? NO_STRIDES;
  const kept = keep?.strides ?? NO_STRIDES;
  return {
    q: addressOf(q, 4),
    qBatch: q.batch * 4,
    qHead: q.head * 4,
    qRow: q.row * 4,
    k: addressOf(k, 4),
    kBatch: k.batch * 4,
    kHead: k.head * 4,
    kRow: k.row * 4,
    v: addressOf(v, 4),
    vBatch: v.batch * 4,
    vHead: v.head * 4,
    vRow: v.row * 4,
    B,
    H,
    Hkv,
    Lq,
    Lk,
    D,
    Dv,
    scale,
    softcap: heldCap(softcap),
    causal: +causal,
    windowLeft: bounded(window[0]),
    windowRight: bounded(window[1]),
    offset: typeof offset === 'number' ? Math.max(-(2 ** 29), Math.min(2 ** 29, offset)) : 0,
    offsets: typeof offset === 'object' ? offset.pointer : 0,
    lowerRight: +(offset === 'lower-right'),
    keyLengths: call.keyLengths?.pointer ?? 0,
    mask: addressOf(call.mask, 1),
    maskBatch: mask[0],
    maskHead: mask[1],
    maskRow: mask[2],
    maskKey: mask[3],
    bias: addressOf(call.bias, 4),
    biasBatch: bias[0] * 4,
    biasHead: bias[1] * 4,
    biasRow: bias[2] * 4,
    biasKey: bias[3] * 4,
    alibi: alibi?.tensor.pointer ?? 0,
    alibiBatch: (alibi?.batch ?? 0) * 4,
    alibiHead: (alibi?.head ?? 0) * 4,
    sinks: call.sinks?.pointer ?? 0,
    dropMode: off ? 0 : keep ? 2 : 1,
    dropThreshold: off ? 0 : Math.ceil(dropout.rate * 2 ** 24),
    dropScale: off ? 1 : 1 / (1 - dropout.rate),
    seedLow: low >>> 0,
    seedHigh: high >>> 0,
    keyOffset: drawn?.keyOffset ?? 0,
    batchOrigin: drawn?.origin?.[0] ?? 0,
    headOrigin: drawn?.origin?.[1] ?? 0,
    queryOrigin: drawn?.origin?.[2] ?? 0,
    keep: addressOf(keep, 1),
    keepBatch: kept[0],
    keepHead: kept[1],
    keepRow: kept[2],
    keepKey: kept[3],
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
