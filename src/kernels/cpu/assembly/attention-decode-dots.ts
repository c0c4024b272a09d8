// Scaled dots of one query, packed as packScale says, with cached keys: times `rest` of the scale, rounded once to float32.
import { D } from './attention-state';
import { fma4 } from './simd';

/** In float64 throughout. */
export function exactDot(x: usize, y: usize, rest: f64): f32 {
  let sum = f64x2.splat(0), left = D;
  for (; left >= 4; left -= 4) {
    const a = v128.load(x), b = v128.load(y);
    sum = f64x2.add(sum, f64x2.mul(f64x2.promote_low_f32x4(a), f64x2.promote_low_f32x4(b)));
    sum = f64x2.add(sum, f64x2.mul(highTwo(a), highTwo(b)));
    x += 16;
    y += 16;
  }
  return finish(sum, x, y, left, rest);
}

/** Lane sums and the last `left` products, times `rest`. */
// @ts-ignore: decorator
@inline function finish(sum: v128, x: usize, y: usize, left: i32, rest: f64): f32 {
  let whole = f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
  for (; left > 0; left--) {
    whole += <f64>load<f32>(x) * load<f32>(y);
    x += 4;
    y += 4;
  }
  return <f32>(whole * rest);
}

/** Lanes 2 and 3 in float64. */
// @ts-ignore: decorator
@inline function highTwo(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
}

/** sum + lanes 0 and 2, lanes 1 and 3, in float64. */
// @ts-ignore: decorator
@inline function add2(sum: v128, x: v128): v128 {
  return f64x2.add(sum, f64x2.add(f64x2.promote_low_f32x4(x), highTwo(x)));
}

/** Lane sums of two vectors of float64. */
// @ts-ignore: decorator
@inline function sums(s0: v128, s1: v128): v128 {
  return f64x2.add(v128.shuffle<i64>(s0, s1, 0, 2), v128.shuffle<i64>(s0, s1, 1, 3));
}

/** Of one key, as dots has it, bit for bit. */
export function longDot(x: usize, y: usize, rest: f64): f32 {
  let sum = f64x2.splat(0), left = D;
  for (; left >= 16; left -= 16) {
    let t = f32x4.mul(v128.load(x), v128.load(y));
    t = fma4(v128.load(x, 16), v128.load(y, 16), t);
    t = fma4(v128.load(x, 32), v128.load(y, 32), t);
    sum = add2(sum, fma4(v128.load(x, 48), v128.load(y, 48), t));
    x += 64;
    y += 64;
  }
  for (; left >= 4; left -= 4) {
    sum = add2(sum, f32x4.mul(v128.load(x), v128.load(y)));
    x += 16;
    y += 16;
  }
  return finish(sum, x, y, left, rest);
}

/** Of two keys, in lanes 0 and 1, as dots has them, bit for bit. */
export function dots2(x: usize, y0: usize, y1: usize, rest: f64): v128 {
  let s0 = f64x2.splat(0), s1 = s0;
  let left = D;
  for (; left >= 16; left -= 16) {
    let a = v128.load(x);
    let t0 = f32x4.mul(a, v128.load(y0)), t1 = f32x4.mul(a, v128.load(y1));
    a = v128.load(x, 16);
    t0 = fma4(a, v128.load(y0, 16), t0);
    t1 = fma4(a, v128.load(y1, 16), t1);
    a = v128.load(x, 32);
    t0 = fma4(a, v128.load(y0, 32), t0);
    t1 = fma4(a, v128.load(y1, 32), t1);
    a = v128.load(x, 48);
    s0 = add2(s0, fma4(a, v128.load(y0, 48), t0));
    s1 = add2(s1, fma4(a, v128.load(y1, 48), t1));
    x += 64;
    y0 += 64;
    y1 += 64;
  }
  for (; left >= 4; left -= 4) {
    const a = v128.load(x);
    s0 = add2(s0, f32x4.mul(a, v128.load(y0)));
    s1 = add2(s1, f32x4.mul(a, v128.load(y1)));
    x += 16;
    y0 += 16;
    y1 += 16;
  }
  let s01 = sums(s0, s1);
  for (; left > 0; left--) {
    s01 = f64x2.add(s01, f64x2.mul(f64x2.splat(load<f32>(x)), f64x2(load<f32>(y0), load<f32>(y1))));
    x += 4;
    y0 += 4;
    y1 += 4;
  }
  return f32x4.demote_f64x2_zero(f64x2.mul(s01, f64x2.splat(rest)));
}

/**
 * Of four keys: in float32 over sixteen d, four a lane, and from there in float64. At D = 64 a whole call takes 3 to 5% longer so
 * than in float32 alone.
 */
export function dots(x: usize, y0: usize, y1: usize, y2: usize, y3: usize, rest: f64): v128 {
  let s0 = f64x2.splat(0), s1 = s0, s2 = s0, s3 = s0;
  let left = D;
  for (; left >= 16; left -= 16) {
    let a = v128.load(x);
    let t0 = f32x4.mul(a, v128.load(y0)), t1 = f32x4.mul(a, v128.load(y1));
    let t2 = f32x4.mul(a, v128.load(y2)), t3 = f32x4.mul(a, v128.load(y3));
    a = v128.load(x, 16);
    t0 = fma4(a, v128.load(y0, 16), t0);
    t1 = fma4(a, v128.load(y1, 16), t1);
    t2 = fma4(a, v128.load(y2, 16), t2);
    t3 = fma4(a, v128.load(y3, 16), t3);
    a = v128.load(x, 32);
    t0 = fma4(a, v128.load(y0, 32), t0);
    t1 = fma4(a, v128.load(y1, 32), t1);
    t2 = fma4(a, v128.load(y2, 32), t2);
    t3 = fma4(a, v128.load(y3, 32), t3);
    a = v128.load(x, 48);
    s0 = add2(s0, fma4(a, v128.load(y0, 48), t0));
    s1 = add2(s1, fma4(a, v128.load(y1, 48), t1));
    s2 = add2(s2, fma4(a, v128.load(y2, 48), t2));
    s3 = add2(s3, fma4(a, v128.load(y3, 48), t3));
    x += 64;
    y0 += 64;
    y1 += 64;
    y2 += 64;
    y3 += 64;
  }
  for (; left >= 4; left -= 4) {
    const a = v128.load(x);
    s0 = add2(s0, f32x4.mul(a, v128.load(y0)));
    s1 = add2(s1, f32x4.mul(a, v128.load(y1)));
    s2 = add2(s2, f32x4.mul(a, v128.load(y2)));
    s3 = add2(s3, f32x4.mul(a, v128.load(y3)));
    x += 16;
    y0 += 16;
    y1 += 16;
    y2 += 16;
    y3 += 16;
  }
  let s01 = sums(s0, s1), s23 = sums(s2, s3);
  for (; left > 0; left--) {
    const a = f64x2.splat(load<f32>(x));
    s01 = f64x2.add(s01, f64x2.mul(a, f64x2(load<f32>(y0), load<f32>(y1))));
    s23 = f64x2.add(s23, f64x2.mul(a, f64x2(load<f32>(y2), load<f32>(y3))));
    x += 4;
    y0 += 4;
    y1 += 4;
    y2 += 4;
    y3 += 4;
  }
  const f = f64x2.splat(rest);
  s01 = f32x4.demote_f64x2_zero(f64x2.mul(s01, f));
  return v128.shuffle<i64>(s01, f32x4.demote_f64x2_zero(f64x2.mul(s23, f)), 0, 2);
}
