// All differentiable ops. `tape` null means inference: nothing is recorded and dropout is off.
export * from './ops/attention.js';
export * from './ops/embedding.js';
export * from './ops/linear.js';
export * from './ops/loss.js';
export * from './ops/pointwise.js';
export { concatRows, discard, gatherRows, reshape, reshaped } from './ops/shape.js';
