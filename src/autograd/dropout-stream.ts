// Source of dropout keys: a seed and a counter. One key per dropout call, so that a run resumed from
// the same state draws the same bits.
import { OptionError } from '../tensor/errors.js';

/** Key of one Philox stream; both are unsigned 32-bit integers. */
export interface DropoutKey {
  readonly seed: number;
  readonly counter: number;
}

const isU32 = (x: number) => Number.isInteger(x) && x >= 0 && x <= 0xffffffff;

/** Hands out consecutive counters under one seed. `state` is all there is to save in a checkpoint. */
export class DropoutStream {
  #seed: number;
  #counter: number;

  /** @throws OptionError where seed or counter is not an unsigned 32-bit integer. */
  constructor(seed: number, counter = 0) {
    this.#seed = 0;
    this.#counter = 0;
    this.state = { seed, counter };
  }

  /** The key for the next dropout call. */
  next(): DropoutKey {
    const key = { seed: this.#seed, counter: this.#counter };
    this.#counter = (this.#counter + 1) >>> 0;
    return key;
  }

  /** What `next()` will hand out; writable, to resume. */
  get state(): DropoutKey {
    return { seed: this.#seed, counter: this.#counter };
  }

  set state({ seed, counter }: DropoutKey) {
    if (!isU32(seed) || !isU32(counter)) {
      throw new OptionError(
        `dropout: seed and counter must be unsigned 32-bit integers, got ${seed}, ${counter}`,
      );
    }
    this.#seed = seed;
    this.#counter = counter;
  }
}

/** The key as the one seed below 2^53 that attention takes; differs for 2^21 counters in a row. */
export function attentionSeed({ seed, counter }: DropoutKey): number {
  return (counter % 2 ** 21) * 2 ** 32 + ((seed ^ (counter >>> 21)) >>> 0);
}
