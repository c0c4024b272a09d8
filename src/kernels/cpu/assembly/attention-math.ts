// Functions of the attention kernels: exp of one number, tanh, log, and dropout by Philox4x32-10 on four rows at once.
import { PHILOX_M0, PHILOX_M1, PHILOX_W0, PHILOX_W1 } from './constants';
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

/**
 * Dropout of four rows: counters (c0 + n, c1[lane], c2, c3) for n < blocks. Each draws four words; `out`, one vector
 * every `step` bytes, receives `kept` in the lanes whose word w has (w >>> 8) >= threshold, else 0.
 */
export function philoxKeep4(
  c0: u32, blocks: i32, c1: v128, c2: u32, c3: u32, key0: u32, key1: u32, threshold: v128, kept: v128, out: usize,
  step: usize,
): void {
  const m0 = PHILOX_M0, m1 = PHILOX_M1, step0 = PHILOX_W0, step1 = PHILOX_W1;
  for (; blocks > 0; blocks--) {
    let x0 = i32x4.splat(c0);
    let x1 = c1;
    let x2 = i32x4.splat(c2);
    let x3 = i32x4.splat(c3);
    let k0 = i32x4.splat(key0);
    let k1 = i32x4.splat(key1);
    for (let round = 0; round < 10; round++) {
      const aHigh = v128.shuffle<i32>(
        i64x2.extmul_low_i32x4_u(x0, m0), i64x2.extmul_high_i32x4_u(x0, m0), 1, 3, 5, 7);
      const bHigh = v128.shuffle<i32>(
        i64x2.extmul_low_i32x4_u(x2, m1), i64x2.extmul_high_i32x4_u(x2, m1), 1, 3, 5, 7);
      const aLow = i32x4.mul(x0, m0);
      const bLow = i32x4.mul(x2, m1);
      x0 = v128.xor(v128.xor(x1, k0), bHigh);
      x2 = v128.xor(v128.xor(x3, k1), aHigh);
      x1 = bLow;
      x3 = aLow;
      k0 = i32x4.add(k0, step0);
      k1 = i32x4.add(k1, step1);
    }
    v128.store(out, v128.and(kept, i32x4.ge_s(i32x4.shr_u(x0, 8), threshold)));
    out += step;
    v128.store(out, v128.and(kept, i32x4.ge_s(i32x4.shr_u(x1, 8), threshold)));
    out += step;
    v128.store(out, v128.and(kept, i32x4.ge_s(i32x4.shr_u(x2, 8), threshold)));
    out += step;
    v128.store(out, v128.and(kept, i32x4.ge_s(i32x4.shr_u(x3, 8), threshold)));
    out += step;
    c0++;
  }
}
