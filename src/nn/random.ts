// The library's seeded generator: xoshiro128** (Blackman & Vigna), the same numbers on every machine.
import { OptionError } from '../tensor/errors.js';

const rotl = (x: number, k: number) => (x << k) | (x >>> (32 - k));

/** Deterministic random numbers from a seed; `state` can be saved and restored. */
export class Random {
  #s: Uint32Array<ArrayBuffer>;

  /** @param seed whole number from 0 to 2^53−1. */
  constructor(seed: number) {
    if (!Number.isSafeInteger(seed) || seed < 0) {
      throw new OptionError(`random: seed must be a whole number from 0 to 2^53-1, got ${seed}`);
    }
    // splitmix32 spreads any seed, 0 included, over the whole state.
    let x = (seed >>> 0) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b9);
    this.#s = new Uint32Array(4).map(() => {
      x = (x + 0x9e3779b9) | 0;
      let z = Math.imul(x ^ (x >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    });
  }

  get state(): [number, number, number, number] {
    return [...this.#s] as [number, number, number, number];
  }

  set state(state: readonly number[]) {
    const valid = state.length === 4 && state.every((n) => Number.isInteger(n) && n >= 0 && n <= 0xffffffff);
    if (!valid || state.every((n) => n === 0)) {
      throw new OptionError('random: state must be four unsigned 32-bit integers, not all 0');
    }
    this.#s = Uint32Array.from(state);
  }

  /** Uniform unsigned 32-bit integer. */
  uint32(): number {
    const s = this.#s;
    const result = Math.imul(rotl(Math.imul(s[1], 5), 7), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 11);
    return result;
  }

  /** Uniform in [0, 1), 32 bits. */
  uniform(): number {
    return this.uint32() / 2 ** 32;
  }

  /** Uniform whole number in [0, n), without bias; n at most 2^32. */
  below(n: number): number {
    const limit = 2 ** 32 - (2 ** 32 % n);
    let u = this.uint32();
    while (u >= limit) u = this.uint32();
    return u % n;
  }

  /** Standard normal (Box–Muller; one of the pair). */
  normal(): number {
    const u = (this.uint32() + 1) / 2 ** 32;
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** Shuffles in place (Fisher–Yates). Returns its argument. */
  shuffle<T extends { length: number; [i: number]: unknown }>(items: T): T {
    for (let i = items.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      const item = items[i];
      items[i] = items[j];
      items[j] = item;
    }
    return items;
  }
}
