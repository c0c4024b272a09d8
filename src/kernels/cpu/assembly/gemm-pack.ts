// Packing for the matrix multiplication: panels of W rows (or columns) of an operand, laid out [k][W], so that the
// register tile reads both operands in order. A panel beyond the edge is filled up with zeros.
import { MR, NR } from './gemm-tile';
import { argU } from './runtime';

/**
 * Packs rows [row, row + count) of src, count <= width, elements [0, k) of each, into to[k][width].
 * src holds a row of `stride` bytes per packed row: an operand whose reduction runs along its rows.
 */
// @ts-ignore: decorator
@inline
export function packAcross(src: usize, stride: usize, count: u32, width: u32, k: u32, to: usize): void {
  if (width == 4 && count == 4) return packRows4(src, stride, k, to, 16);
  if (width == 8 && count == 8) {
    packRows4(src, stride, k, to, 32);
    packRows4(src + 4 * stride, stride, k, to + 16, 32);
    return;
  }
  if (width == 6 && count == 6) {
    packRows4(src, stride, k, to, 24);
    packRows2(src + 4 * stride, stride, k, to + 16, 24);
    return;
  }
  packRowsScalar(src, stride, count, width, k, to);
}

/** Packs `width` columns, count of them valid, of k rows of `stride` bytes: an operand whose reduction runs down. */
// @ts-ignore: decorator
@inline
export function packDown(src: usize, stride: usize, count: u32, width: u32, k: u32, to: usize): void {
  if (width == 4 && count == 4) return copyColumns4(src, stride, k, to);
  if (width == 8 && count == 8) return copyColumns8(src, stride, k, to);
  if (width == 6 && count == 6) return copyColumns6(src, stride, k, to);
  copyColumnsScalar(src, stride, count, width, k, to);
}

/** Four rows transposed, 4x4 at a time; `step` bytes from one k to the next. */
function packRows4(src: usize, stride: usize, k: u32, to: usize, step: usize): void {
  let r0 = src;
  let r1 = r0 + stride;
  let r2 = r1 + stride;
  let r3 = r2 + stride;
  let left = k;
  while (left >= 4) {
    const a = v128.load(r0);
    const b = v128.load(r1);
    const c = v128.load(r2);
    const d = v128.load(r3);
    const ab0 = i32x4.shuffle(a, b, 0, 4, 1, 5);
    const ab1 = i32x4.shuffle(a, b, 2, 6, 3, 7);
    const cd0 = i32x4.shuffle(c, d, 0, 4, 1, 5);
    const cd1 = i32x4.shuffle(c, d, 2, 6, 3, 7);
    v128.store(to, i64x2.shuffle(ab0, cd0, 0, 2));
    to += step;
    v128.store(to, i64x2.shuffle(ab0, cd0, 1, 3));
    to += step;
    v128.store(to, i64x2.shuffle(ab1, cd1, 0, 2));
    to += step;
    v128.store(to, i64x2.shuffle(ab1, cd1, 1, 3));
    to += step;
    r0 += 16;
    r1 += 16;
    r2 += 16;
    r3 += 16;
    left -= 4;
  }
  while (left != 0) {
    store<f32>(to, load<f32>(r0));
    store<f32>(to, load<f32>(r1), 4);
    store<f32>(to, load<f32>(r2), 8);
    store<f32>(to, load<f32>(r3), 12);
    to += step;
    r0 += 4;
    r1 += 4;
    r2 += 4;
    r3 += 4;
    left--;
  }
}

function packRows2(src: usize, stride: usize, k: u32, to: usize, step: usize): void {
  let r0 = src;
  let r1 = r0 + stride;
  let left = k;
  while (left >= 4) {
    const a = v128.load(r0);
    const b = v128.load(r1);
    const lo = i32x4.shuffle(a, b, 0, 4, 1, 5);
    const hi = i32x4.shuffle(a, b, 2, 6, 3, 7);
    v128.store_lane<i64>(to, lo, 0);
    to += step;
    v128.store_lane<i64>(to, lo, 1);
    to += step;
    v128.store_lane<i64>(to, hi, 0);
    to += step;
    v128.store_lane<i64>(to, hi, 1);
    to += step;
    r0 += 16;
    r1 += 16;
    left -= 4;
  }
  while (left != 0) {
    store<f32>(to, load<f32>(r0));
    store<f32>(to, load<f32>(r1), 4);
    to += step;
    r0 += 4;
    r1 += 4;
    left--;
  }
}

function packRowsScalar(src: usize, stride: usize, count: u32, width: u32, k: u32, to: usize): void {
  const step: usize = width << 2;
  for (let r: u32 = 0; r < width; r++) {
    let out = to + (r << 2);
    let from = src + <usize>r * stride;
    for (let p: u32 = 0; p < k; p++) {
      store<f32>(out, r < count ? load<f32>(from) : 0);
      out += step;
      from += 4;
    }
  }
}

function copyColumns4(src: usize, stride: usize, k: u32, to: usize): void {
  while (k != 0) {
    v128.store(to, v128.load(src));
    src += stride;
    to += 16;
    k--;
  }
}

function copyColumns6(src: usize, stride: usize, k: u32, to: usize): void {
  while (k != 0) {
    v128.store(to, v128.load(src));
    store<u64>(to, load<u64>(src, 16), 16);
    src += stride;
    to += 24;
    k--;
  }
}

function copyColumns8(src: usize, stride: usize, k: u32, to: usize): void {
  while (k != 0) {
    v128.store(to, v128.load(src));
    v128.store(to, v128.load(src, 16), 16);
    src += stride;
    to += 32;
    k--;
  }
}

function copyColumnsScalar(src: usize, stride: usize, count: u32, width: u32, k: u32, to: usize): void {
  for (let p: u32 = 0; p < k; p++) {
    for (let r: u32 = 0; r < width; r++) store<f32>(to + (r << 2), r < count ? load<f32>(src + (r << 2)) : 0);
    src += stride;
    to += width << 2;
  }
}

/** Rows [row, row + rows) of op(A), reduction elements [p, p + k), into panels [rows / MR][k][MR]. */
export function packA(
  a: usize, m: u32, kAll: u32, transposed: bool, row: u32, rows: u32, p: u32, k: u32, to: usize,
): void {
  const end = row + rows;
  while (row < end) {
    const count = min(MR, end - row);
    if (transposed) packDown(a + ((<usize>p * m + row) << 2), <usize>m << 2, count, MR, k, to);
    else packAcross(a + ((<usize>row * kAll + p) << 2), <usize>kAll << 2, count, MR, k, to);
    row += MR;
    to += <usize>(k * MR) << 2;
  }
}

/**
 * Kernel: op(B) [k,n] into packed [k-block][n / NR][<= kBlock][NR].
 * Part = one k-block of `group` panels; part index = kBlockIndex * ceil(panels / group) + groupIndex.
 */
export function gemmPack(args: usize, part: u32): void {
  const b: usize = argU(args, 0);
  const packed: usize = argU(args, 1);
  const n = argU(args, 2);
  const kAll = argU(args, 3);
  const transposed = argU(args, 4) != 0;
  const kBlock = argU(args, 5);
  const group = argU(args, 6);
  const panels = (n + NR - 1) / NR;
  const groups = (panels + group - 1) / group;
  const p = (part / groups) * kBlock;
  const k = min(kBlock, kAll - p);
  let panel = (part % groups) * group;
  const end = min(panels, panel + group);
  // A k-block takes panels * NR floats per k.
  let to = packed + ((<usize>p * panels * NR + <usize>panel * k * NR) << 2);
  for (; panel < end; panel++) {
    const column = panel * NR;
    const count = min(NR, n - column);
    if (transposed) packAcross(b + ((<usize>column * kAll + p) << 2), <usize>kAll << 2, count, NR, k, to);
    else packDown(b + ((<usize>p * n + column) << 2), <usize>n << 2, count, NR, k, to);
    to += <usize>(k * NR) << 2;
  }
}
