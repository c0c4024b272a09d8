// The Adam step, and sums of whole tensors in a fixed order (float64 partial sums, one per SUM_CHUNK elements).
import { loadLanes, storeLanes } from './lanes';
import { argF, argU } from './runtime';
import { fma4 } from './simd';

/** Elements of one part; `ELEMENTWISE_CHUNK` in engine/ops/checks.ts says the same. */
const CHUNK: u32 = 16384;

/** Elements of one partial sum; `SUM_CHUNK` in engine/ops/checks.ts says the same. */
const SUM_CHUNK: u32 = 65536;

/**
 * One step of Adam with decoupled weight decay (Loshchilov & Hutter, 2019), everything in one pass:
 *   g = gradScale·grad;  m += (1−β1)·(g−m);  v = β2·v + (1−β2)·g²;  param −= shrink·param + rate·m/(√v·root + eps)
 * Slots param, grad, m, v, gradScale (pointer, 0: 1), count, clear, shrink, blend (1−β1), beta2, fresh (1−β2), rate, root, eps;
 * the corrections for the early steps are inside `rate` and `root`. The decay is subtracted, not
 * multiplied by 1 − shrink: that factor would round a small shrink away. `clear` = 1 sets grad to 0 on the way.
 */
export function adamStep(args: usize, part: u32): void {
  const from = part * CHUNK, left = min(argU(args, 5) - from, CHUNK), at = <usize>from << 2, clear = argU(args, 6);
  const gradScale = <usize>argU(args, 4), factor = f32x4.splat(gradScale ? load<f32>(gradScale) : 1);
  const whole = (<usize>left >> 2) << 4, rest = left & 3;
  let param = <usize>argU(args, 0) + at, grad = <usize>argU(args, 1) + at, m = <usize>argU(args, 2) + at, v = <usize>argU(args, 3) + at;
  const shrink = f32x4.splat(-argF(args, 7)), blend = f32x4.splat(argF(args, 8)), beta2 = f32x4.splat(argF(args, 9));
  const fresh = f32x4.splat(argF(args, 10)), rate = f32x4.splat(-argF(args, 11)), root = f32x4.splat(argF(args, 12));
  const eps = f32x4.splat(argF(args, 13));
  for (const end = param + whole; param < end; param += 16, grad += 16, m += 16, v += 16) {
    const g = f32x4.mul(v128.load(grad), factor);
    const mean = firstMoment(v128.load(m), g, blend), square = secondMoment(v128.load(v), g, beta2, fresh);
    if (clear) v128.store(grad, f32x4.splat(0));
    v128.store(m, mean);
    v128.store(v, square);
    v128.store(param, stepped(v128.load(param), mean, square, shrink, rate, root, eps));
  }
  if (!rest) return;
  const g = f32x4.mul(loadLanes(grad, rest, 0), factor);
  const mean = firstMoment(loadLanes(m, rest, 0), g, blend), square = secondMoment(loadLanes(v, rest, 0), g, beta2, fresh);
  if (clear) storeLanes(grad, f32x4.splat(0), rest);
  storeLanes(m, mean, rest);
  storeLanes(v, square, rest);
  storeLanes(param, stepped(loadLanes(param, rest, 0), mean, square, shrink, rate, root, eps), rest);
}

// @ts-ignore: decorator
@inline function firstMoment(m: v128, g: v128, blend: v128): v128 {
  return fma4(f32x4.sub(g, m), blend, m);
}

// @ts-ignore: decorator
@inline function secondMoment(v: v128, g: v128, beta2: v128, fresh: v128): v128 {
  return fma4(v, beta2, f32x4.mul(f32x4.mul(g, g), fresh));
}

// @ts-ignore: decorator
@inline function stepped(param: v128, m: v128, v: v128, shrink: v128, rate: v128, root: v128, eps: v128): v128 {
  const direction = f32x4.div(m, fma4(f32x4.sqrt(v), root, eps));
  return fma4(rate, direction, fma4(shrink, param, param));
}

/** Lanes 2 and 3 as float64. */
// @ts-ignore: decorator
@inline function promoteHigh(v: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
}

/** Σ x or Σ x² of SUM_CHUNK elements, in float64. */
// @ts-ignore: decorator
@inline function partialSum(squared: bool, args: usize, part: u32): void {
  const from = part * SUM_CHUNK, left = min(argU(args, 2) - from, SUM_CHUNK);
  let x = <usize>argU(args, 0) + (<usize>from << 2), s0 = f64x2.splat(0), s1 = s0;
  for (const end = x + ((<usize>left >> 2) << 4); x < end; x += 16) {
    const a = v128.load(x), low = f64x2.promote_low_f32x4(a), high = promoteHigh(a);
    s0 = f64x2.add(s0, squared ? f64x2.mul(low, low) : low);
    s1 = f64x2.add(s1, squared ? f64x2.mul(high, high) : high);
  }
  if (left & 3) {
    const a = loadLanes(x, left & 3, 0), low = f64x2.promote_low_f32x4(a), high = promoteHigh(a);
    s0 = f64x2.add(s0, squared ? f64x2.mul(low, low) : low);
    s1 = f64x2.add(s1, squared ? f64x2.mul(high, high) : high);
  }
  s0 = f64x2.add(s0, s1);
  store<f64>(<usize>argU(args, 1) + (<usize>part << 3), f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1));
}

/** Slots x, partial (float64 per part), count. */
export function sumParts(args: usize, part: u32): void {
  partialSum(false, args, part);
}

/** Slots x, partial (float64 per part), count. */
export function squareParts(args: usize, part: u32): void {
  partialSum(true, args, part);
}

/** Slots partial, count, out, accumulate: out[0] (+)= Σ partial, in order. One part. */
export function finishSum(args: usize, _part: u32): void {
  const partial = <usize>argU(args, 0), count = argU(args, 1), out = <usize>argU(args, 2);
  let sum: f64 = argU(args, 3) ? load<f32>(out) : 0;
  for (let i: u32 = 0; i < count; i++) sum += load<f64>(partial + (<usize>i << 3));
  store<f32>(out, <f32>sum);
}

/** out[0] = multiply·min(1, limit/(multiply·√squared)); NaN stays NaN. Slots squared, out, limit, multiply. One part. */
export function clipFactor(args: usize, _part: u32): void {
  const multiply = argF(args, 3), norm = multiply * sqrt<f32>(load<f32>(argU(args, 0)));
  store<f32>(argU(args, 1), norm > argF(args, 2) ? multiply * (argF(args, 2) / norm) : norm == norm ? multiply : norm);
}
