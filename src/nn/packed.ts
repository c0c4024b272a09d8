// Packed sequences: several sequences one below the other in one matrix [T,E], without padding.
import type { Engine, Tensor } from '../engine/types.js';
import { OptionError } from '../tensor/errors.js';

/** Where each sequence starts, for the host and for the engine. */
export interface PackedSequences {
  /** Rows of each sequence; 0 is legal. */
  readonly lengths: readonly number[];
  /** int32 [count+1]: 0, then the running sums of the lengths. */
  readonly cuSeqlens: Tensor;
  readonly count: number;
  readonly longest: number;
  /** Rows of all sequences together. */
  readonly total: number;
}

/** Describes sequences of the given lengths. `cuSeqlens` belongs to the running scope. */
export function packSequences(engine: Engine, lengths: ArrayLike<number>): PackedSequences {
  const list = Array.from(lengths);
  const starts = new Int32Array(list.length + 1);
  list.forEach((length, i) => {
    if (!Number.isInteger(length) || length < 0) {
      throw new OptionError(`packSequences: length ${i} must be a whole number from 0, got ${length}`);
    }
    starts[i + 1] = starts[i] + length;
  });
  return {
    lengths: list,
    cuSeqlens: engine.tensor(starts, [starts.length]),
    count: list.length,
    longest: list.reduce((a, b) => Math.max(a, b), 0),
    total: starts[list.length],
  };
}

/** Position of every row within its sequence: int32 [total], e.g. 0 1 2 0 1 for lengths 3, 2. */
export function packedPositions(lengths: ArrayLike<number>): Int32Array<ArrayBuffer> {
  const total = Array.from(lengths).reduce((a, b) => a + b, 0);
  const positions = new Int32Array(total);
  let at = 0;
  for (let i = 0; i < lengths.length; i++) for (let p = 0; p < lengths[i]; p++) positions[at++] = p;
  return positions;
}
