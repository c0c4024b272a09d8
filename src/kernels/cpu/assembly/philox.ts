// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a counter-based generator.
// One block turns a counter of four 32-bit words and a key of two into four random words. Nothing is kept between
// calls, so any element's word can be drawn alone, in any order, on any thread.
//
// Dropout over a flat tensor: element e takes word e & 3 of the block with counter (e >> 2, 0, 0, 0), key (seed, counter).
// A word x stands for u = (x >>> 8) · 2^-24 in [0, 1); an element is kept where u >= rate.

/** Words 0 to 3 of the last call of `philox4`: lane l belongs to the block of the counters' lane l. */
export let philoxWord0: v128 = i32x4(0, 0, 0, 0);
export let philoxWord1: v128 = i32x4(0, 0, 0, 0);
export let philoxWord2: v128 = i32x4(0, 0, 0, 0);
export let philoxWord3: v128 = i32x4(0, 0, 0, 0);

/** Low words of the four 64-bit products in (a, b). */
// @ts-ignore: decorator
@inline function lowWords(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

/** High words of the four 64-bit products in (a, b). */
// @ts-ignore: decorator
@inline function highWords(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 1, 3, 5, 7);
}

/** Four blocks at once, lane by lane: counters (c0, c1, c2, c3), one key for all. Results in philoxWord0..3. */
export function philox4(c0: v128, c1: v128, c2: v128, c3: v128, key0: u32, key1: u32): void {
  const m0 = i32x4.splat(0xd2511f53), m1 = i32x4.splat(0xcd9e8d57);
  const step0 = i32x4.splat(0x9e3779b9), step1 = i32x4.splat(0xbb67ae85);
  let k0 = i32x4.splat(key0), k1 = i32x4.splat(key1);
  for (let round = 0; round < 10; round++) {
    const a = i64x2.extmul_low_i32x4_u(c0, m0), b = i64x2.extmul_high_i32x4_u(c0, m0);
    const c = i64x2.extmul_low_i32x4_u(c2, m1), d = i64x2.extmul_high_i32x4_u(c2, m1);
    c0 = v128.xor(v128.xor(highWords(c, d), c1), k0);
    c1 = lowWords(c, d);
    c2 = v128.xor(v128.xor(highWords(a, b), c3), k1);
    c3 = lowWords(a, b);
    k0 = i32x4.add(k0, step0);
    k1 = i32x4.add(k1, step1);
  }
  philoxWord0 = c0;
  philoxWord1 = c1;
  philoxWord2 = c2;
  philoxWord3 = c3;
}

/** All ones where a word's element is kept. `below` = ceil(rate · 2^24) − 1, so that u >= rate is exact. */
// @ts-ignore: decorator
@inline export function keepMask(words: v128, below: v128): v128 {
  return i32x4.gt_s(i32x4.shr_u(words, 8), below);
}
