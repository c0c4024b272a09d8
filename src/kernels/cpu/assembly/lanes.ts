// Rows of float32 in memory: loading and storing their ragged ends, and sums over them in a fixed order.
// A ragged end goes through the same vector arithmetic as the rest, so an element's bits never depend on its place.

/** The first `count` (1..3) numbers at `p`; the lanes above hold `pad`. */
export function loadLanes(p: usize, count: u32, pad: f32): v128 {
  let v = f32x4.replace_lane(f32x4.splat(pad), 0, load<f32>(p));
  if (count > 1) v = f32x4.replace_lane(v, 1, load<f32>(p, 4));
  if (count > 2) v = f32x4.replace_lane(v, 2, load<f32>(p, 8));
  return v;
}

/** Stores the first `count` (1..3) lanes at `p`. */
export function storeLanes(p: usize, v: v128, count: u32): void {
  store<f32>(p, f32x4.extract_lane(v, 0));
  if (count > 1) store<f32>(p, f32x4.extract_lane(v, 1), 4);
  if (count > 2) store<f32>(p, f32x4.extract_lane(v, 2), 8);
}

/** All ones in the first `count` (1..3) lanes. */
// @ts-ignore: decorator
@inline export function firstLanes(count: u32): v128 {
  return i32x4.gt_s(i32x4.splat(count), i32x4(0, 1, 2, 3));
}

/** (lane 0 + lane 2) + (lane 1 + lane 3). */
// @ts-ignore: decorator
@inline export function sumLanes(v: v128): f32 {
  const w = f32x4.add(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(w, 0) + f32x4.extract_lane(w, 1);
}

/** Largest lane of a vector without NaN. */
// @ts-ignore: decorator
@inline function maxLanes(v: v128): f32 {
  const w = f32x4.pmax(v, v128.shuffle<f32>(v, v, 2, 3, 0, 1));
  return max(f32x4.extract_lane(w, 0), f32x4.extract_lane(w, 1));
}

/** Sum of `count` numbers at `p`, in sixteen interleaved running sums. */
export function sumRow(p: usize, count: u32): f32 {
  let s0 = f32x4.splat(0), s1 = s0, s2 = s0, s3 = s0;
  const end = p + ((<usize>count >> 2) << 4);
  for (const wide = p + ((<usize>count >> 4) << 6); p < wide; p += 64) {
    s0 = f32x4.add(s0, v128.load(p));
    s1 = f32x4.add(s1, v128.load(p, 16));
    s2 = f32x4.add(s2, v128.load(p, 32));
    s3 = f32x4.add(s3, v128.load(p, 48));
  }
  for (; p < end; p += 16) s0 = f32x4.add(s0, v128.load(p));
  if (count & 3) s1 = f32x4.add(s1, loadLanes(p, count & 3, 0));
  return sumLanes(f32x4.add(f32x4.add(s0, s1), f32x4.add(s2, s3)));
}

/**
 * Largest of `count` numbers at `p`, passing over NaN (-Infinity if there is nothing else). A softmax does not need
 * more: the NaN meets it again in x − max. The maximum that propagates NaN costs six instructions instead of one.
 */
export function maxRow(p: usize, count: u32): f32 {
  let m0 = f32x4.splat(-Infinity), m1 = m0, m2 = m0, m3 = m0;
  const end = p + ((<usize>count >> 2) << 4);
  for (const wide = p + ((<usize>count >> 4) << 6); p < wide; p += 64) {
    m0 = f32x4.pmax(m0, v128.load(p));
    m1 = f32x4.pmax(m1, v128.load(p, 16));
    m2 = f32x4.pmax(m2, v128.load(p, 32));
    m3 = f32x4.pmax(m3, v128.load(p, 48));
  }
  for (; p < end; p += 16) m0 = f32x4.pmax(m0, v128.load(p));
  if (count & 3) m1 = f32x4.pmax(m1, loadLanes(p, count & 3, -Infinity));
  return maxLanes(f32x4.pmax(f32x4.pmax(m0, m1), f32x4.pmax(m2, m3)));
}
