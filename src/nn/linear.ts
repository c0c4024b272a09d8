// Linear layer and layer norm.
import { layerNorm, linear } from '../autograd/ops.js';
import type { Parameter } from '../autograd/parameter.js';
import type { Tape } from '../autograd/tape.js';
import type { Engine, Tensor } from '../engine/types.js';
import { uniform } from './init.js';
import { Module } from './module.js';
import type { Random } from './random.js';

/** Where initial values come from; null leaves weights 0, for a module that is loaded next. */
export type Init = Random | null;

/** x [...,in] → x·weightᵀ + bias [...,out]. Parameters `weight` [out,in], `bias` [out]. */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  constructor(
    engine: Engine,
    inputs: number,
    outputs: number,
    random: Init,
    options: { bias?: boolean } = {},
  ) {
    super(engine);
    const limit = 1 / Math.sqrt(inputs);
    this.weight = this.parameter(
      'weight',
      [outputs, inputs],
      random && uniform([outputs, inputs], limit, random),
    );
    this.bias =
      options.bias === false
        ? null
        : this.parameter('bias', [outputs], random && uniform([outputs], limit, random));
  }

  forward(tape: Tape | null, x: Tensor): Tensor {
    return linear(tape, x, this.weight, this.bias);
  }
}

/** x [...,C], normalised over the last dimension (Ba et al. 2016). Parameters `weight`, `bias` [C]. */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly eps: number;

  constructor(engine: Engine, width: number, eps = 1e-5) {
    super(engine);
    this.weight = this.parameter('weight', [width], new Float32Array(width).fill(1));
    this.bias = this.parameter('bias', [width]);
    this.eps = eps;
  }

  forward(tape: Tape | null, x: Tensor): Tensor {
    return layerNorm(tape, x, this.weight, this.bias, this.eps);
  }
}
