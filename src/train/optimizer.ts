// Adam and AdamW (Kingma & Ba; Loshchilov & Hutter), with the gradient clipped by its global norm. Everything runs on
// the engine: a step waits for nothing.
import { fill } from '../engine/ops/elementwise.js';
import { adamStep, clipFactor, squaredNorm } from '../engine/ops/optimizer.js';
import type { Engine, Tensor } from '../engine/types.js';
import { OptionError } from '../tensor/errors.js';
import { disposeBuffers, engineOf, type Parameters, zerosLike } from './buffers.js';

export interface AdamOptions {
  beta1: number;
  beta2: number;
  eps: number;
  /** Decoupled (AdamW), on matrices only; 0 is plain Adam. */
  weightDecay: number;
  /** Largest norm of the whole gradient; 0 does not clip. */
  clip: number;
}

/** As in "Attention Is All You Need", without weight decay and clipping. */
export const ADAM_DEFAULTS: AdamOptions = { beta1: 0.9, beta2: 0.98, eps: 1e-9, weightDecay: 0, clip: 0 };

/** Adam's state over a set of parameters, e.g. `module.parameters()`. Dispose it; the parameters stay. */
export class Adam {
  readonly parameters: Parameters;
  readonly options: AdamOptions;
  /** First and second moments, by the parameters' names. */
  readonly m: ReadonlyMap<string, Tensor>;
  readonly v: ReadonlyMap<string, Tensor>;
  readonly #engine: Engine;

  constructor(parameters: Parameters, options: Partial<AdamOptions> = {}) {
    this.parameters = parameters;
    this.#engine = engineOf(parameters);
    this.options = { ...ADAM_DEFAULTS, ...options };
    const { beta1, beta2, eps, weightDecay, clip } = this.options;
    if (!(beta1 >= 0 && beta1 < 1)) throw new OptionError(`adam: beta1 must be in [0, 1), got ${beta1}`);
    if (!(beta2 >= 0 && beta2 < 1)) throw new OptionError(`adam: beta2 must be in [0, 1), got ${beta2}`);
    if (!(eps > 0)) throw new OptionError(`adam: eps must be over 0, got ${eps}`);
    if (!(weightDecay >= 0))
      throw new OptionError(`adam: weightDecay must be at least 0, got ${weightDecay}`);
    if (!(clip >= 0)) throw new OptionError(`adam: clip must be at least 0, got ${clip}`);
    this.m = zerosLike(parameters);
    this.v = zerosLike(parameters);
  }

  /**
   * Optimiser step `step` (1-based): the gradients, times `multiply` and clipped, move the values; then they are
   * zeroed. `squared` [1] receives the squared norm of the gradients before `multiply`.
   */
  step(step: number, rate: number, multiply: number, squared: Tensor): void {
    const { beta1, beta2, eps, weightDecay, clip } = this.options;
    this.#engine.scope(() => {
      fill(squared, 0);
      for (const { grad } of this.parameters.values()) squaredNorm(grad, squared);
      const gradScale = clipFactor(squared, clip > 0 ? clip : 3e38, multiply);
      for (const [name, { value, grad }] of this.parameters) {
        const decay = value.shape.length > 1 ? weightDecay : 0;
        const o = { rate, beta1, beta2, eps, weightDecay: decay, step, gradScale, clearGrad: true };
        adamStep(value, grad, this.m.get(name)!, this.v.get(name)!, o);
      }
    });
  }

  dispose(): void {
    disposeBuffers(this.m);
    disposeBuffers(this.v);
  }
}
