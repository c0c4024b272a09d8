// IEEE 754 binary16 and bfloat16 ↔ float32. Widening is exact; narrowing rounds once, to nearest even, from the
// number itself (a float64 is not rounded to float32 first). NaN becomes the quiet NaN 0x7e00.

let table: Float32Array | undefined;

/** The number that 16 bits stand for. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

const scratch = new Float64Array(1);
const words = new Uint32Array(scratch.buffer);
const high = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 1 : 0;
/** Adding and subtracting it rounds a small non-negative number to an integer, ties to even. */
const ROUND = 2 ** 52;

/** The 16 bits nearest to a number. */
export function toHalf(x: number): number {
  if (Number.isNaN(x)) return 0x7e00;
  scratch[0] = x;
  const word = words[high];
  const sign = (word >>> 16) & 0x8000;
  const exponent = ((word >>> 20) & 0x7ff) - 1023;
  const size = Math.abs(x);
  if (exponent > 15) return sign | 0x7c00;
  // Below 2^-14 numbers are multiples of 2^-24; 1024 of them are the smallest normal number, by the same bits.
  if (exponent < -14) return sign | (size * 2 ** 24 + ROUND - ROUND);
  // A fraction that rounds up to 2048 carries into the exponent, at the top into infinity.
  return sign | (((exponent + 14) << 10) + (size * 2 ** (10 - exponent) + ROUND - ROUND));
}

/** Widens an array of float16 bits, exactly. */
export function halfToFloat32(bits: Uint16Array): Float32Array {
  const out = new Float32Array(bits.length);
  halfInto(bits, 0, bits.length, out, 0);
  return out;
}

/** Widens bits [from, to) into `out` at `at`. */
export function halfInto(bits: Uint16Array, from: number, to: number, out: Float32Array, at: number): void {
  if (table === undefined) {
    if (to - from < 4096) {
      for (let i = from; i < to; i++, at++) out[at] = fromHalf(bits[i]);
      return;
    }
    table = new Float32Array(65536);
    for (let i = 0; i < 65536; i++) table[i] = fromHalf(i);
  }
  for (let i = from; i < to; i++, at++) out[at] = table[bits[i]];
}

/** Rounds numbers to float16 bits. */
export function float32ToHalf(numbers: Float32Array | Float64Array): Uint16Array {
  const out = new Uint16Array(numbers.length);
  if (numbers.BYTES_PER_ELEMENT === 8) {
    for (let i = 0; i < numbers.length; i++) out[i] = toHalf(numbers[i]);
    return out;
  }
  const bits = new Uint32Array(numbers.buffer, numbers.byteOffset, numbers.length);
  for (let i = 0; i < out.length; i++) out[i] = narrow(bits[i]);
  return out;
}

const single = new Float32Array(1);
const singleBits = new Uint32Array(single.buffer);
const HALF = 0x3f000000;

/** The 16 bits nearest to the float32 that `word` stands for. */
function narrow(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const size = word & 0x7fffffff;
  if (size > 0x7f800000) return 0x7e00;
  if (size >= 0x47800000) return sign | 0x7c00;
  // Half an odd last bit more rounds ties to even; a carry goes into the exponent, at the top into infinity.
  if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
  // Below 2^-14 numbers are multiples of 2^-24: the last bit of float32 between a half and 1.
  singleBits[0] = size;
  single[0] += 0.5;
  return sign | (singleBits[0] - HALF);
}

/** Widens an array of bfloat16 bits, exactly. */
export function bfloat16ToFloat32(bits: Uint16Array): Float32Array {
  const out = new Uint32Array(bits.length);
  for (let i = 0; i < bits.length; i++) out[i] = bits[i] << 16;
  return new Float32Array(out.buffer);
}
