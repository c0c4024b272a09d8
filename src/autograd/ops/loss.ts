// Differentiable log-softmax and cross-entropy.

import { scale as scaleRaw } from '../../engine/ops/elementwise.js';
import {
  crossEntropy as crossEntropyRaw,
  logSoftmaxBackward,
  logSoftmax as logSoftmaxRaw,
  sumAll,
} from '../../engine/ops/loss.js';
import { matmul } from '../../engine/ops/matmul.js';
import type { Tensor } from '../../engine/types.js';
import type { Tape } from '../tape.js';
import { reshaped, withMatrix } from './shape.js';

/** x [...,C] → x − log Σ exp x over the last dimension. */
export function logSoftmax(tape: Tape | null, x: Tensor): Tensor {
  const y = reshaped(withMatrix(x, logSoftmaxRaw), x.shape);
  if (tape?.tracks(x)) {
    tape.record(y, (dy) => {
      const dx = withMatrix(dy, (g) => withMatrix(y, (m) => logSoftmaxBackward(g, m)));
      tape.accumulate(x, dx);
    });
  }
  return y;
}

export interface CrossEntropyOptions {
  /** Share of the target spread evenly over all V classes, as in torch; default 0. */
  smoothing?: number;
  /** The gradient overwrites the logits, which must not be read afterwards: [T,V] is not held twice. */
  inPlace?: boolean;
}

export interface CrossEntropy {
  /** [1]: sum over targets that are not ignored; this is what backward starts from. */
  total: Tensor;
  /** [T], smoothed as in torch; 0 where the target is ignored. */
  losses: Tensor;
  /** [T], without smoothing: nats per token. */
  plain: Tensor;
}

/** logits [T,V], targets int32 [T], −1 is ignored. The gradient of `total` is made in the forward pass. */
export function crossEntropy(
  tape: Tape | null,
  logits: Tensor,
  targets: Tensor,
  { smoothing = 0, inPlace = false }: CrossEntropyOptions = {},
): CrossEntropy {
  const { losses, plain, dLogits } = crossEntropyRaw(logits, targets, smoothing, { inPlace });
  const total = sumAll(losses);
  if (tape?.tracks(logits)) {
    tape.record(total, (dTotal) => {
      const factor = tape.knownNumber(dTotal);
      tape.accumulate(logits, factor === 1 ? dLogits : scaled(dLogits, factor ?? dTotal));
    });
  } else {
    dLogits.dispose();
  }
  return { total, losses, plain };
}

/** factor·x, also for a factor [1] that only the engine knows; frees x. */
function scaled(x: Tensor, factor: number | Tensor): Tensor {
  if (typeof factor === 'number') {
    const y = scaleRaw(x, factor);
    x.dispose();
    return y;
  }
  const column = reshaped(x, [x.size, 1]);
  const one = factor.reshape([1, 1]);
  const y = matmul(column, one);
  column.dispose();
  one.dispose();
  return reshaped(y, x.shape);
}
