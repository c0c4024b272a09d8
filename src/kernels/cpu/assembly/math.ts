// Elementary functions on four float32 lanes, and a scalar logarithm. Polynomials are minimax fits made for this library;
// their coefficients lie in constants.ts.
import {
  EXP_2, EXP_3, EXP_4, EXP_5, EXP_6, EXP_HIGHEST, EXP_LOWEST, EXP_SHIFT, LN2_HIGH, LN2_LOW, LOG2E, ONE,
  TAIL_1, TAIL_2, TAIL_3, TAIL_4, TAIL_5, TAIL_6, TAIL_7, TAIL_8, TAIL_9, TAIL_STEP, TWO,
} from './constants';
import { fma4 } from './simd';

/**
 * e^x within 2 ulp. Results below 2^-125.5 (x < -86.99) are 0: no subnormals, which processors handle slowly.
 * exp(-Infinity) = 0; results over the float32 range are Infinity; NaN stays NaN.
 * x = n·ln2 + r, |r| <= ln2/2; e^x = 2^(n-1) · (2·e^r), the doubling so that n = 128 has a factor in range.
 */
// @ts-ignore: decorator
@inline export function exp4(x: v128): v128 {
  const y = f32x4.pmin(x, EXP_HIGHEST);
  // Adding 1.5·2^23 rounds to an integer; with 126 added too, the low bits are the exponent field of 2^(n-1).
  const t = fma4(y, LOG2E, EXP_SHIFT);
  const n = f32x4.sub(t, EXP_SHIFT);
  // ln2 in two parts: the first has few bits, so that n times it is exact in the strict build also.
  let r = fma4(n, LN2_HIGH, y);
  r = fma4(n, LN2_LOW, r);
  let p = fma4(r, EXP_6, EXP_5);
  p = fma4(p, r, EXP_4);
  p = fma4(p, r, EXP_3);
  p = fma4(p, r, EXP_2);
  p = fma4(p, r, TWO);
  p = fma4(p, r, TWO);
  const power = i32x4.shl(t, 23);
  return v128.andnot(f32x4.mul(p, power), f32x4.lt(x, EXP_LOWEST));
}

/**
 * Φ(−|x|)·e^(x²/2), Φ being the normal distribution function: a polynomial in t = 1/(1 + 0.27|x|) that is right to 3e-8.
 * Near x = 0 it magnifies the rounding of t threefold: relative error 5e-7.
 */
// @ts-ignore: decorator
@inline export function normalTail4(x: v128): v128 {
  const t = f32x4.div(ONE, fma4(f32x4.abs(x), TAIL_STEP, ONE));
  let p = fma4(t, TAIL_9, TAIL_8);
  p = fma4(p, t, TAIL_7);
  p = fma4(p, t, TAIL_6);
  p = fma4(p, t, TAIL_5);
  p = fma4(p, t, TAIL_4);
  p = fma4(p, t, TAIL_3);
  p = fma4(p, t, TAIL_2);
  p = fma4(p, t, TAIL_1);
  return f32x4.mul(p, t);
}

/** Natural logarithm of a normal x > 0 to about 1e-16 relative to max(1, |log x|); 0 gives -Infinity, NaN and Infinity stay. */
export function log64(x: f64): f64 {
  if (x == 0) return -Infinity;
  if (!(x > 0) || x == Infinity) return x > 0 ? x : NaN;
  const bits = reinterpret<u64>(x);
  let exponent = <i32>(bits >> 52) - 1023;
  let m = reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    exponent++;
  }
  // log m = 2·artanh(s), s = (m−1)/(m+1), |s| <= 0.1716: eleven terms of its series.
  const s = (m - 1) / (m + 1), z = s * s;
  let p: f64 = 1.0 / 21;
  for (let d = 19; d > 0; d -= 2) p = p * z + 1.0 / <f64>d;
  return <f64>exponent * 0.6931471805599453 + 2 * s * p;
}
