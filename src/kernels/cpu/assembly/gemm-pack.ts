// Packing for the matrix multiplication: an operand cut into panels of W rows (of op(A)) or columns (of op(B)), each
// laid out [k][W], so that the register tile reads both operands in order. Panels are filled up with zeros at the edge.
import { MR, NR } from './gemm-tile';
import { argU } from './runtime';

/** Panels written side by side: few enough write streams for the first-level cache's ways. */
const SIDE_BY_SIDE: u32 = 4;

/**
 * Kernel: a whole operand into packed [k-block][ceil(n / W)][<= kBlock][W]; n is its side that is not reduced.
 * `along`: the reduction runs along its rows ([n,k]), else down its columns ([k,n]). `left`: W = MR, else NR.
 * Part = one k-block of `group` panels; part index = kBlockIndex * ceil(panels / group) + groupIndex.
 */
export function gemmPack(args: usize, part: u32): void {
  const source: usize = argU(args, 0);
  const packed: usize = argU(args, 1);
  const n = argU(args, 2);
  const kAll = argU(args, 3);
  const along = argU(args, 4) != 0;
  const kBlock = argU(args, 5);
  const group = argU(args, 6);
  const left = argU(args, 7) != 0;
  const width = left ? MR : NR;
  const panels = (n + width - 1) / width;
  const groups = (panels + group - 1) / group;
  const p = (part / groups) * kBlock;
  const k = min(kBlock, kAll - p);
  const panel = (part % groups) * group;
  const first = panel * width;
  const count = min(group * width, n - first);
  // A k-block takes panels * W floats per k.
  const to = packed + ((<usize>p * panels * width + <usize>first * k) << 2);
  if (left) packLeft(source, n, kAll, along, first, count, p, k, to);
  else packRight(source, n, kAll, along, first, count, p, k, to);
}

/** Rows [first, first + count) of op(A), reduction elements [p, p + k), into panels of MR. */
export function packLeft(
  a: usize, m: u32, kAll: u32, along: bool, first: u32, count: u32, p: u32, k: u32, to: usize,
): void {
  packPanels(a, m, kAll, along, first, count, p, k, to, MR);
}

/** Columns [first, first + count) of op(B), reduction elements [p, p + k), into panels of NR. */
export function packRight(
  b: usize,
  n: u32,
  kAll: u32,
  along: bool,
  first: u32,
  count: u32,
  p: u32,
  k: u32,
  to: usize,
): void {
  packPanels(b, n, kAll, along, first, count, p, k, to, NR);
}

// @ts-ignore: decorator
@inline
function packPanels(
  source: usize, n: u32, kAll: u32, along: bool, first: u32, count: u32, p: u32, k: u32, to: usize, width: u32,
): void {
  const step: usize = <usize>(k * width) << 2;
  if (along) {
    const stride: usize = <usize>kAll << 2;
    let from = source + ((<usize>first * kAll + p) << 2);
    for (; count >= width; count -= width) {
      packRows4(from, stride, k, to, width << 2);
      if (width == 8) packRows4(from + 4 * stride, stride, k, to + 16, width << 2);
      if (width == 6) packRows2(from + 4 * stride, stride, k, to + 16, width << 2);
      if (width == 5) packRow(from + 4 * stride, k, to + 16, width << 2);
      from += stride * width;
      to += step;
    }
    if (count != 0) packEdge(from, stride, 4, count, k, to, width);
    return;
  }
  const stride: usize = <usize>n << 2;
  let from = source + ((<usize>p * n + first) << 2);
  while (count >= width) {
    const panels = min(SIDE_BY_SIDE, count / width);
    if (width == 8) copyColumns8(from, stride, k, to, panels);
    if (width == 6) copyColumns6(from, stride, k, to, panels);
    if (width == 5) copyColumns5(from, stride, k, to, panels);
    count -= panels * width;
    from += <usize>(panels * width) << 2;
    to += step * panels;
  }
  if (count != 0) packEdge(from, 4, stride, count, k, to, width);
}

/** A panel cut off by the edge: `count` of `width` lines, then zeros. Strides in bytes, across lines and along k. */
function packEdge(from: usize, across: usize, along: usize, count: u32, k: u32, to: usize, width: u32): void {
  for (; k != 0; k--) {
    let at = from;
    for (let i: u32 = 0; i < width; i++) {
      store<f32>(to, i < count ? load<f32>(at) : 0);
      at += across;
      to += 4;
    }
    from += along;
  }
}

function copyColumns5(from: usize, stride: usize, k: u32, to: usize, panels: u32): void {
  const step: usize = <usize>k * 20;
  for (let left = k; left != 0; left--) {
    let at = from;
    let out = to;
    for (let i = panels; i != 0; i--) {
      v128.store(out, v128.load(at));
      store<f32>(out, load<f32>(at, 16), 16);
      at += 20;
      out += step;
    }
    from += stride;
    to += 20;
  }
}

function copyColumns6(from: usize, stride: usize, k: u32, to: usize, panels: u32): void {
  const step: usize = <usize>k * 24;
  for (let left = k; left != 0; left--) {
    let at = from;
    let out = to;
    for (let i = panels; i != 0; i--) {
      v128.store(out, v128.load(at));
      store<u64>(out, load<u64>(at, 16), 16);
      at += 24;
      out += step;
    }
    from += stride;
    to += 24;
  }
}

function copyColumns8(from: usize, stride: usize, k: u32, to: usize, panels: u32): void {
  const step: usize = <usize>k * 32;
  for (let left = k; left != 0; left--) {
    let at = from;
    let out = to;
    for (let i = panels; i != 0; i--) {
      v128.store(out, v128.load(at));
      v128.store(out, v128.load(at, 16), 16);
      at += 32;
      out += step;
    }
    from += stride;
    to += 32;
  }
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

function packRow(src: usize, k: u32, to: usize, step: usize): void {
  for (; k != 0; k--) {
    store<f32>(to, load<f32>(src));
    src += 4;
    to += step;
  }
}
