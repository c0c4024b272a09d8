// The inner products of attention on groups of 8 query rows. A group's cells lie as [key][8 rows], rows in lanes:
// maxima, sums and random words are then vertical, and both operands of every product are read as they lie.
//   packRows   x [8][D]            -> xT [D][8]
//   scoreTile  xT [D][8], y [n][D] -> s [n][8]      s[j][r] = Σ_d x[r][d]·y[j][d], d ascending
//   rowProduct p [n][8], y [n][C]  -> c [8][C]      c[r]    = f[r]·c[r] + Σ_j p[j][r]·y[j], j ascending
// A forbidden cell's p is −0 (sign bit set; allowed cells are >= +0): multiplied by a finite number it changes
// nothing. Rows whose result is not finite are done again cell by cell, leaving the forbidden cells out.
import { fma4 } from './simd';

// @ts-ignore: decorator
@inline export const GROUP: i32 = 8;
/** Bytes of one key's cells in a group. */
// @ts-ignore: decorator
@inline export const CELLS: usize = 32;
/** Bytes of one key's cells in a chunk of 64 rows, [key][64 rows]. */
// @ts-ignore: decorator
@inline export const CHUNK_CELLS: usize = 256;

/**
 * Transposes `rows` (1..8) rows of `width` floats into xT [width][8], times `factor`. Missing rows repeat the last;
 * with at most 4 rows the upper four lanes stay as they are.
 */
export function packRows(x: usize, stride: usize, rows: i32, width: i32, factor: f32, out: usize): void {
  const f = f32x4.splat(factor);
  for (let r = 0; r < rows; r += 4) {
    const last = rows - 1 - r;
    const r0 = x + <usize>r * stride;
    const r1 = r0 + <usize>min(1, last) * stride, r2 = r0 + <usize>min(2, last) * stride;
    packFour(r0, r1, r2, r0 + <usize>min(3, last) * stride, width, f, out + (<usize>r << 2));
  }
}

function packFour(r0: usize, r1: usize, r2: usize, r3: usize, width: i32, f: v128, to: usize): void {
  let d = 0;
  for (; d + 4 <= width; d += 4) {
    const a = v128.load(r0);
    const b = v128.load(r1);
    const c = v128.load(r2);
    const e = v128.load(r3);
    const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5);
    const ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const ce0 = v128.shuffle<f32>(c, e, 0, 4, 1, 5);
    const ce1 = v128.shuffle<f32>(c, e, 2, 6, 3, 7);
    v128.store(to, f32x4.mul(v128.shuffle<i64>(ab0, ce0, 0, 2), f));
    v128.store(to, f32x4.mul(v128.shuffle<i64>(ab0, ce0, 1, 3), f), 32);
    v128.store(to, f32x4.mul(v128.shuffle<i64>(ab1, ce1, 0, 2), f), 64);
    v128.store(to, f32x4.mul(v128.shuffle<i64>(ab1, ce1, 1, 3), f), 96);
    r0 += 16;
    r1 += 16;
    r2 += 16;
    r3 += 16;
    to += 4 * CELLS;
  }
  for (; d < width; d++) {
    let v = f32x4.splat(load<f32>(r0));
    v = f32x4.replace_lane(v, 1, load<f32>(r1));
    v = f32x4.replace_lane(v, 2, load<f32>(r2));
    v = f32x4.replace_lane(v, 3, load<f32>(r3));
    v128.store(to, f32x4.mul(v, f));
    r0 += 4;
    r1 += 4;
    r2 += 4;
    r3 += 4;
    to += CELLS;
  }
}

/** s[j][r] for j < n and r < valid; s is written up to the next multiple of 4 keys (copies of keys at hand). */
export function scoreTile(xT: usize, width: i32, y: usize, stride: usize, n: i32, s: usize, valid: i32): void {
  if (valid <= 4) return scoreFew(xT, width, y, stride, n, s);
  let j = 0;
  for (; j + 4 <= n; j += 4) {
    dots(xT, width, y, y + stride, y + 2 * stride, y + 3 * stride, s);
    y += 4 * stride;
    s += 4 * CELLS;
  }
  const left = n - j;
  if (left > 0) dots(xT, width, y, y + (left > 1 ? stride : 0), y + (left > 2 ? 2 * stride : 0), y, s);
}

/** The lower four rows alone. */
function scoreFew(xT: usize, width: i32, y: usize, stride: usize, n: i32, s: usize): void {
  for (let j = 0; j < n; j += 8) {
    const last = n - 1 - j;
    const y1 = y + <usize>min(1, last) * stride, y2 = y + <usize>min(2, last) * stride;
    const y3 = y + <usize>min(3, last) * stride;
    if (last < 4) dotsFour(xT, width, y, y1, y2, y3, s);
    else if (last >= 7) dotsEight(xT, width, y, y1, y2, y3, stride * 4, s);
    else {
      dotsFour(xT, width, y, y1, y2, y3, s);
      const z = y + 4 * stride;
      const z1 = z + <usize>min(1, last - 4) * stride, z2 = z + <usize>min(2, last - 4) * stride;
      dotsFour(xT, width, z, z1, z2, z, s + 4 * CELLS);
    }
    y += 8 * stride;
    s += 8 * CELLS;
  }
}

function dotsFour(xT: usize, width: i32, y0: usize, y1: usize, y2: usize, y3: usize, s: usize): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  const end = xT + <usize>width * CELLS;
  while (xT < end) {
    const a = v128.load(xT);
    a0 = fma4(a, v128.load_splat<u32>(y0), a0);
    a1 = fma4(a, v128.load_splat<u32>(y1), a1);
    a2 = fma4(a, v128.load_splat<u32>(y2), a2);
    a3 = fma4(a, v128.load_splat<u32>(y3), a3);
    xT += CELLS;
    y0 += 4;
    y1 += 4;
    y2 += 4;
    y3 += 4;
  }
  v128.store(s, a0);
  v128.store(s, a1, 32);
  v128.store(s, a2, 64);
  v128.store(s, a3, 96);
}

/** Keys y0..y3 and the four that lie `next` bytes after them. */
function dotsEight(xT: usize, width: i32, y0: usize, y1: usize, y2: usize, y3: usize, next: usize, s: usize): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  const end = xT + <usize>width * CELLS;
  while (xT < end) {
    const a = v128.load(xT);
    a0 = fma4(a, v128.load_splat<u32>(y0), a0);
    b0 = fma4(a, v128.load_splat<u32>(y0 + next), b0);
    a1 = fma4(a, v128.load_splat<u32>(y1), a1);
    b1 = fma4(a, v128.load_splat<u32>(y1 + next), b1);
    a2 = fma4(a, v128.load_splat<u32>(y2), a2);
    b2 = fma4(a, v128.load_splat<u32>(y2 + next), b2);
    a3 = fma4(a, v128.load_splat<u32>(y3), a3);
    b3 = fma4(a, v128.load_splat<u32>(y3 + next), b3);
    xT += CELLS;
    y0 += 4;
    y1 += 4;
    y2 += 4;
    y3 += 4;
  }
  v128.store(s, a0);
  v128.store(s, a1, 32);
  v128.store(s, a2, 64);
  v128.store(s, a3, 96);
  v128.store(s, b0, 128);
  v128.store(s, b1, 160);
  v128.store(s, b2, 192);
  v128.store(s, b3, 224);
}

function dots(xT: usize, width: i32, y0: usize, y1: usize, y2: usize, y3: usize, s: usize): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  const end = xT + <usize>width * CELLS;
  while (xT < end) {
    const a = v128.load(xT);
    const b = v128.load(xT, 16);
    let t = v128.load_splat<u32>(y0);
    a0 = fma4(a, t, a0);
    b0 = fma4(b, t, b0);
    t = v128.load_splat<u32>(y1);
    a1 = fma4(a, t, a1);
    b1 = fma4(b, t, b1);
    t = v128.load_splat<u32>(y2);
    a2 = fma4(a, t, a2);
    b2 = fma4(b, t, b2);
    t = v128.load_splat<u32>(y3);
    a3 = fma4(a, t, a3);
    b3 = fma4(b, t, b3);
    xT += CELLS;
    y0 += 4;
    y1 += 4;
    y2 += 4;
    y3 += 4;
  }
  v128.store(s, a0);
  v128.store(s, b0, 16);
  v128.store(s, a1, 32);
  v128.store(s, b1, 48);
  v128.store(s, a2, 64);
  v128.store(s, b2, 80);
  v128.store(s, a3, 96);
  v128.store(s, b3, 112);
}

/**
 * c [4][width] = pᵀ·y over n keys, which lie pKey apart; width is a multiple of 8 (staged otherwise). A forbidden cell
 * is −0: it is left out where its value is not finite.
 */
export function rowProduct(
  p: usize, pKey: usize, n: i32, y: usize, yRow: usize, c: usize, cRow: usize, width: i32,
): void {
  let sums = f32x4.splat(0);
  for (let x: usize = 0; x < <usize>width * 4; x += 32) {
    sums = f32x4.add(sums, rowBlock(p, pKey, n, y + x, yRow, c + x, cRow));
  }
  if (finiteSum(sums)) return;
  for (let x: usize = 0; x < <usize>width * 4; x += 32) rowBlockByCell(p, pKey, n, y + x, yRow, c + x, cRow);
}

/** 4 rows × 8 columns; returns sums of the results, not finite where one of them is not. */
function rowBlock(p: usize, pKey: usize, n: i32, y: usize, yRow: usize, c: usize, cRow: usize): v128 {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  const c1 = c + cRow, c2 = c1 + cRow, c3 = c2 + cRow;
  const end = p + <usize>n * pKey;
  while (p < end) {
    const ya = v128.load(y);
    const yb = v128.load(y, 16);
    let t = v128.load_splat<u32>(p);
    a0 = fma4(t, ya, a0);
    b0 = fma4(t, yb, b0);
    t = v128.load_splat<u32>(p, 4);
    a1 = fma4(t, ya, a1);
    b1 = fma4(t, yb, b1);
    t = v128.load_splat<u32>(p, 8);
    a2 = fma4(t, ya, a2);
    b2 = fma4(t, yb, b2);
    t = v128.load_splat<u32>(p, 12);
    a3 = fma4(t, ya, a3);
    b3 = fma4(t, yb, b3);
    p += pKey;
    y += yRow;
  }
  v128.store(c, a0);
  v128.store(c, b0, 16);
  v128.store(c1, a1);
  v128.store(c1, b1, 16);
  v128.store(c2, a2);
  v128.store(c2, b2, 16);
  v128.store(c3, a3);
  v128.store(c3, b3, 16);
  return sumOf(a0, a1, a2, a3, b0, b1, b2, b3);
}

// @ts-ignore: decorator
@inline function sumOf(a: v128, b: v128, c: v128, d: v128, e: v128, f: v128, g: v128, h: v128): v128 {
  return f32x4.add(f32x4.add(f32x4.add(a, b), f32x4.add(c, d)), f32x4.add(f32x4.add(e, f), f32x4.add(g, h)));
}

/**
 * Whether all numbers of a sum are finite: it is not where one is not (also where finite ones overflow together: then nothing is
 * lost but time), and x − x is 0 for a finite x alone.
 */
// @ts-ignore: decorator
@inline function finiteSum(sum: v128): bool {
  const none = f32x4.sub(sum, sum);
  return !v128.any_true(f32x4.ne(none, none));
}

// @ts-ignore: decorator
@inline export function allFinite(a: v128, b: v128, c: v128, d: v128, e: v128, f: v128, g: v128, h: v128): bool {
  return finiteSum(sumOf(a, b, c, d, e, f, g, h));
}

/** The same sums in the same order; cells marked as forbidden are left out. */
function rowBlockByCell(p: usize, pKey: usize, n: i32, y: usize, yRow: usize, c: usize, cRow: usize): void {
  for (let r: usize = 0; r < 4; r++) {
    let a = f32x4.splat(0), b = f32x4.splat(0);
    for (let j = 0; j < n; j++) {
      const cell = p + <usize>j * pKey + (r << 2);
      if (load<i32>(cell) == <i32>0x80000000) continue;
      const t = v128.load_splat<u32>(cell);
      const from = y + <usize>j * yRow;
      a = fma4(t, v128.load(from), a);
      b = fma4(t, v128.load(from, 16), b);
    }
    const to = c + r * cRow;
    v128.store(to, a);
    v128.store(to, b, 16);
  }
}
