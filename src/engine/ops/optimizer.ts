// Raw ops of training steps: Adam, and what gradient clipping needs. Not differentiable.
import type { Tensor } from '../types.js';
import { elementParts, expectSameSize, expectShape, expectTensors } from './checks.js';
import { sumInto } from './loss.js';

export interface AdamOptions {
  rate: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** Decoupled: the parameter shrinks by rate·weightDecay, beside the step. */
  weightDecay: number;
  /** 1 for the first step; corrects the moments' start at zero. */
  step: number;
  /** [1]: multiplies the gradient, e.g. what `clipFactor` gave. */
  gradScale?: Tensor;
  /** Sets grad to 0 in the same pass. */
  clearGrad?: boolean;
}

/** One step of AdamW on `param` with gradient `grad` and moments `m`, `v` (all of one size; param, m and v are updated). */
export function adamStep(param: Tensor, grad: Tensor, m: Tensor, v: Tensor, options: AdamOptions): void {
  const { rate, beta1, beta2, eps, weightDecay, step, gradScale, clearGrad = false } = options;
  expectTensors('adamStep', 'float32', { param, grad, m, v, gradScale });
  for (const [name, tensor] of Object.entries({ grad, m, v }))
    expectSameSize('adamStep', 'param', param, name, tensor);
  if (gradScale) expectShape('adamStep', 'gradScale', gradScale, [1]);
  const pointers = { param: param.pointer, grad: grad.pointer, m: m.pointer, v: v.pointer };
  const counts = { gradScale: gradScale?.pointer ?? 0, count: param.size, clear: Number(clearGrad) };
  const numbers = {
    shrink: rate * weightDecay,
    blend: 1 - beta1,
    beta2,
    fresh: 1 - beta2,
    rate: rate / (1 - beta1 ** step),
    root: 1 / Math.sqrt(1 - beta2 ** step),
    eps,
  };
  param.engine.run('adamStep', { ...pointers, ...counts, ...numbers }, elementParts(param.size));
}

/** out[0] += Σ x², in float64 partial sums of fixed order. */
export function squaredNorm(x: Tensor, out: Tensor): void {
  expectTensors('squaredNorm', 'float32', { x, out });
  expectShape('squaredNorm', 'out', out, [1]);
  sumInto('squareParts', x, out, true);
}

/** [1]: multiply·min(1, maxNorm/(multiply·√squared)); NaN if the norm is. */
export function clipFactor(squared: Tensor, maxNorm: number, multiply = 1): Tensor {
  expectTensors('clipFactor', 'float32', { squared });
  expectShape('clipFactor', 'squared', squared, [1]);
  const out = squared.engine.empty([1]);
  squared.engine.run('clipFactor', { squared: squared.pointer, out: out.pointer, limit: maxNorm, multiply });
  return out;
}

export { lerpInto } from './elementwise.js';
