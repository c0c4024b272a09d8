// The register tile of the matrix multiplication: one function, called once per MR x NR tile and K-block.
// It stays a function of its own: engines tier code up per function, at its next call. Nothing but the
// accumulators, one row of B and one element of A lives in vector registers; a single spill halves its speed.
import { fma4 } from './simd';

// Sixteen vector registers: 6x8 leaves one spare with a fused multiply-add; without it a product needs one more.
export const MR: u32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
export const NR: u32 = 8;

/** Bytes between the rows of a packed panel [k][MR], and along its reduction. */
export const PANEL_ROW: usize = 4;
export const PANEL_STEP: usize = MR << 2;

/**
 * to[MR,NR] = from[MR,NR] + a · b[k,NR]; strides of `from` and `to` in bytes, 0 repeats one row. Element (i, p) of a
 * [MR,k] lies at a + i·row + p·step bytes, so that a may be a packed panel or rows in place.
 * Summation runs over k in order, starting from `from`, so that splitting k changes no bit.
 */
export function tile(
  a: usize,
  row: usize,
  step: usize,
  b: usize,
  k: u32,
  from: usize,
  fromStride: usize,
  to: usize,
  toStride: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) tile6x8(a, row, step, b, k, from, fromStride, to, toStride);
  else tile5x8(a, row, step, b, k, from, fromStride, to, toStride);
}

// @ts-ignore: decorator
@inline
function tile6x8(
  a0: usize,
  row: usize,
  step: usize,
  b: usize,
  k: u32,
  from: usize,
  fromStride: usize,
  to: usize,
  toStride: usize,
): void {
  let a1 = a0 + row;
  let a2 = a1 + row;
  let a3 = a2 + row;
  let a4 = a3 + row;
  let a5 = a4 + row;
  let c00 = v128.load(from);
  let c01 = v128.load(from, 16);
  from += fromStride;
  let c10 = v128.load(from);
  let c11 = v128.load(from, 16);
  from += fromStride;
  let c20 = v128.load(from);
  let c21 = v128.load(from, 16);
  from += fromStride;
  let c30 = v128.load(from);
  let c31 = v128.load(from, 16);
  from += fromStride;
  let c40 = v128.load(from);
  let c41 = v128.load(from, 16);
  from += fromStride;
  let c50 = v128.load(from);
  let c51 = v128.load(from, 16);
  while (k != 0) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load_splat<f32>(a0);
    c00 = fma4(x, b0, c00);
    c01 = fma4(x, b1, c01);
    x = v128.load_splat<f32>(a1);
    c10 = fma4(x, b0, c10);
    c11 = fma4(x, b1, c11);
    x = v128.load_splat<f32>(a2);
    c20 = fma4(x, b0, c20);
    c21 = fma4(x, b1, c21);
    x = v128.load_splat<f32>(a3);
    c30 = fma4(x, b0, c30);
    c31 = fma4(x, b1, c31);
    x = v128.load_splat<f32>(a4);
    c40 = fma4(x, b0, c40);
    c41 = fma4(x, b1, c41);
    x = v128.load_splat<f32>(a5);
    c50 = fma4(x, b0, c50);
    c51 = fma4(x, b1, c51);
    a0 += step;
    a1 += step;
    a2 += step;
    a3 += step;
    a4 += step;
    a5 += step;
    b += 32;
    k--;
  }
  v128.store(to, c00);
  v128.store(to, c01, 16);
  to += toStride;
  v128.store(to, c10);
  v128.store(to, c11, 16);
  to += toStride;
  v128.store(to, c20);
  v128.store(to, c21, 16);
  to += toStride;
  v128.store(to, c30);
  v128.store(to, c31, 16);
  to += toStride;
  v128.store(to, c40);
  v128.store(to, c41, 16);
  to += toStride;
  v128.store(to, c50);
  v128.store(to, c51, 16);
}

// @ts-ignore: decorator
@inline
function tile5x8(
  a0: usize,
  row: usize,
  step: usize,
  b: usize,
  k: u32,
  from: usize,
  fromStride: usize,
  to: usize,
  toStride: usize,
): void {
  let a1 = a0 + row;
  let a2 = a1 + row;
  let a3 = a2 + row;
  let a4 = a3 + row;
  let c00 = v128.load(from);
  let c01 = v128.load(from, 16);
  from += fromStride;
  let c10 = v128.load(from);
  let c11 = v128.load(from, 16);
  from += fromStride;
  let c20 = v128.load(from);
  let c21 = v128.load(from, 16);
  from += fromStride;
  let c30 = v128.load(from);
  let c31 = v128.load(from, 16);
  from += fromStride;
  let c40 = v128.load(from);
  let c41 = v128.load(from, 16);
  while (k != 0) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    let x = v128.load_splat<f32>(a0);
    c00 = fma4(x, b0, c00);
    c01 = fma4(x, b1, c01);
    x = v128.load_splat<f32>(a1);
    c10 = fma4(x, b0, c10);
    c11 = fma4(x, b1, c11);
    x = v128.load_splat<f32>(a2);
    c20 = fma4(x, b0, c20);
    c21 = fma4(x, b1, c21);
    x = v128.load_splat<f32>(a3);
    c30 = fma4(x, b0, c30);
    c31 = fma4(x, b1, c31);
    x = v128.load_splat<f32>(a4);
    c40 = fma4(x, b0, c40);
    c41 = fma4(x, b1, c41);
    a0 += step;
    a1 += step;
    a2 += step;
    a3 += step;
    a4 += step;
    b += 32;
    k--;
  }
  v128.store(to, c00);
  v128.store(to, c01, 16);
  to += toStride;
  v128.store(to, c10);
  v128.store(to, c11, 16);
  to += toStride;
  v128.store(to, c20);
  v128.store(to, c21, 16);
  to += toStride;
  v128.store(to, c30);
  v128.store(to, c31, 16);
  to += toStride;
  v128.store(to, c40);
  v128.store(to, c41, 16);
}
