// Calls whose keys and values lie in an engine already: what a problem brings beside them, as one piece.
import type { AttentionProblem, RowLayout } from '../attention/problem.js';
import type { AttentionCall, Operand } from '../engine/ops/attention.js';
import type { Engine, Tensor } from '../engine/types.js';
import { type KeyRows, type Piece, rowBox, rowOperand, uploadPiece } from './call.js';

/** All of a problem of unpacked rows. */
export function wholePiece({ B, H, Hkv, Lq, Lk }: AttentionProblem): Piece {
  return { batches: [0, B], heads: [0, H], keyHeads: [0, Hkv], rows: [0, Lq], keys: [0, Lk] };
}

/** A tensor of the engine that holds the queries or the output as the problem tells, without gaps. */
export function wholeOperand(p: AttentionProblem, tensor: Tensor, layout: RowLayout): Operand {
  return rowOperand(p, tensor, rowBox(p, layout, [0, p.B], [0, p.H], [0, p.Lq]));
}

/** Uploads the options, and the queries unless `q` says where they are. */
export function cachedCall(
  engine: Engine,
  p: AttentionProblem,
  { k, v }: Readonly<KeyRows>,
  q?: Operand,
): AttentionCall {
  return uploadPiece(engine, p, wholePiece(p), { k, v, q });
}
