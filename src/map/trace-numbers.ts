// Which numbers the tensors of a trace may hold. Where all keep to it no score leaves float32, so every weight is finite:
// |scale|·D·|q|·|k| ≤ 2^121, a bias 2^120, a slope times a distance 2^72.
import type { DType, TypedArrayOf } from '../tensor/dtype.js';
import { halfToFloat32 } from '../tensor/half.js';
import { formatShape } from '../tensor/host.js';

/** 'sized' up to 2^40 either way; 'below' up to 2^120, or down to −∞, which stands for a key, a sink or a row that is not. */
export type Numbers = 'sized' | 'below' | 'any';

/** Largest scale either way. */
export const MOST_SCALE = 2 ** 32;

const BOUNDS = { sized: [-(2 ** 40), 2 ** 40], below: [Number.NEGATIVE_INFINITY, 2 ** 120] } as const;
const EXPECTED = { sized: 'numbers up to 2^40 in size', below: 'numbers up to 2^120, or −∞' };

/**
 * Says what is wrong with numbers [from, from + data.length) of a tensor of this shape; undefined where all may be. bfloat16
 * is given as float32.
 */
export function wrongNumber(
  numbers: Numbers,
  { dtype, data }: { readonly dtype: DType; readonly data: TypedArrayOf },
  from: number,
  shape: readonly number[],
): string | undefined {
  if (numbers === 'any') return undefined;
  const half = dtype === 'float16';
  const at = half
    ? findHalf(data as Uint16Array, numbers === 'below')
    : findOutside(data as Float32Array, BOUNDS[numbers]);
  if (at < 0) return undefined;
  const got = half ? halfToFloat32((data as Uint16Array).subarray(at, at + 1))[0] : data[at];
  return `expected ${EXPECTED[numbers]}, got ${got} at ${formatShape(indexOf(from + at, shape))}`;
}

function findOutside(data: Float32Array | Float64Array, [low, high]: readonly [number, number]): number {
  const length = data.length;
  for (let i = 0; i < length; i++) if (!(data[i] >= low && data[i] <= high)) return i;
  return -1;
}

/** float16 has no finite number outside: NaN and ∞ are left, of which −∞ may be `allowed`. */
function findHalf(bits: Uint16Array, allowed: boolean): number {
  const length = bits.length;
  for (let i = 0; i < length; i++)
    if ((bits[i] & 0x7c00) === 0x7c00 && !(allowed && bits[i] === 0xfc00)) return i;
  return -1;
}

function indexOf(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (const n of [...shape].reverse()) {
    index.unshift(rest % n);
    rest = Math.floor(rest / n);
  }
  return index;
}
