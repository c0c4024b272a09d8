// Differentiable embedding look-up, with scale and positions in the same pass.

import { embeddingBackward, embedding as embeddingRaw } from '../../engine/ops/embedding.js';
import type { Tensor } from '../../engine/types.js';
import type { Weight } from '../parameter.js';
import type { Tape } from '../tape.js';

export interface EmbeddingOptions {
  /** Factor on the table's rows (not on positions), e.g. √width; default 1. */
  scale?: number;
  /** Row index[t] of a second table is added: fixed (a tensor) or learned (a weight). */
  positions?: { table: Tensor | Weight; index: Tensor /* int32 [T] */ };
}

/** ids int32 [T], table [V,C] → scale·table[ids] + positions.table[positions.index], [T,C]. */
export function embedding(
  tape: Tape | null,
  ids: Tensor,
  table: Weight,
  { scale = 1, positions }: EmbeddingOptions = {},
): Tensor {
  const learned = positions && 'value' in positions.table ? positions.table : null;
  const fixed = learned ? learned.value : (positions?.table as Tensor | undefined);
  const y = embeddingRaw(
    ids,
    table.value,
    scale,
    positions && fixed ? { table: fixed, index: positions.index } : undefined,
  );
  tape?.record(y, (dy) => {
    embeddingBackward(ids, dy, scale, table.grad);
    if (learned && positions) embeddingBackward(positions.index, dy, 1, learned.grad);
  });
  return y;
}
