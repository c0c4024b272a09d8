// Vector functions of the attention kernels: exp, tanh, log, and Philox4x32-10 on four counters at once.
import { fma4 } from './simd';

/**
 * exp(x) on four lanes for x <= 88; below -87.3 the result is +0. NaN stays NaN.
 * x = n·ln 2 + r with |r| <= ln 2 / 2, exp(r) by a polynomial of degree 7; error <= 2 ulp.
 */
// @ts-ignore: decorator
@inline export function expScore4(x: v128): v128 {
  const magic = f32x4.splat(12582912); // 1.5·2^23: the integer part lands in the low mantissa bits
  const z = fma4(x, f32x4.splat(1.44269504088896341), magic);
  const n = f32x4.sub(z, magic);
  let r = fma4(n, f32x4.splat(-0.693359375), x);
  r = fma4(n, f32x4.splat(2.12194440e-4), r);
  let p = fma4(r, f32x4.splat(1.9875691500e-4), f32x4.splat(1.3981999507e-3));
  p = fma4(p, r, f32x4.splat(8.3334519073e-3));
  p = fma4(p, r, f32x4.splat(4.1665795894e-2));
  p = fma4(p, r, f32x4.splat(1.6666665459e-1));
  p = fma4(p, r, f32x4.splat(5.0000001201e-1));
  p = f32x4.add(fma4(p, f32x4.mul(r, r), r), f32x4.splat(1));
  const scaled = i32x4.add(p, i32x4.shl(z, 23));
  const underflow = f32x4.lt(x, f32x4.splat(-87.3));
  return v128.andnot(v128.bitselect(x, scaled, f32x4.ne(x, x)), underflow);
}

/** exp of one float32. */
export function expScore(x: f32): f32 {
  return f32x4.extract_lane(expScore4(f32x4.splat(x)), 0);
}

/** tanh on four lanes: a polynomial where |x| < 0.625, else 1 − 2/(exp(2|x|) + 1); error <= 2 ulp. */
export function tanh4(x: v128): v128 {
  const sign = v128.and(x, i32x4.splat(0x80000000));
  const a = v128.xor(x, sign);
  const s = f32x4.mul(x, x);
  let p = fma4(s, f32x4.splat(-5.70498872745e-3), f32x4.splat(2.06390887954e-2));
  p = fma4(p, s, f32x4.splat(-5.37397155531e-2));
  p = fma4(p, s, f32x4.splat(1.33314422036e-1));
  p = fma4(p, s, f32x4.splat(-3.33332819422e-1));
  const small = fma4(f32x4.mul(p, s), x, x);
  const e = expScore4(f32x4.pmin(f32x4.add(a, a), f32x4.splat(40)));
  const big = f32x4.sub(f32x4.splat(1), f32x4.div(f32x4.splat(2), f32x4.add(e, f32x4.splat(1))));
  const signed = v128.or(big, sign);
  const result = v128.bitselect(small, signed, f32x4.lt(a, f32x4.splat(0.625)));
  return v128.bitselect(x, result, f32x4.ne(x, x));
}

/** Natural logarithm of a normal float32 (error <= 2 ulp); not finite or not positive gives NaN. */
export function logScore(x: f32): f32 {
  if (!(x > 0) || x == Infinity) return NaN;
  let bits = reinterpret<i32>(x);
  let e = (bits >> 23) - 126;
  let m = reinterpret<f32>((bits & 0x007fffff) | 0x3f000000);
  if (m < 0.70710678118654752) {
    e -= 1;
    m += m;
  }
  // log(m·2^e) in float64: one value per row, and m + log(sum) then rounds once.
  const t = <f64>m;
  const y = (t - 1) / (t + 1);
  const y2 = y * y;
  let p = 2.0 / 13 * y2 + 2.0 / 11;
  p = p * y2 + 2.0 / 9;
  p = p * y2 + 2.0 / 7;
  p = p * y2 + 2.0 / 5;
  p = p * y2 + 2.0 / 3;
  return <f32>(<f64>e * 0.69314718055994531 + y * (2 + y2 * p));
}

/** The four words of four counters (c0, c1[lane], c2, c3), written as [word][lane] to `out` (64 bytes). */
export function philox4(c0: u32, c1: v128, c2: u32, c3: u32, key0: u32, key1: u32, out: usize): void {
  const m0 = i32x4.splat(0xd2511f53);
  const m1 = i32x4.splat(0xcd9e8d57);
  let x0 = i32x4.splat(c0);
  let x1 = c1;
  let x2 = i32x4.splat(c2);
  let x3 = i32x4.splat(c3);
  let k0 = i32x4.splat(key0);
  let k1 = i32x4.splat(key1);
  for (let round = 0; round < 10; round++) {
    const aLow = i64x2.extmul_low_i32x4_u(x0, m0);
    const aHigh = i64x2.extmul_high_i32x4_u(x0, m0);
    const bLow = i64x2.extmul_low_i32x4_u(x2, m1);
    const bHigh = i64x2.extmul_high_i32x4_u(x2, m1);
    x0 = v128.xor(v128.xor(v128.shuffle<i32>(bLow, bHigh, 1, 3, 5, 7), x1), k0);
    x2 = v128.xor(v128.xor(v128.shuffle<i32>(aLow, aHigh, 1, 3, 5, 7), x3), k1);
    x1 = v128.shuffle<i32>(bLow, bHigh, 0, 2, 4, 6);
    x3 = v128.shuffle<i32>(aLow, aHigh, 0, 2, 4, 6);
    k0 = i32x4.add(k0, i32x4.splat(0x9e3779b9));
    k1 = i32x4.add(k1, i32x4.splat(0xbb67ae85));
  }
  v128.store(out, x0);
  v128.store(out, x1, 16);
  v128.store(out, x2, 32);
  v128.store(out, x3, 48);
}
