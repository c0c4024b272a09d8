// Row-wise softmax losses, each row whole in one part: maximum, then exponentials and their sum, then what is stored.
// A row of 6000 float32 stays in the first caches between these passes, and every exponential is computed once.
import { firstLanes, loadLanes, maxRow, storeLanes, sumLanes, sumRow } from './lanes';
import { exp4, log64 } from './math';
import { argF, argU } from './runtime';
import { fma4 } from './simd';

/** Elements whose exponentials are added in float32 before they join the row's float64 sum. */
const RUN: u32 = 2048;

/** What the last `expRow` also found: Σ (x − shift). */
let shiftedSum: f64 = 0;

/** Σ e^(x − shift) over a row, whose exponentials are stored at `out` (which may be x). */
function expRow(x: usize, columns: u32, shift: f32, out: usize): f64 {
  let sum: f64 = 0;
  shiftedSum = 0;
  for (let from: u32 = 0; from < columns; from += RUN) {
    sum += expRun(x + (from << 2), min(columns - from, RUN), shift, out + (from << 2));
  }
  return sum;
}

function expRun(x: usize, count: u32, shift: f32, out: usize): f32 {
  const m = f32x4.splat(shift), rest = count & 3;
  let s0 = f32x4.splat(0), s1 = s0, t0 = s0, t1 = s0;
  let i: usize = 0;
  for (const end: usize = (count >> 3) << 5; i < end; i += 32) {
    const u = f32x4.sub(v128.load(x + i), m), w = f32x4.sub(v128.load(x + i, 16), m);
    const a = exp4(u), b = exp4(w);
    v128.store(out + i, a);
    v128.store(out + i, b, 16);
    s0 = f32x4.add(s0, a);
    s1 = f32x4.add(s1, b);
    t0 = f32x4.add(t0, u);
    t1 = f32x4.add(t1, w);
  }
  if (count & 4) {
    const u = f32x4.sub(v128.load(x + i), m), a = exp4(u);
    v128.store(out + i, a);
    s0 = f32x4.add(s0, a);
    t0 = f32x4.add(t0, u);
    i += 16;
  }
  if (rest) {
    const u = f32x4.sub(loadLanes(x + i, rest, shift), m), a = exp4(u);
    storeLanes(out + i, a, rest);
    s1 = f32x4.add(s1, v128.and(a, firstLanes(rest)));
    t1 = f32x4.add(t1, u);
  }
  shiftedSum += <f64>sumLanes(f32x4.add(t0, t1));
  return sumLanes(f32x4.add(s0, s1));
}

/** x ← factor·x + shift over a row. */
function affineRow(x: usize, columns: u32, factor: f32, shift: f32): void {
  const f = f32x4.splat(factor), s = f32x4.splat(shift), end = x + ((<usize>columns >> 2) << 4);
  for (; x < end; x += 16) v128.store(x, fma4(f, v128.load(x), s));
  if (columns & 3) storeLanes(x, fma4(f, loadLanes(x, columns & 3, 0), s), columns & 3);
}

/**
 * Cross-entropy of each row with label smoothing ε, as torch defines it: (1−ε)·nll + ε·mean over v of −log p[v].
 * Slots logits, targets, losses, plain, gradient, rows, columns, rowsPerPart, smoothing; gradient = logits is fine.
 * `plain` is nll; `gradient` the derivative of `losses`: p − (1−ε)·[v = target] − ε/V. Target −1: all zero.
 * A target outside the row gives NaN. lse and the losses are computed in float64.
 */
export function crossEntropy(args: usize, part: u32): void {
  const columns = argU(args, 6), bytes = <usize>columns << 2, smoothing = argF(args, 8);
  const first = <usize>part * argU(args, 7), last = min<usize>(first + argU(args, 7), argU(args, 5));
  for (let row = first; row < last; row++) {
    const x = <usize>argU(args, 0) + row * bytes, gradient = <usize>argU(args, 4) + row * bytes, at = row << 2;
    const target = load<i32>(<usize>argU(args, 1) + at);
    if (target == -1) {
      store<f32>(<usize>argU(args, 2) + at, 0);
      store<f32>(<usize>argU(args, 3) + at, 0);
      memory.fill(gradient, 0, bytes);
      continue;
    }
    const known = <u32>target < columns, share = smoothing / <f32>columns;
    const logit = known ? load<f32>(x + (<usize>target << 2)) : NaN;
    const largest = maxRow(x, columns);
    const sum = expRow(x, columns, largest, gradient), lse = <f64>largest + log64(sum);
    const mean = <f64>largest + shiftedSum / <f64>columns;
    const nll = lse - <f64>logit;
    store<f32>(<usize>argU(args, 3) + at, <f32>nll);
    store<f32>(<usize>argU(args, 2) + at, <f32>(smoothing > 0 ? nll + <f64>smoothing * (<f64>logit - mean) : nll));
    affineRow(gradient, columns, known ? <f32>(1 / sum) : NaN, -share);
    if (known) {
      const hit = gradient + (<usize>target << 2);
      store<f32>(hit, load<f32>(hit) - (<f32>1 - smoothing));
    }
  }
}

/** y = x − log Σ e^x over each row. Slots x, y, rows, columns, rowsPerPart; y must not be x. */
export function logSoftmax(args: usize, part: u32): void {
  const columns = argU(args, 3), bytes = <usize>columns << 2, rest = columns & 3, whole = (<usize>columns >> 2) << 4;
  const first = <usize>part * argU(args, 4), last = min<usize>(first + argU(args, 4), argU(args, 2));
  for (let row = first; row < last; row++) {
    const x = <usize>argU(args, 0) + row * bytes, y = <usize>argU(args, 1) + row * bytes;
    const largest = maxRow(x, columns);
    const m = f32x4.splat(largest), log = f32x4.splat(<f32>log64(expRow(x, columns, largest, y)));
    for (let i: usize = 0; i < whole; i += 16) v128.store(y + i, f32x4.sub(f32x4.sub(v128.load(x + i), m), log));
    if (rest) storeLanes(y + whole, f32x4.sub(f32x4.sub(loadLanes(x + whole, rest, 0), m), log), rest);
  }
}

/** dx = dy − e^y·Σ dy over each row. Slots dy, y, dx, rows, columns, rowsPerPart. */
export function logSoftmaxBackward(args: usize, part: u32): void {
  const columns = argU(args, 4), bytes = <usize>columns << 2, rest = columns & 3, whole = (<usize>columns >> 2) << 4;
  const first = <usize>part * argU(args, 5), last = min<usize>(first + argU(args, 5), argU(args, 3));
  for (let row = first; row < last; row++) {
    const dy = <usize>argU(args, 0) + row * bytes, y = <usize>argU(args, 1) + row * bytes, dx = <usize>argU(args, 2) + row * bytes;
    const sum = f32x4.splat(-sumRow(dy, columns));
    for (let i: usize = 0; i < whole; i += 16) v128.store(dx + i, fma4(exp4(v128.load(y + i)), sum, v128.load(dy + i)));
    if (rest) storeLanes(dx + whole, fma4(exp4(loadLanes(y + whole, rest, 0)), sum, loadLanes(dy + whole, rest, 0)), rest);
  }
}
