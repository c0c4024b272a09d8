// The products that make attention's gradients, on a chunk's cells p [key][64 rows] (CHUNK_CELLS bytes from key to key):
//   queryProduct  c [4 rows][C] (+)= Σ_j p[j][r] · y[j]     dq from dx and k, j ascending
//   keyProduct    c [4 keys][C] (+)= Σ_r p[j][r] · x[r]     dk from dx and q, dv from keep·p and dO, r ascending
// The sum over at most 64 cells starts from 0 and is then added to what c held: long sums are sums of blocks, whose
// rounding grows with the root of a block's length. C is a multiple of 8 (rows are staged otherwise).
//
// A forbidden cell is 0, and −0 in the array `marks` bytes after p: multiplied by a finite number it changes nothing. A block
// whose sums are not all finite is done again cell by cell, leaving the forbidden cells out.
import { allFinite, CHUNK_CELLS } from './attention-products';
import { fma4 } from './simd';

// @ts-ignore: decorator
@inline const CELL: usize = 4;

export function queryProduct(
  p: usize, marks: usize, n: i32, y: usize, yRow: usize, c: usize, cRow: usize, width: i32, fresh: bool,
): void {
  for (let d: usize = 0; d < <usize>width * 4; d += 32) {
    if (queryBlock(p, n, y + d, yRow, c + d, cRow, fresh)) continue;
    blockByCell(p, CHUNK_CELLS, CELL, marks, n, y + d, yRow, c + d, cRow, fresh);
  }
}

export function keyProduct(
  p: usize, marks: usize, rows: i32, x: usize, xRow: usize, c: usize, cRow: usize, width: i32, fresh: bool,
): void {
  for (let d: usize = 0; d < <usize>width * 4; d += 32) {
    if (keyBlock(p, rows, x + d, xRow, c + d, cRow, fresh)) continue;
    blockByCell(p, CELL, CHUNK_CELLS, marks, rows, x + d, xRow, c + d, cRow, fresh);
  }
}

/** Four rows, eight columns; returns false, storing nothing, if any sum is not finite. */
function queryBlock(p: usize, n: i32, y: usize, yRow: usize, c: usize, cRow: usize, fresh: bool): bool {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  const end = p + <usize>n * CHUNK_CELLS;
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
    p += CHUNK_CELLS;
    y += yRow;
  }
  if (!allFinite(a0, a1, a2, a3, b0, b1, b2, b3)) return false;
  put(c, a0, b0, fresh);
  put(c + cRow, a1, b1, fresh);
  put(c + 2 * cRow, a2, b2, fresh);
  put(c + 3 * cRow, a3, b3, fresh);
  return true;
}

/** The same for four keys, whose cells are CHUNK_CELLS apart. */
function keyBlock(p: usize, rows: i32, y: usize, yRow: usize, c: usize, cRow: usize, fresh: bool): bool {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  const end = p + (<usize>rows << 2);
  while (p < end) {
    const ya = v128.load(y);
    const yb = v128.load(y, 16);
    let t = v128.load_splat<u32>(p);
    a0 = fma4(t, ya, a0);
    b0 = fma4(t, yb, b0);
    t = v128.load_splat<u32>(p, 256);
    a1 = fma4(t, ya, a1);
    b1 = fma4(t, yb, b1);
    t = v128.load_splat<u32>(p, 512);
    a2 = fma4(t, ya, a2);
    b2 = fma4(t, yb, b2);
    t = v128.load_splat<u32>(p, 768);
    a3 = fma4(t, ya, a3);
    b3 = fma4(t, yb, b3);
    p += 4;
    y += yRow;
  }
  if (!allFinite(a0, a1, a2, a3, b0, b1, b2, b3)) return false;
  put(c, a0, b0, fresh);
  put(c + cRow, a1, b1, fresh);
  put(c + 2 * cRow, a2, b2, fresh);
  put(c + 3 * cRow, a3, b3, fresh);
  return true;
}

// @ts-ignore: decorator
@inline function put(c: usize, a: v128, b: v128, fresh: bool): void {
  if (fresh) {
    v128.store(c, a);
    v128.store(c, b, 16);
  } else {
    v128.store(c, f32x4.add(v128.load(c), a));
    v128.store(c, f32x4.add(v128.load(c, 16), b), 16);
  }
}

/** The same sums in the same order; cells marked as forbidden are left out. The four sums' cells lie `apart` bytes apart. */
function blockByCell(
  p: usize, step: usize, apart: usize, marks: usize, n: i32, y: usize, yRow: usize, c: usize, cRow: usize, fresh: bool,
): void {
  for (let r: usize = 0; r < 4; r++) {
    let a = f32x4.splat(0), b = f32x4.splat(0);
    for (let j = 0; j < n; j++) {
      const cell = p + r * apart + <usize>j * step;
      if (load<i32>(cell + marks) == <i32>0x80000000) continue;
      const t = v128.load_splat<u32>(cell);
      const from = y + <usize>j * yRow;
      a = fma4(t, v128.load(from), a);
      b = fma4(t, v128.load(from, 16), b);
    }
    put(c + r * cRow, a, b, fresh);
  }
}
