// Weight averaging: a second set of weights that follows the trained ones, and often translates better.
import { lerpInto } from '../engine/ops/optimizer.js';
import type { Tensor } from '../engine/types.js';
import { OptionError } from '../tensor/errors.js';
import {
  disposeBuffers,
  type Parameters,
  readBuffers,
  valuesOf,
  writeBuffers,
  zerosLike,
} from './buffers.js';

export interface AveragingOptions {
  /** 'ema' forgets exponentially; 'mean' weighs every sample alike. */
  kind: 'ema' | 'mean';
  /** ema: the share kept per sample, e.g. 0.999; it grows from 0.1 as (1 + n) / (10 + n) at first. */
  decay?: number;
  /** First step that is sampled. Default 1. */
  fromStep?: number;
  /** A sample every so many steps. Default 1. */
  every?: number;
}

/** A running average of parameters. Dispose it; the parameters stay. */
export class WeightAverage {
  readonly values: ReadonlyMap<string, Tensor>;
  readonly options: Required<AveragingOptions>;
  /** Samples taken; part of a checkpoint. */
  samples = 0;
  readonly #parameters: Parameters;

  constructor(parameters: Parameters, options: AveragingOptions) {
    this.options = { decay: 0.999, fromStep: 1, every: 1, ...options };
    const { decay, fromStep, every } = this.options;
    if (!(decay >= 0 && decay < 1)) throw new OptionError(`averaging: decay must be in [0, 1), got ${decay}`);
    if (!(Number.isInteger(every) && every >= 1))
      throw new OptionError(`averaging: every must be a whole number from 1, got ${every}`);
    if (!(fromStep >= 1)) throw new OptionError(`averaging: fromStep must be at least 1, got ${fromStep}`);
    this.#parameters = parameters;
    this.values = zerosLike(parameters);
  }

  /** Called after optimiser step `step` (1-based). */
  update(step: number): void {
    const { kind, decay, fromStep, every } = this.options;
    if (step < fromStep || (step - fromStep) % every !== 0) return;
    const n = this.samples++;
    const share = kind === 'mean' ? 1 / (n + 1) : n === 0 ? 1 : 1 - Math.min(decay, (1 + n) / (10 + n));
    for (const [name, { value }] of this.#parameters) lerpInto(this.values.get(name)!, value, share);
  }

  /** Puts the average in the parameters' place while `fn` runs; the trained values come back to the bit. */
  async during<T>(fn: () => Promise<T>): Promise<T> {
    if (this.samples === 0) return fn();
    const trained = valuesOf(this.#parameters);
    const held = await readBuffers(trained);
    writeBuffers(trained, await readBuffers(this.values));
    try {
      return await fn();
    } finally {
      writeBuffers(trained, held);
    }
  }

  dispose(): void {
    disposeBuffers(this.values);
  }
}
