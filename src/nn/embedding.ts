// Token embeddings and positions, sinusoidal and learned.
import { embedding } from '../autograd/ops.js';
import type { Parameter } from '../autograd/parameter.js';
import type { Tape } from '../autograd/tape.js';
import type { Engine, Tensor } from '../engine/types.js';
import { OptionError } from '../tensor/errors.js';
import { normal } from './init.js';
import type { Init } from './linear.js';
import { Module } from './module.js';

/** Where each row of a packed or padded batch stands in its sequence. */
export interface Positions {
  /** What is added per position. */
  readonly table: SinusoidalPositions | LearnedPositions;
  /** int32 [T]: the position of each row. */
  readonly index: Tensor;
}

/** ids int32 [T] → rows of `weight` [count, width], scaled. Initial values are normal. */
export class Embedding extends Module {
  readonly weight: Parameter;
  readonly scale: number;

  /** `deviation` of the initial normal distribution is 1 as in torch; `scale` multiplies what is looked up. */
  constructor(
    engine: Engine,
    count: number,
    width: number,
    random: Init,
    { scale = 1, deviation = 1 }: { scale?: number; deviation?: number } = {},
  ) {
    super(engine);
    this.scale = scale;
    this.weight = this.parameter(
      'weight',
      [count, width],
      random && normal([count, width], deviation, random),
    );
  }

  /** → [T, width]: scale·weight[ids] + positions. */
  forward(tape: Tape | null, ids: Tensor, positions?: Positions): Tensor {
    return embedding(tape, ids, this.weight, {
      scale: this.scale,
      positions: positions && { table: positions.table.table, index: positions.index },
    });
  }
}

/** Learned positions: parameter `weight` [length, width]. */
export class LearnedPositions extends Module {
  readonly weight: Parameter;

  constructor(engine: Engine, length: number, width: number, random: Init, deviation = 0.02) {
    super(engine);
    this.weight = this.parameter(
      'weight',
      [length, width],
      random && normal([length, width], deviation, random),
    );
  }

  get table(): Parameter {
    return this.weight;
  }

  get length(): number {
    return this.weight.shape[0];
  }
}

/**
 * Fixed positions (Vaswani et al. 2017): [length, width] with sin(p / 10000^(2i/width)) in column 2i and the
 * cosine in column 2i+1. `width` is even.
 */
export function sinusoidalPositions(length: number, width: number): Float32Array {
  if (width % 2 !== 0) throw new OptionError(`sinusoidalPositions: width must be even, got ${width}`);
  const table = new Float32Array(length * width);
  for (let p = 0; p < length; p++) {
    for (let i = 0; i < width; i += 2) {
      const angle = p / 10000 ** (i / width);
      table[p * width + i] = Math.sin(angle);
      table[p * width + i + 1] = Math.cos(angle);
    }
  }
  return table;
}

/** The table of `sinusoidalPositions` in the engine. It has no parameters. */
export class SinusoidalPositions extends Module {
  readonly table: Tensor;

  constructor(engine: Engine, length: number, width: number) {
    super(engine);
    this.table = engine.keep(engine.tensor(sinusoidalPositions(length, width), [length, width]));
  }

  get length(): number {
    return this.table.shape[0];
  }

  override dispose(): void {
    this.table.dispose();
    super.dispose();
  }
}
