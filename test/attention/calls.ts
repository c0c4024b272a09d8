// Random legal calls of attention, every option in any combination, from a seed.
import type { AttentionOptions } from '../../dist/attention/options.js';
import type { HostTensor } from '../../dist/tensor/host.js';

export type Random = () => number;

/** mulberry32: uniform in [0, 1). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const size = (shape: readonly number[]) => shape.reduce((a, n) => a * n, 1);

/** Uniform in [−spread, spread], float32 numbers, held as `dtype`. */
export function randomTensor(
  random: Random,
  shape: number[],
  dtype: 'float32' | 'float64' = 'float32',
  spread = 1.5,
): HostTensor {
  const numbers = Float32Array.from({ length: size(shape) }, () => (random() * 2 - 1) * spread);
  return { dtype, shape, data: dtype === 'float32' ? numbers : new Float64Array(numbers) };
}

export function randomBool(random: Random, shape: number[], share = 0.75): HostTensor {
  const data = Uint8Array.from({ length: size(shape) }, () =>
    random() < share ? 1 + Math.floor(random() * 255) : 0,
  );
  return { dtype: 'bool', shape, data };
}

export interface RandomCall {
  q: HostTensor;
  k: HostTensor;
  v: HostTensor;
  options: AttentionOptions;
}

/** A call of small sizes; `dtype` of every float tensor; −∞ in the bias and empty rows included. */
export function randomCall(
  random: Random,
  { dtype = 'float32' as 'float32' | 'float64', most = 12, widest = 12, drop = true } = {},
): RandomCall {
  const pick = <T>(...choices: T[]): T => choices[Math.floor(random() * choices.length)];
  const chance = (p: number) => random() < p;
  const upTo = (n: number) => 1 + Math.floor(random() * n);
  const packed = chance(0.2);
  const rank = packed ? 3 : pick(2, 3, 4, 4, 4, 5);
  const layout = rank > 2 && (packed || chance(0.4)) ? ('blhd' as const) : ('bhld' as const);
  const lead = Array.from({ length: Math.max(0, rank - 3) }, () => upTo(3));
  const B = packed ? upTo(3) : size(lead);
  const Hkv = rank === 2 ? 1 : upTo(2);
  const H = rank === 2 ? 1 : Hkv * upTo(3);
  const [D, Dv] = [upTo(widest), upTo(widest)];
  const square = chance(0.3);
  let Lq = upTo(most);
  let Lk = square ? Lq : upTo(most);
  const options: Record<string, unknown> = {};
  if (packed) {
    const starts = (n: number) => {
      const inner = Array.from({ length: B - 1 }, () => Math.floor(random() * (n + 1))).sort((a, b) => a - b);
      return Int32Array.from([0, ...inner, n]);
    };
    const q = starts(Lq);
    options.cuSeqlens = { q, k: square ? q.slice() : starts(Lk) };
  }
  const own = () => lead.map((n) => (chance(0.3) ? 1 : n));
  const shape = (batch: number[], heads: number, length: number, width: number) => {
    if (rank === 2) return [length, width];
    return layout === 'bhld' ? [...batch, heads, length, width] : [...batch, length, heads, width];
  };
  const q = randomTensor(random, shape(lead, H, Lq, D), dtype);
  const k = randomTensor(random, shape(own(), Hkv, Lk, D), dtype);
  const v = randomTensor(random, shape(own(), Hkv, Lk, Dv), dtype);
  if (layout === 'blhd' && !packed) options.layout = 'blhd';
  if (packed) {
    const cu = options.cuSeqlens as { q: Int32Array; k: Int32Array };
    const longest = (starts: Int32Array) =>
      Math.max(0, ...Array.from(starts.subarray(1), (n, b) => n - starts[b]));
    [Lq, Lk] = [longest(cu.q), longest(cu.k)];
  }
  const cells = () => {
    const full = rank === 5 && chance(0.5) ? [...lead, H, Lq, Lk] : [B, H, Lq, Lk];
    return full.map((n) => (chance(0.35) ? 1 : n)).slice(Math.floor(random() * (full.length > 4 ? 1 : 4)));
  };
  const offset = () => Math.floor(random() * 9) - 4;
  if (chance(0.5)) {
    const offsets = Int32Array.from({ length: B }, offset);
    options.causal = pick<unknown>('upper-left', 'lower-right', { offset: offset() }, { offset: offsets });
    if (square && chance(0.3)) options.causal = true;
  }
  if (chance(0.3)) options.window = [Math.floor(random() * 5) - 1, Math.floor(random() * 5) - 1];
  if (chance(0.3)) options.scale = pick(-0.7, 0, 0.3, 1, 1.7);
  if (chance(0.25)) options.softcap = pick(0, 0.8, 3);
  if (chance(0.25)) options.alibi = randomTensor(random, pick([H], [B, H]), dtype, 0.6);
  if (chance(0.3)) options.sinks = randomTensor(random, [H], dtype);
  if (!packed && chance(0.3))
    options.keyLengths = Int32Array.from({ length: B }, () => Math.floor(random() * (Lk + 1)));
  if (!packed && chance(0.3)) options.mask = randomBool(random, cells());
  if (!packed && chance(0.4)) {
    const bias = randomTensor(random, cells(), dtype);
    const lowest = chance(0.4) ? 0.2 : 0;
    for (let n = 0; n < bias.data.length; n++) if (chance(lowest)) bias.data[n] = Number.NEGATIVE_INFINITY;
    options.bias = bias;
  }
  if (drop && chance(0.3)) {
    const seed = pick<number | bigint>(7, 2 ** 40 + 3, 0xfedcba9876543210n);
    const keep = randomBool(random, cells(), 0.6);
    options.dropout = pick<unknown>(
      { rate: 0.3, seed },
      { rate: 0.5, seed, keyOffset: 5 },
      { rate: 0.4, keep },
    );
  }
  return { q, k, v, options: options as AttentionOptions };
}
