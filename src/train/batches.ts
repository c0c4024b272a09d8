// Length-bucketed batches by token budget, in an order that seed and epoch alone decide: a place in it can be resumed.
import { Random } from '../nn/random.js';
import { LimitError } from '../tensor/errors.js';

/** Encoded sentence pairs, flat: pair i has ids [starts[i], starts[i+1]) of each side. */
export interface EncodedPairs {
  readonly count: number;
  /** Source ids, each ending with eos. */
  readonly sourceIds: Int32Array;
  readonly sourceStarts: Int32Array;
  /** Target ids without bos and eos. */
  readonly targetIds: Int32Array;
  readonly targetStarts: Int32Array;
}

/** One step's pairs, packed end to end: no padding is computed. */
export interface PackedBatch {
  readonly pairs: number;
  readonly source: Int32Array;
  readonly sourceOffsets: Int32Array;
  readonly sourceLongest: number;
  /** bos + ids: what the decoder reads. */
  readonly targetIn: Int32Array;
  /** ids + eos: what it must say. */
  readonly targetOut: Int32Array;
  readonly targetOffsets: Int32Array;
  readonly targetLongest: number;
}

const sourceLength = (pairs: EncodedPairs, i: number) => pairs.sourceStarts[i + 1] - pairs.sourceStarts[i];
/** bos or eos included. */
const targetLength = (pairs: EncodedPairs, i: number) =>
  pairs.targetStarts[i + 1] - pairs.targetStarts[i] + 1;

export interface BatchOptions {
  /** Most pairs × longest of a batch, on either side. */
  tokens: number;
  /** Pairs that are sorted by length together: a small pool mixes more, a large one fills batches better. */
  pool: number;
  seed: number;
}

/**
 * The batches of one epoch (0-based) as lists of pair numbers: each pair exactly once; in each batch
 * pairs × longest ≤ tokens on either side. A pair longer than that is a LimitError.
 */
export function planEpoch(
  pairs: EncodedPairs,
  { tokens, pool, seed }: BatchOptions,
  epoch: number,
): Int32Array[] {
  const random = new Random(seed * 65536 + epoch);
  const order = random.shuffle(Int32Array.from({ length: pairs.count }, (_, i) => i));
  const key = new Int32Array(pairs.count);
  for (let i = 0; i < pairs.count; i++) {
    const source = sourceLength(pairs, i);
    const target = targetLength(pairs, i);
    if (Math.max(source, target) > tokens) {
      throw new LimitError(
        `batches: pair ${i} has ${Math.max(source, target)} tokens, over the budget of ${tokens}`,
      );
    }
    key[i] = Math.max(source, target);
  }
  const batches: Int32Array[] = [];
  for (let from = 0; from < order.length; from += pool) {
    // Sorting is stable: pairs of equal length stay shuffled.
    const part = order.subarray(from, from + pool).sort((a, b) => key[a] - key[b]);
    batches.push(...cutBatches(key, part, tokens));
  }
  return random.shuffle(batches);
}

function cutBatches(length: Int32Array, order: Int32Array, tokens: number): Int32Array[] {
  const batches: Int32Array[] = [];
  let from = 0;
  // In ascending order the newest pair is the longest.
  for (let at = 0; at < order.length; at++) {
    if ((at - from + 1) * length[order[at]] <= tokens) continue;
    batches.push(order.slice(from, at));
    from = at;
  }
  if (from < order.length) batches.push(order.slice(from));
  return batches;
}

/** Packs the pairs `members`; bos and eos are put around the target. */
export function packBatch(
  pairs: EncodedPairs,
  members: ArrayLike<number>,
  bos: number,
  eos: number,
): PackedBatch {
  const n = members.length;
  const sourceOffsets = new Int32Array(n + 1);
  const targetOffsets = new Int32Array(n + 1);
  let sourceLongest = 0;
  let targetLongest = 0;
  for (let r = 0; r < n; r++) {
    const s = sourceLength(pairs, members[r]);
    const t = targetLength(pairs, members[r]);
    sourceOffsets[r + 1] = sourceOffsets[r] + s;
    targetOffsets[r + 1] = targetOffsets[r] + t;
    sourceLongest = Math.max(sourceLongest, s);
    targetLongest = Math.max(targetLongest, t);
  }
  const source = new Int32Array(sourceOffsets[n]);
  const targetIn = new Int32Array(targetOffsets[n]);
  const targetOut = new Int32Array(targetOffsets[n]);
  for (let r = 0; r < n; r++) {
    const i = members[r];
    source.set(pairs.sourceIds.subarray(pairs.sourceStarts[i], pairs.sourceStarts[i + 1]), sourceOffsets[r]);
    const ids = pairs.targetIds.subarray(pairs.targetStarts[i], pairs.targetStarts[i + 1]);
    targetIn[targetOffsets[r]] = bos;
    targetIn.set(ids, targetOffsets[r] + 1);
    targetOut.set(ids, targetOffsets[r]);
    targetOut[targetOffsets[r + 1] - 1] = eos;
  }
  return {
    pairs: n,
    source,
    sourceOffsets,
    sourceLongest,
    targetIn,
    targetOut,
    targetOffsets,
    targetLongest,
  };
}
