// Float64 arithmetic on the cells of one group of 8 rows, where float32 would lose what the results need: rows in lanes,
// two to a vector.
//   wideKeys    xT [D][8], y [n][D] float32 -> s [n][8] float64    s[j][r] = Σ_d xT[d][r]·y[j][d], d ascending
// A register tile is 4 rows x 4 keys. Rows of the upper half of a group of at most 4 rows are left alone.
import { CELLS } from './attention-products';

/** Bytes of one key's float64 cells in a group. */
// @ts-ignore: decorator
@inline export const WIDE_CELLS: usize = 64;

/** s is written up to three keys beyond n. */
export function wideKeys(xT: usize, width: i32, y: usize, stride: usize, n: i32, s: usize, valid: i32): void {
  for (let j = 0; j < n; j += 4) {
    const last = n - 1 - j;
    const y1 = y + <usize>min(1, last) * stride, y2 = y + <usize>min(2, last) * stride;
    const y3 = y + <usize>min(3, last) * stride;
    wideFour(xT, width, y, y1, y2, y3, s);
    if (valid > 4) wideFour(xT + 16, width, y, y1, y2, y3, s + 32);
    y += 4 * stride;
    s += 4 * WIDE_CELLS;
  }
}

// @ts-ignore: decorator
@inline function numberAt(y: usize): v128 {
  return f64x2.promote_low_f32x4(v128.load_splat<u32>(y));
}

// @ts-ignore: decorator
@inline function madd(a: v128, b: v128, c: v128): v128 {
  return f64x2.add(f64x2.mul(a, b), c);
}

function wideFour(xT: usize, width: i32, y0: usize, y1: usize, y2: usize, y3: usize, s: usize): void {
  let a0 = f64x2.splat(0), a1 = f64x2.splat(0), a2 = f64x2.splat(0), a3 = f64x2.splat(0);
  let b0 = f64x2.splat(0), b1 = f64x2.splat(0), b2 = f64x2.splat(0), b3 = f64x2.splat(0);
  const end = xT + <usize>width * CELLS;
  while (xT < end) {
    const a = f64x2.promote_low_f32x4(v128.load64_zero(xT));
    const b = f64x2.promote_low_f32x4(v128.load64_zero(xT, 8));
    let t = numberAt(y0);
    a0 = madd(a, t, a0);
    b0 = madd(b, t, b0);
    t = numberAt(y1);
    a1 = madd(a, t, a1);
    b1 = madd(b, t, b1);
    t = numberAt(y2);
    a2 = madd(a, t, a2);
    b2 = madd(b, t, b2);
    t = numberAt(y3);
    a3 = madd(a, t, a3);
    b3 = madd(b, t, b3);
    xT += CELLS;
    y0 += 4;
    y1 += 4;
    y2 += 4;
    y3 += 4;
  }
  v128.store(s, a0);
  v128.store(s, b0, 16);
  v128.store(s, a1, 64);
  v128.store(s, b1, 80);
  v128.store(s, a2, 128);
  v128.store(s, b2, 144);
  v128.store(s, a3, 192);
  v128.store(s, b3, 208);
}

/** Four rows' float64 cells times `factor`, rounded to float32: from [n][8] to [n][8], first lanes at `wide` and `to`. */
export function roundFour(wide: usize, n: i32, factor: f64, to: usize): void {
  const f = f64x2.splat(factor);
  for (const end = to + <usize>n * CELLS; to < end; to += CELLS) {
    const a = f32x4.demote_f64x2_zero(f64x2.mul(v128.load(wide), f));
    const b = f32x4.demote_f64x2_zero(f64x2.mul(v128.load(wide, 16), f));
    v128.store(to, v128.shuffle<i64>(a, b, 0, 2));
    wide += WIDE_CELLS;
  }
}

/** e^x within 1e-15 of itself on two lanes; 0 below e^-700, at most e^700. NaN stays NaN. */
export function wideExp(x: v128): v128 {
  const y = f64x2.pmin(x, f64x2.splat(700));
  const n = f64x2.nearest(f64x2.mul(y, f64x2.splat(1.4426950408889634)));
  // ln2 in two parts, the first of few bits, so that n times it is exact.
  let r = f64x2.sub(y, f64x2.mul(n, f64x2.splat(0.6931471803691238)));
  r = f64x2.sub(r, f64x2.mul(n, f64x2.splat(1.9082149292705877e-10)));
  let p = madd(r, f64x2.splat(1.0 / 479001600), f64x2.splat(1.0 / 39916800));
  p = madd(p, r, f64x2.splat(1.0 / 3628800));
  p = madd(p, r, f64x2.splat(1.0 / 362880));
  p = madd(p, r, f64x2.splat(1.0 / 40320));
  p = madd(p, r, f64x2.splat(1.0 / 5040));
  p = madd(p, r, f64x2.splat(1.0 / 720));
  p = madd(p, r, f64x2.splat(1.0 / 120));
  p = madd(p, r, f64x2.splat(1.0 / 24));
  p = madd(p, r, f64x2.splat(1.0 / 6));
  p = madd(p, r, f64x2.splat(0.5));
  p = madd(p, r, f64x2.splat(1));
  p = madd(p, r, f64x2.splat(1));
  // 1.5·2^52 + 1023 leaves the exponent field of 2^n in the low bits.
  const power = i64x2.shl(f64x2.add(n, f64x2.splat(6755399441056767)), 52);
  return v128.andnot(f64x2.mul(p, power), f64x2.lt(x, f64x2.splat(-700)));
}

/** tanh on two lanes, within 1e-15. */
export function wideTanh(x: v128): v128 {
  const a = f64x2.pmin(f64x2.abs(x), f64x2.splat(20));
  const e = wideExp(f64x2.add(a, a));
  const t = f64x2.sub(f64x2.splat(1), f64x2.div(f64x2.splat(2), f64x2.add(e, f64x2.splat(1))));
  return v128.bitselect(x, t, f64x2.splat(-0.0));
}
