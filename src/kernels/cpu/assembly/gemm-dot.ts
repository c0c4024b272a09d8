// Matrix multiplication for few rows: C[m,n] = A[m,k] · B[n,k]ᵀ (+ bias or + C). B is read once, in place: bound by
// memory, not by arithmetic. Each element is four partial sums over k (lanes), added pairwise, then the tail's sum,
// then bias and old value. Part = `columnBlock` rows of B. Error <= 2·k·eps·(|A|·|B|).
import { argU } from './runtime';
import { fma4 } from './simd';

/** Kernel. */
export function gemmDot(args: usize, part: u32): void {
  const a: usize = argU(args, 0);
  const b: usize = argU(args, 1);
  const bias: usize = argU(args, 2);
  const c: usize = argU(args, 3);
  const m = argU(args, 4);
  const n = argU(args, 5);
  const k = argU(args, 6);
  const accumulate = argU(args, 7) != 0;
  const columnBlock = argU(args, 8);
  let j = part * columnBlock;
  const end = min(n, j + columnBlock);
  const row: usize = <usize>k << 2;
  const stride: usize = <usize>n << 2;
  for (; j + 4 <= end; j += 4) {
    const w = b + <usize>j * row;
    const add = bias != 0 ? bias + (<usize>j << 2) : 0;
    let x = a;
    let to = c + (<usize>j << 2);
    // Pairs of rows keep eight sums in registers; three rows would need one register more than there are.
    let left = m;
    for (; left >= 2; left -= 2) {
      dot2x4(x, w, k, row, to, stride, add, accumulate);
      x += 2 * row;
      to += 2 * stride;
    }
    if (left != 0) dot1x4(x, w, k, row, to, add, accumulate);
  }
  for (; j < end; j++) {
    const w = b + <usize>j * row;
    const add = bias != 0 ? bias + (<usize>j << 2) : 0;
    for (let i: u32 = 0; i < m; i++) {
      dot1x1(a + row * i, w, k, c + stride * i + (<usize>j << 2), add, accumulate);
    }
  }
}

/** Lane sums of four vectors: (s0, s1, s2, s3), each (x0+x2) + (x1+x3). */
// @ts-ignore: decorator
@inline
function sums(s0: v128, s1: v128, s2: v128, s3: v128): v128 {
  const a = f32x4.add(i32x4.shuffle(s0, s1, 0, 4, 1, 5), i32x4.shuffle(s0, s1, 2, 6, 3, 7));
  const b = f32x4.add(i32x4.shuffle(s2, s3, 0, 4, 1, 5), i32x4.shuffle(s2, s3, 2, 6, 3, 7));
  return f32x4.add(i64x2.shuffle(a, b, 0, 2), i64x2.shuffle(a, b, 1, 3));
}

/** Adds the elements of k beyond the last whole vector, bias and old values, and stores four columns. */
// @ts-ignore: decorator
@inline
function finish4(
  sum: v128, x: usize, w: usize, tail: u32, row: usize, to: usize, bias: usize, accumulate: bool,
): void {
  if (tail != 0) sum = f32x4.add(sum, tail4(x, w, tail, row));
  if (bias != 0) sum = f32x4.add(sum, v128.load(bias));
  if (accumulate) sum = f32x4.add(sum, v128.load(to));
  v128.store(to, sum);
}

function tail4(x: usize, w: usize, tail: u32, row: usize): v128 {
  let sum = f32x4.splat(0);
  for (; tail != 0; tail--) {
    const column = f32x4(load<f32>(w), load<f32>(w + row), load<f32>(w + 2 * row), load<f32>(w + 3 * row));
    sum = fma4(v128.load_splat<f32>(x), column, sum);
    x += 4;
    w += 4;
  }
  return sum;
}

function dot2x4(
  x: usize, w: usize, k: u32, row: usize, to: usize, stride: usize, bias: usize, accumulate: bool,
): void {
  let s00 = f32x4.splat(0);
  let s01 = s00;
  let s02 = s00;
  let s03 = s00;
  let s10 = s00;
  let s11 = s00;
  let s12 = s00;
  let s13 = s00;
  let left = k >> 2;
  while (left != 0) {
    const x0 = v128.load(x);
    const x1 = v128.load(x + row);
    let y = v128.load(w);
    s00 = fma4(x0, y, s00);
    s10 = fma4(x1, y, s10);
    y = v128.load(w + row);
    s01 = fma4(x0, y, s01);
    s11 = fma4(x1, y, s11);
    y = v128.load(w + 2 * row);
    s02 = fma4(x0, y, s02);
    s12 = fma4(x1, y, s12);
    y = v128.load(w + 3 * row);
    s03 = fma4(x0, y, s03);
    s13 = fma4(x1, y, s13);
    x += 16;
    w += 16;
    left--;
  }
  const tail = k & 3;
  finish4(sums(s00, s01, s02, s03), x, w, tail, row, to, bias, accumulate);
  finish4(sums(s10, s11, s12, s13), x + row, w, tail, row, to + stride, bias, accumulate);
}

function dot1x4(x: usize, w: usize, k: u32, row: usize, to: usize, bias: usize, accumulate: bool): void {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  let left = k >> 2;
  while (left != 0) {
    const x0 = v128.load(x);
    s0 = fma4(x0, v128.load(w), s0);
    s1 = fma4(x0, v128.load(w + row), s1);
    s2 = fma4(x0, v128.load(w + 2 * row), s2);
    s3 = fma4(x0, v128.load(w + 3 * row), s3);
    x += 16;
    w += 16;
    left--;
  }
  finish4(sums(s0, s1, s2, s3), x, w, k & 3, row, to, bias, accumulate);
}

function dot1x1(x: usize, w: usize, k: u32, to: usize, bias: usize, accumulate: bool): void {
  let s = f32x4.splat(0);
  let left = k >> 2;
  while (left != 0) {
    s = fma4(v128.load(x), v128.load(w), s);
    x += 16;
    w += 16;
    left--;
  }
  let value = f32x4.extract_lane(sums(s, s, s, s), 0);
  if ((k & 3) != 0) value += f32x4.extract_lane(tail4(x, w, k & 3, 0), 0);
  if (bias != 0) value += load<f32>(bias);
  if (accumulate) value += load<f32>(to);
  store<f32>(to, value);
}
