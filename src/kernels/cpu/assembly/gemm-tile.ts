// The register tile of the matrix multiplication: one function, called once per MR x NR tile and K-block.
// It stays a function of its own: engines tier code up per function, at its next call. Nothing but the
// accumulators, one row of B and one element of A lives in vector registers; a single spill halves its speed.
import { fma4 } from './simd';

// Sixteen vector registers: 6x8 leaves one spare with a fused multiply-add; without it a product needs one more.
export const MR: u32 = ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
export const NR: u32 = 8;

/**
 * to[MR,NR] = from[MR,NR] + a[k,MR]ᵀ · b[k,NR]; strides of `from` and `to` in bytes, 0 repeats one row.
 * Summation runs over k in order, starting from `from`, so that splitting k changes no bit.
 */
export function tile(
  a: usize, b: usize, k: u32, from: usize, fromStride: usize, to: usize, toStride: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD) tile6x8(a, b, k, from, fromStride, to, toStride);
  else tile5x8(a, b, k, from, fromStride, to, toStride);
}

// @ts-ignore: decorator
@inline
function tile6x8(
  a: usize, b: usize, k: u32, from: usize, fromStride: usize, to: usize, toStride: usize,
): void {
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
    let x = v128.load_splat<f32>(a);
    c00 = fma4(x, b0, c00);
    c01 = fma4(x, b1, c01);
    x = v128.load_splat<f32>(a, 4);
    c10 = fma4(x, b0, c10);
    c11 = fma4(x, b1, c11);
    x = v128.load_splat<f32>(a, 8);
    c20 = fma4(x, b0, c20);
    c21 = fma4(x, b1, c21);
    x = v128.load_splat<f32>(a, 12);
    c30 = fma4(x, b0, c30);
    c31 = fma4(x, b1, c31);
    x = v128.load_splat<f32>(a, 16);
    c40 = fma4(x, b0, c40);
    c41 = fma4(x, b1, c41);
    x = v128.load_splat<f32>(a, 20);
    c50 = fma4(x, b0, c50);
    c51 = fma4(x, b1, c51);
    a += 24;
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
  a: usize, b: usize, k: u32, from: usize, fromStride: usize, to: usize, toStride: usize,
): void {
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
    let x = v128.load_splat<f32>(a);
    c00 = fma4(x, b0, c00);
    c01 = fma4(x, b1, c01);
    x = v128.load_splat<f32>(a, 4);
    c10 = fma4(x, b0, c10);
    c11 = fma4(x, b1, c11);
    x = v128.load_splat<f32>(a, 8);
    c20 = fma4(x, b0, c20);
    c21 = fma4(x, b1, c21);
    x = v128.load_splat<f32>(a, 12);
    c30 = fma4(x, b0, c30);
    c31 = fma4(x, b1, c31);
    x = v128.load_splat<f32>(a, 16);
    c40 = fma4(x, b0, c40);
    c41 = fma4(x, b1, c41);
    a += 20;
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
