// What the attention map reads of one (batch, head), issued over engine tensors. Calls have B = H = Hkv = 1; row t of a
// call has its q, cells and statistics at t. Not differentiable.
import type { KernelName } from '../../kernels/cpu/registry.js';
import type { Tensor } from '../types.js';
import { type AttentionCall, type AttentionStatistics, callSlots } from './attention-call.js';

/** Rows of a chunk, and lanes of a group, as the kernels take them. */
const CHUNK = 64;
const GROUP = 8;
/** A part should outlast its dispatch: about so many multiplications. */
const PART_WORK = 1 << 19;
/** Keys that one float32 sum runs over. */
const SPAN = 4096;

export interface PoolRequest {
  /** int32 [count + 1]: slice s has rows slices[s] to slices[s + 1] of the call. */
  readonly slices: Tensor;
  /** int32 [… + 1]: block n has slices blocks[n] to blocks[n + 1]: one, or several of 8 rows, up to 64 together. */
  readonly blocks: Tensor;
  /** int32 [Lq]: which query each row is; without it row t is query t. */
  readonly positions?: Tensor;
  /** The call's key 0 within a region of `span` keys, which `columns` bins divide. */
  readonly origin: number;
  readonly span: number;
  readonly columns: number;
  /** Keys of each span, a multiple of 64, and as many bins as any of them touches. */
  readonly reach: number;
  readonly width: number;
  /** The maximum instead of the sum. */
  readonly most: boolean;
}

const BINS = { slices: 0, blocks: 0, origin: 0, span: 0, columns: 0, reach: 0, width: 0, most: 0 };
const NONE = { ...BINS, positions: 0, own: 0 };

function issue(
  kernel: Extract<KernelName, `attention${'Cells' | 'Pool' | 'Moments' | 'Statistics' | 'Diagonal'}`>,
  call: AttentionCall,
  statistics: AttentionStatistics,
  out: Tensor,
  own: Partial<typeof NONE>,
  parts: number,
): Tensor {
  const slots = { ...callSlots(call, statistics, 1), ...NONE, ...own, out: out.pointer };
  call.q.tensor.engine.run(kernel, slots, parts);
  return out;
}

type Lengths = Pick<AttentionCall, 'Lq' | 'Lk'>;

const groups = ({ Lq }: Lengths) => Math.ceil(Lq / GROUP);
const chunks = ({ Lq }: Lengths) => Math.ceil(Lq / CHUNK);
const spans = ({ Lk }: Lengths) => Math.ceil(Lk / SPAN);

/** Weights [Lq, Lk]: exp(score − rowMax)/rowSum, before dropout, 0 where forbidden. `out` is for as many numbers. */
export function attentionCells(
  call: AttentionCall,
  statistics: AttentionStatistics,
  out = call.q.tensor.engine.empty([call.Lq, call.Lk]),
): Tensor {
  const { Lq, Lk, D } = call;
  if (out.size === 0) return out;
  const width = Math.max(256, Math.ceil(PART_WORK / (Math.min(Lq, CHUNK) * D) / 64) * 64);
  return issue('attentionCells', call, statistics, out, { width }, chunks(call) * Math.ceil(Lk / width));
}

/** Sums or maxima of weights, [slices, spans, width, 8]: lane l of a slice has its rows l, l + 8, … */
export function attentionPool(
  call: AttentionCall,
  statistics: AttentionStatistics,
  { slices, blocks, positions, most, ...bins }: PoolRequest,
): Tensor {
  const pieces = Math.ceil(call.Lk / bins.reach);
  const out = call.q.tensor.engine.empty([slices.size - 1, pieces, bins.width, GROUP]);
  const lists = { slices: slices.pointer, blocks: blocks.pointer, positions: positions?.pointer ?? 0 };
  return issue(
    'attentionPool',
    call,
    statistics,
    out,
    { ...bins, ...lists, most: +most },
    (blocks.size - 1) * pieces,
  );
}

/**
 * [spans, groups, 3, 8]: Σ e, Σ e·(score − rowMax) and Σ e·|i + o − j| of each row over spans of keys,
 * where e = exp(score − rowMax); `own` is i + o − j for row 0 and key 0.
 */
export function attentionMoments(call: AttentionCall, statistics: AttentionStatistics, own: number): Tensor {
  const out = call.q.tensor.engine.empty([spans(call), groups(call), 3, GROUP]);
  const slots = { own, width: SPAN };
  return issue('attentionMoments', call, statistics, out, slots, chunks(call) * spans(call));
}

/** Numbers that attentionStatistics gives. */
export const statisticsSize = (lengths: Lengths): number => spans(lengths) * groups(lengths) * 2 * GROUP;

/**
 * [spans, groups, 2, 8]: each row's maximum of the scores and Σ exp(score − maximum), no sink; −∞ and 0 if empty. `out` is
 * for as many numbers.
 */
export function attentionStatistics(
  call: AttentionCall,
  positions?: Tensor,
  out = call.q.tensor.engine.empty([spans(call), groups(call), 2, GROUP]),
): Tensor {
  const own = { positions: positions?.pointer ?? 0, width: SPAN };
  const parts = chunks(call) * spans(call);
  return issue('attentionStatistics', call, { rowMax: out, rowSum: out }, out, own, parts);
}

/** [groups, 8]: the weight of each row i at key i + own; 0 where there is none. */
export function attentionDiagonal(call: AttentionCall, statistics: AttentionStatistics, own: number): Tensor {
  const out = call.q.tensor.engine.empty([groups(call), GROUP]);
  return issue('attentionDiagonal', call, statistics, out, { own }, chunks(call));
}
