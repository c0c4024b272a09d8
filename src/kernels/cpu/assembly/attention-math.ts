// Functions of the attention kernels: exp of one number; tanh, its slope and log of four.
import { exp4 } from './math';
import { fma4 } from './simd';

/** exp of one float32. */
export function expScore(x: f32): f32 {
  return f32x4.extract_lane(exp4(f32x4.splat(x)), 0);
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
  const e = exp4(f32x4.pmin(f32x4.add(a, a), f32x4.splat(40)));
  const big = f32x4.sub(f32x4.splat(1), f32x4.div(f32x4.splat(2), f32x4.add(e, f32x4.splat(1))));
  const signed = v128.or(big, sign);
  const result = v128.bitselect(small, signed, f32x4.lt(a, f32x4.splat(0.625)));
  return v128.bitselect(x, result, f32x4.ne(x, x));
}

/**
 * 1 − tanh² on four lanes, as u·(2 − u) with u = 1 − |tanh| = 2/(exp(2|x|) + 1): right to a few ulp also where tanh is so near
 * ±1 that its square has lost the difference.
 */
export function tanhSlope4(x: v128): v128 {
  const a = f32x4.abs(x);
  const e = exp4(f32x4.pmin(f32x4.add(a, a), f32x4.splat(40)));
  const u = f32x4.div(f32x4.splat(2), f32x4.add(e, f32x4.splat(1)));
  return f32x4.mul(u, f32x4.sub(f32x4.splat(2), u));
}

/** Natural logarithm of normal, finite float32 > 0 on four lanes, else NaN; error <= 2 ulp. */
export function logScore4(x: v128): v128 {
  const ordinary = v128.and(f32x4.gt(x, f32x4.splat(0)), f32x4.lt(x, f32x4.splat(Infinity)));
  // x = m·2^e with m in [√½, √2)
  const offset = i32x4.sub(x, i32x4.splat(0x3f3504f3));
  const e = f32x4.convert_i32x4_s(i32x4.shr_s(offset, 23));
  const m = i32x4.add(v128.and(offset, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  const t = f32x4.sub(m, f32x4.splat(1));
  const t2 = f32x4.mul(t, t);
  let p = fma4(t, f32x4.splat(7.0376836292e-2), f32x4.splat(-1.151461031e-1));
  p = fma4(p, t, f32x4.splat(1.1676998740e-1));
  p = fma4(p, t, f32x4.splat(-1.2420140846e-1));
  p = fma4(p, t, f32x4.splat(1.4249322787e-1));
  p = fma4(p, t, f32x4.splat(-1.6668057665e-1));
  p = fma4(p, t, f32x4.splat(2.0000714765e-1));
  p = fma4(p, t, f32x4.splat(-2.4999993993e-1));
  p = fma4(p, t, f32x4.splat(3.3333331174e-1));
  let y = f32x4.mul(f32x4.mul(p, t), t2);
  y = fma4(e, f32x4.splat(-2.12194440e-4), y);
  y = fma4(t2, f32x4.splat(-0.5), y);
  y = fma4(e, f32x4.splat(0.693359375), f32x4.add(t, y));
  return v128.bitselect(y, f32x4.splat(NaN), ordinary);
}
