// Differentiable x·Wᵀ + b and layer norm. Parameter gradients are added to `grad` by the kernels themselves.

import { matmul } from '../../engine/ops/matmul.js';
import { columnSum, layerNormBackward, layerNorm as layerNormRaw } from '../../engine/ops/norm.js';
import type { Tensor } from '../../engine/types.js';
import { ShapeError } from '../../tensor/errors.js';
import type { Weight } from '../parameter.js';
import type { Tape } from '../tape.js';
import { reshaped, withMatrix } from './shape.js';

function lastWidth(name: string, x: Tensor, expected: number): void {
  const got = x.shape[x.shape.length - 1];
  if (x.shape.length === 0 || got !== expected) {
    throw new ShapeError(`${name}: x has shape [${x.shape}], expected a last dimension of ${expected}`);
  }
}

/** x [...,K], weight [N,K], bias [N] → x·weightᵀ + bias [...,N]. With a tied table as weight: logits. */
export function linear(tape: Tape | null, x: Tensor, weight: Weight, bias?: Weight | null): Tensor {
  const [N, K] = weight.value.shape;
  lastWidth('linear', x, K);
  const product = withMatrix(x, (m) => matmul(m, weight.value, { transposeB: true, bias: bias?.value }));
  const y = reshaped(product, [...x.shape.slice(0, -1), N]);
  tape?.record(y, (dy) =>
    withMatrix(dy, (g) => {
      withMatrix(x, (m) => matmul(g, m, { transposeA: true, out: weight.grad, accumulate: true }));
      if (bias) columnSum(g, bias.grad, true);
      if (tape.tracks(x)) linearInputGradient(tape, x, g, weight);
    }),
  );
  return y;
}

/** dx += dy·W, straight into the gradient that has come for x already, if there is one. */
function linearInputGradient(tape: Tape, x: Tensor, dy: Tensor, weight: Weight): void {
  const present = tape.exclusive(x);
  if (present) withMatrix(present, (out) => matmul(dy, weight.value, { out, accumulate: true }));
  else tape.accumulate(x, matmul(dy, weight.value));
}

/** x [...,C] → (x − mean)/√(variance + eps) · weight + bias over the last dimension. */
export function layerNorm(tape: Tape | null, x: Tensor, weight: Weight, bias: Weight, eps = 1e-5): Tensor {
  lastWidth('layerNorm', x, weight.value.size);
  const { y, mean, rstd } = withMatrix(x, (m) => layerNormRaw(m, weight.value, bias.value, eps));
  const output = reshaped(y, x.shape);
  if (tape === null) {
    mean.dispose();
    rstd.dispose();
    return output;
  }
  const backward = (dy: Tensor) => {
    const into = { dWeight: weight.grad, dBias: bias.grad };
    const { dx } = withMatrix(dy, (g) =>
      withMatrix(x, (m) => layerNormBackward(g, m, weight.value, mean, rstd, into)),
    );
    tape.accumulate(x, dx);
  };
  tape.record(output, backward, [mean, rstd]);
  return output;
}
