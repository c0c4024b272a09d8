// Raw ops of losses over rows of logits, and sums of whole tensors. Not differentiable: gradients come along.
import { ShapeError } from '../../tensor/errors.js';
import type { Tensor } from '../types.js';
import {
  expectBetween,
  expectEngine,
  expectShape,
  expectTensors,
  matrixShape,
  rowParts,
  SUM_CHUNK,
} from './checks.js';

export interface CrossEntropy {
  /** [T]: (1−ε)·nll + ε·(mean over v of −log p[v]), as torch smooths; 0 where the target is −1. */
  losses: Tensor;
  /** [T]: nll, without smoothing; 0 where the target is −1. */
  plain: Tensor;
  /** [T,V]: gradient of the sum of `losses`. */
  dLogits: Tensor;
}

/**
 * Cross-entropy of logits [T,V] with targets int32 [T]; target −1 is ignored, one outside [−1, V) gives NaN.
 * `inPlace` writes dLogits over the logits: the returned dLogits is a view of their storage.
 */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  smoothing: number,
  options: { inPlace?: boolean } = {},
): CrossEntropy {
  const [rows, columns] = matrixShape('crossEntropy', 'logits', logits);
  if (columns === 0)
    throw new ShapeError(`crossEntropy: logits have shape [${rows}, 0], expected at least one column`);
  expectTensors('crossEntropy', 'float32', { logits });
  expectTensors('crossEntropy', 'int32', { targets });
  expectEngine('crossEntropy', ['logits', logits], ['targets', targets]);
  expectShape('crossEntropy', 'targets', targets, [rows]);
  expectBetween('crossEntropy', 'smoothing', smoothing, 0, 1);
  const { engine } = logits;
  const [losses, plain] = [engine.empty([rows]), engine.empty([rows])];
  const dLogits = options.inPlace ? logits.reshape(logits.shape) : engine.empty(logits.shape);
  const { rowsPerPart, parts } = rowParts(rows, columns);
  const inputs = { logits: logits.pointer, targets: targets.pointer };
  const outputs = { losses: losses.pointer, plain: plain.pointer, gradient: dLogits.pointer };
  engine.run('crossEntropy', { ...inputs, ...outputs, rows, columns, rowsPerPart, smoothing }, parts);
  return { losses, plain, dLogits };
}

/** x − log Σ exp(x) over each row of x [R,C]. */
export function logSoftmax(x: Tensor): Tensor {
  const [rows, columns] = matrixShape('logSoftmax', 'x', x);
  expectTensors('logSoftmax', 'float32', { x });
  const y = x.engine.empty(x.shape);
  const { rowsPerPart, parts } = rowParts(rows, columns);
  x.engine.run(
    'logSoftmax',
    { x: x.pointer, y: y.pointer, rows, columns, rowsPerPart },
    columns > 0 ? parts : 0,
  );
  return y;
}

/** Gradient of logSoftmax: dy − exp(y)·Σ dy over each row; y is the forward's result. */
export function logSoftmaxBackward(dy: Tensor, y: Tensor): Tensor {
  const [rows, columns] = matrixShape('logSoftmaxBackward', 'y', y);
  expectTensors('logSoftmaxBackward', 'float32', { dy, y });
  expectShape('logSoftmaxBackward', 'dy', dy, y.shape);
  const dx = y.engine.empty(y.shape);
  const { rowsPerPart, parts } = rowParts(rows, columns);
  const slots = { dy: dy.pointer, y: y.pointer, dx: dx.pointer, rows, columns, rowsPerPart };
  y.engine.run('logSoftmaxBackward', slots, columns > 0 ? parts : 0);
  return dx;
}

/** Σ of all elements → [1]: float64 partial sums in a fixed order, rounded once. */
export function sumAll(x: Tensor): Tensor {
  expectTensors('sumAll', 'float32', { x });
  const out = x.engine.empty([1]);
  sumInto('sumParts', x, out, false);
  return out;
}

/** out[0] (+)= the sum that `kernel` forms over x. */
export function sumInto(
  kernel: 'sumParts' | 'squareParts',
  x: Tensor,
  out: Tensor,
  accumulate: boolean,
): void {
  const { engine } = x;
  const parts = Math.ceil(x.size / SUM_CHUNK);
  const partial = engine.empty([2 * parts]); // two float32 make room for one float64
  engine.run(kernel, { x: x.pointer, partial: partial.pointer, count: x.size }, parts);
  const slots = { partial: partial.pointer, count: parts, out: out.pointer, accumulate: Number(accumulate) };
  engine.run('finishSum', slots);
  partial.dispose();
}
