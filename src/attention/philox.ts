// Philox4x32-10, the counter-based generator (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2,
// 3", SC11), and how attention's dropout draws from it. Every kernel draws the same.
//
// The draw of cell (b, h, i, j), with J = j + keyOffset:
//   counter = (J >>> 2, i, h, b), key = (seed's low 32 bits, seed's high 32 bits), x = word J & 3 of the block,
//   u = (x >>> 8) · 2^-24, and the cell is kept iff u >= rate.
// Four consecutive keys share a block. b counts batch entries (leading dimensions flattened) or packed sequences, h
// query heads, i and j rows and keys within their batch entry or sequence.

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** The high 32 bits of a 64-bit product of unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = b & 0xffff;
  const b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const cross = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}

/** Writes the four words of one block to `out`. Counter and key words are unsigned 32-bit. */
export function philox(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  key0: number,
  key1: number,
  out: Uint32Array,
): void {
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = multiplyHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ key0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ key1) >>> 0;
    c3 = low0;
    key0 = (key0 + WEYL_0) >>> 0;
    key1 = (key1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** u >= rate, in whole numbers: keep iff (x >>> 8) >= dropoutThreshold(rate). */
export function dropoutThreshold(rate: number): number {
  return Math.ceil(rate * 2 ** 24);
}

/** A seed's 64 bits as (low, high) words. */
export function seedWords(seed: number | bigint): [low: number, high: number] {
  const bits = BigInt(seed);
  return [Number(bits & 0xffffffffn), Number(bits >> 32n)];
}

const block = new Uint32Array(4);

/** Which of keys j0 … j0 + out.length − 1 (keyOffset included) row i of (b, h) keeps: 1 or 0 each. */
export function keepRow(
  seed: readonly [low: number, high: number],
  rate: number,
  b: number,
  h: number,
  i: number,
  j0: number,
  out: Uint8Array,
): void {
  const threshold = dropoutThreshold(rate);
  for (let n = 0; n < out.length; n++) {
    const j = j0 + n;
    if (n === 0 || (j & 3) === 0) philox(j >>> 2, i, h, b, seed[0], seed[1], block);
    out[n] = block[j & 3] >>> 8 >= threshold ? 1 : 0;
  }
}
