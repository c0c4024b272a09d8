// Layer normalisation over rows, its gradient, and sums over columns.
// Column sums go in two steps: one partial row per block of rows (blocks depend on the shape alone), then the partial
// rows in order. The bits are therefore the same for any number of threads.
import { loadLanes, storeLanes, sumLanes, sumRow } from './lanes';
import { argF, argU } from './runtime';
import { fma4 } from './simd';

/** Columns that one part of `columnReduce` adds up; engine/ops/norm.ts says the same. */
const REDUCE_COLUMNS: u32 = 128;

/** Σ (x − mean)² over one row. */
function squaredDeviation(x: usize, columns: u32, mean: f32): f32 {
  const m = f32x4.splat(mean), end = x + ((<usize>columns >> 2) << 4);
  let s0 = f32x4.splat(0), s1 = s0;
  for (; x + 32 <= end; x += 32) {
    const a = f32x4.sub(v128.load(x), m), b = f32x4.sub(v128.load(x, 16), m);
    s0 = fma4(a, a, s0);
    s1 = fma4(b, b, s1);
  }
  for (; x < end; x += 16) {
    const a = f32x4.sub(v128.load(x), m);
    s0 = fma4(a, a, s0);
  }
  if (columns & 3) {
    const a = f32x4.sub(loadLanes(x, columns & 3, mean), m);
    s1 = fma4(a, a, s1);
  }
  return sumLanes(f32x4.add(s0, s1));
}

/** Slots x, weight, bias, y, mean, rstd, rows, columns, rowsPerPart, eps. y = (x − mean)·rstd·weight + bias. */
export function layerNorm(args: usize, part: u32): void {
  const weight = <usize>argU(args, 1), bias = <usize>argU(args, 2), columns = argU(args, 7), eps = argF(args, 9);
  const first = <usize>part * argU(args, 8), last = min<usize>(first + argU(args, 8), argU(args, 6));
  const whole = (<usize>columns >> 2) << 4, rest = columns & 3, bytes = <usize>columns << 2;
  for (let row = first; row < last; row++) {
    const x = <usize>argU(args, 0) + row * bytes, y = <usize>argU(args, 3) + row * bytes;
    const mean = sumRow(x, columns) / <f32>columns;
    const rstd = <f32>1 / sqrt<f32>(squaredDeviation(x, columns, mean) / <f32>columns + eps);
    store<f32>(<usize>argU(args, 4) + (row << 2), mean);
    store<f32>(<usize>argU(args, 5) + (row << 2), rstd);
    const m = f32x4.splat(mean), s = f32x4.splat(rstd);
    for (let i: usize = 0; i < whole; i += 16) {
      const n = f32x4.mul(f32x4.sub(v128.load(x + i), m), s);
      v128.store(y + i, fma4(n, v128.load(weight + i), v128.load(bias + i)));
    }
    if (rest) {
      const n = f32x4.mul(f32x4.sub(loadLanes(x + whole, rest, 0), m), s);
      storeLanes(y + whole, fma4(n, loadLanes(weight + whole, rest, 0), loadLanes(bias + whole, rest, 0)), rest);
    }
  }
}

/** What `rowGradientSums` found for its row: Σ g and Σ g·n. */
let rowSum: f32 = 0;
let rowDot: f32 = 0;

/**
 * Part = block of rows. Slots dy, x, weight, mean, rstd, dx, partial [blocks, 2·padded], rows, columns, blockRows, padded.
 * dx = rstd·(g − mean(g) − n·mean(g·n)) with g = dy·weight, n = (x − mean)·rstd. A partial row holds the block's
 * Σ dy·n, then from `padded` (columns rounded up to 4) on its Σ dy.
 */
export function layerNormBackward(args: usize, part: u32): void {
  const weight = <usize>argU(args, 2), columns = argU(args, 8), padded = <usize>argU(args, 10) << 2;
  const first = <usize>part * argU(args, 9), last = min<usize>(first + argU(args, 9), argU(args, 7));
  const dWeight = <usize>argU(args, 6) + <usize>part * 2 * padded, dBias = dWeight + padded;
  const whole = (<usize>columns >> 2) << 4, rest = columns & 3, bytes = <usize>columns << 2;
  memory.fill(dWeight, 0, 2 * padded);
  for (let row = first; row < last; row++) {
    const dy = <usize>argU(args, 0) + row * bytes, x = <usize>argU(args, 1) + row * bytes, dx = <usize>argU(args, 5) + row * bytes;
    const m = f32x4.splat(load<f32>(<usize>argU(args, 3) + (row << 2)));
    const rstd = load<f32>(<usize>argU(args, 4) + (row << 2)), s = f32x4.splat(rstd);
    rowGradientSums(dy, x, weight, m, s, dWeight, dBias, columns);
    const a = f32x4.splat(-rowSum / <f32>columns), b = f32x4.splat(-rowDot / <f32>columns);
    for (let i: usize = 0; i < whole; i += 16) {
      const n = f32x4.mul(f32x4.sub(v128.load(x + i), m), s);
      const g = fma4(v128.load(dy + i), v128.load(weight + i), a);
      v128.store(dx + i, f32x4.mul(fma4(n, b, g), s));
    }
    if (rest) {
      const n = f32x4.mul(f32x4.sub(loadLanes(x + whole, rest, 0), m), s);
      const g = fma4(loadLanes(dy + whole, rest, 0), loadLanes(weight + whole, rest, 0), a);
      storeLanes(dx + whole, f32x4.mul(fma4(n, b, g), s), rest);
    }
  }
}

/** One row's share of the block's Σ dy·n and Σ dy; leaves the row's own sums in rowSum and rowDot. */
function rowGradientSums(
  dy: usize, x: usize, weight: usize, m: v128, s: v128, dWeight: usize, dBias: usize, columns: u32,
): void {
  const whole = (<usize>columns >> 2) << 4, rest = columns & 3;
  let sum = f32x4.splat(0), dot = sum;
  for (let i: usize = 0; i < whole; i += 16) {
    const n = f32x4.mul(f32x4.sub(v128.load(x + i), m), s), d = v128.load(dy + i);
    const g = f32x4.mul(d, v128.load(weight + i));
    sum = f32x4.add(sum, g);
    dot = fma4(g, n, dot);
    v128.store(dWeight + i, fma4(d, n, v128.load(dWeight + i)));
    v128.store(dBias + i, f32x4.add(d, v128.load(dBias + i)));
  }
  if (rest) {
    const n = f32x4.mul(f32x4.sub(loadLanes(x + whole, rest, 0), m), s), d = loadLanes(dy + whole, rest, 0);
    const g = f32x4.mul(d, loadLanes(weight + whole, rest, 0));
    sum = f32x4.add(sum, g);
    dot = fma4(g, n, dot);
    v128.store(dWeight + whole, fma4(d, n, v128.load(dWeight + whole)));
    v128.store(dBias + whole, f32x4.add(d, v128.load(dBias + whole)));
  }
  rowSum = sumLanes(sum);
  rowDot = sumLanes(dot);
}

/** Part = block of rows. Slots x, partial [blocks, padded], rows, columns, blockRows, padded: sums of the block's rows. */
export function columnSum(args: usize, part: u32): void {
  const columns = argU(args, 3), padded = <usize>argU(args, 5) << 2, bytes = <usize>columns << 2;
  const first = <usize>part * argU(args, 4), last = min<usize>(first + argU(args, 4), argU(args, 2));
  const out = <usize>argU(args, 1) + <usize>part * padded;
  memory.fill(out, 0, padded);
  let x = <usize>argU(args, 0) + first * bytes, row = first;
  for (; row + 4 <= last; row += 4, x += 4 * bytes) addRows(out, x, x + bytes, x + 2 * bytes, x + 3 * bytes, columns);
  for (; row < last; row++, x += bytes) addRow(out, x, columns);
}

/** out += (a + b) + (c + d): four rows at once, so that `out` passes through the registers a quarter as often. */
function addRows(out: usize, a: usize, b: usize, c: usize, d: usize, columns: u32): void {
  const whole = (<usize>columns >> 2) << 4, rest = columns & 3;
  for (let i: usize = 0; i < whole; i += 16) {
    const ab = f32x4.add(v128.load(a + i), v128.load(b + i)), cd = f32x4.add(v128.load(c + i), v128.load(d + i));
    v128.store(out + i, f32x4.add(v128.load(out + i), f32x4.add(ab, cd)));
  }
  if (!rest) return;
  const ab = f32x4.add(loadLanes(a + whole, rest, 0), loadLanes(b + whole, rest, 0));
  const cd = f32x4.add(loadLanes(c + whole, rest, 0), loadLanes(d + whole, rest, 0));
  v128.store(out + whole, f32x4.add(v128.load(out + whole), f32x4.add(ab, cd)));
}

function addRow(out: usize, x: usize, columns: u32): void {
  const whole = (<usize>columns >> 2) << 4, rest = columns & 3;
  for (let i: usize = 0; i < whole; i += 16) v128.store(out + i, f32x4.add(v128.load(out + i), v128.load(x + i)));
  if (rest) v128.store(out + whole, f32x4.add(v128.load(out + whole), loadLanes(x + whole, rest, 0)));
}

/** Part = REDUCE_COLUMNS columns. Slots partial, stride, blocks, out, columns, accumulate: out (+)= Σ over blocks, in order. */
export function columnReduce(args: usize, part: u32): void {
  const stride = <usize>argU(args, 1) << 2, blocks = argU(args, 2), columns = argU(args, 4), accumulate = argU(args, 5);
  const first = part * REDUCE_COLUMNS, last = min(first + REDUCE_COLUMNS, columns);
  for (let column = first; column < last; column += 4) {
    let p = <usize>argU(args, 0) + (<usize>column << 2), s = f32x4.splat(0);
    for (let block: u32 = 0; block < blocks; block++, p += stride) s = f32x4.add(s, v128.load(p));
    const out = <usize>argU(args, 3) + (<usize>column << 2), rest = columns - column;
    if (rest >= 4) v128.store(out, accumulate ? f32x4.add(v128.load(out), s) : s);
    else storeLanes(out, accumulate ? f32x4.add(loadLanes(out, rest, 0), s) : s, rest);
  }
}
