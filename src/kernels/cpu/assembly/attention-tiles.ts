// The forward's inner products on groups of 8 query rows, rows in lanes: both results lie as both operands do.
//   scoreKeys   xT [D][8], y [n][D]         -> s [n][8]        s[j][r]  = Σ_d xT[d][r]·y[j][d], d ascending
//   addContext  p [n][8], y [n][width]      -> c [width][8]    c[d][r] (or 0) + Σ_j p[j][r]·y[j][d], j ascending
// A register tile is WIDE (4, 5 or 6) keys or columns x 8 rows: with two vectors of rows and one number at a time, fifteen
// registers are the most that V8 has to give. What WIDE does not divide is done in fours. Rows of the upper half of a
// group of at most 4 rows are left alone.
import { CELLS, scoreTile } from './attention-products';
import { fma4 } from './simd';
import { WIDE } from './tiles';

/** s is written up to three keys beyond n. */
export function scoreKeys(xT: usize, width: i32, y: usize, stride: usize, n: i32, s: usize, valid: i32): void {
  if (valid > 4) {
    while (n >= 2 * WIDE) {
      scoreWide(xT, width, y, stride, s);
      y += <usize>WIDE * stride;
      s += <usize>WIDE * CELLS;
      n -= WIDE;
    }
    if (n >= WIDE && !(WIDE == 6 && n == 8)) {
      scoreWide(xT, width, y, stride, s);
      y += <usize>WIDE * stride;
      s += <usize>WIDE * CELLS;
      n -= WIDE;
    }
  }
  if (n > 0) scoreTile(xT, width, y, stride, n, s, valid);
}

function scoreWide(xT: usize, width: i32, y0: usize, stride: usize, s: usize): void {
  let a0 = f32x4.splat(0), a1 = f32x4.splat(0), a2 = f32x4.splat(0), a3 = f32x4.splat(0);
  let a4 = f32x4.splat(0), a5 = f32x4.splat(0);
  let b0 = f32x4.splat(0), b1 = f32x4.splat(0), b2 = f32x4.splat(0), b3 = f32x4.splat(0);
  let b4 = f32x4.splat(0), b5 = f32x4.splat(0);
  let y1 = y0 + stride, y2 = y1 + stride, y3 = y2 + stride, y4 = y3 + stride, y5 = y4 + stride;
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
    if (WIDE > 4) {
      t = v128.load_splat<u32>(y4);
      a4 = fma4(a, t, a4);
      b4 = fma4(b, t, b4);
    }
    if (WIDE == 6) {
      t = v128.load_splat<u32>(y5);
      a5 = fma4(a, t, a5);
      b5 = fma4(b, t, b5);
    }
    xT += CELLS;
    y0 += 4;
    y1 += 4;
    y2 += 4;
    y3 += 4;
    if (WIDE > 4) y4 += 4;
    if (WIDE == 6) y5 += 4;
  }
  v128.store(s, a0);
  v128.store(s, b0, 16);
  v128.store(s, a1, 32);
  v128.store(s, b1, 48);
  v128.store(s, a2, 64);
  v128.store(s, b2, 80);
  v128.store(s, a3, 96);
  v128.store(s, b3, 112);
  if (WIDE > 4) {
    v128.store(s, a4, 128);
    v128.store(s, b4, 144);
  }
  if (WIDE == 6) {
    v128.store(s, a5, 160);
    v128.store(s, b5, 176);
  }
}

/** width is a multiple of 8 (staged otherwise). `zeros`: 8 rows of zeros to start from, or 0 to start from c. */
export function addContext(
  p: usize, n: i32, y: usize, yRow: usize, width: i32, zeros: usize, c: usize, valid: i32,
): void {
  const end = y + (<usize>width << 2);
  if (valid <= 4) {
    for (; y < end; y += 32) {
      contextHalf(p, n, y, yRow, zeros ? zeros : c, c);
      c += 8 * CELLS;
    }
    return;
  }
  // Fours so that WIDE divides the rest.
  const fours = WIDE == 6 ? ((6 - width % 6) % 6) >> 1 : WIDE == 5 ? (5 - width % 5) % 5 : 0;
  for (let i = 0; i < fours; i++) {
    contextFour(p, n, y, yRow, zeros ? zeros : c, c);
    y += 16;
    c += 4 * CELLS;
  }
  while (y + <usize>WIDE * 4 < end) {
    contextWide(p, n, y, yRow, zeros ? zeros : c, c);
    y += <usize>WIDE * 4;
    c += <usize>WIDE * CELLS;
  }
  if (y < end) contextWide(p, n, y, yRow, zeros ? zeros : c, c);
}

function contextWide(p: usize, n: i32, y: usize, yRow: usize, from: usize, c: usize): void {
  let a0 = v128.load(from), b0 = v128.load(from, 16), a1 = v128.load(from, 32), b1 = v128.load(from, 48);
  let a2 = v128.load(from, 64), b2 = v128.load(from, 80), a3 = v128.load(from, 96), b3 = v128.load(from, 112);
  let a4 = f32x4.splat(0), b4 = f32x4.splat(0), a5 = f32x4.splat(0), b5 = f32x4.splat(0);
  if (WIDE > 4) {
    a4 = v128.load(from, 128);
    b4 = v128.load(from, 144);
  }
  if (WIDE == 6) {
    a5 = v128.load(from, 160);
    b5 = v128.load(from, 176);
  }
  const end = p + <usize>n * CELLS;
  while (p < end) {
    const a = v128.load(p);
    const b = v128.load(p, 16);
    let t = v128.load_splat<u32>(y);
    a0 = fma4(a, t, a0);
    b0 = fma4(b, t, b0);
    t = v128.load_splat<u32>(y, 4);
    a1 = fma4(a, t, a1);
    b1 = fma4(b, t, b1);
    t = v128.load_splat<u32>(y, 8);
    a2 = fma4(a, t, a2);
    b2 = fma4(b, t, b2);
    t = v128.load_splat<u32>(y, 12);
    a3 = fma4(a, t, a3);
    b3 = fma4(b, t, b3);
    if (WIDE > 4) {
      t = v128.load_splat<u32>(y, 16);
      a4 = fma4(a, t, a4);
      b4 = fma4(b, t, b4);
    }
    if (WIDE == 6) {
      t = v128.load_splat<u32>(y, 20);
      a5 = fma4(a, t, a5);
      b5 = fma4(b, t, b5);
    }
    p += CELLS;
    y += yRow;
  }
  v128.store(c, a0);
  v128.store(c, b0, 16);
  v128.store(c, a1, 32);
  v128.store(c, b1, 48);
  v128.store(c, a2, 64);
  v128.store(c, b2, 80);
  v128.store(c, a3, 96);
  v128.store(c, b3, 112);
  if (WIDE > 4) {
    v128.store(c, a4, 128);
    v128.store(c, b4, 144);
  }
  if (WIDE == 6) {
    v128.store(c, a5, 160);
    v128.store(c, b5, 176);
  }
}

function contextFour(p: usize, n: i32, y: usize, yRow: usize, from: usize, c: usize): void {
  let a0 = v128.load(from), b0 = v128.load(from, 16), a1 = v128.load(from, 32), b1 = v128.load(from, 48);
  let a2 = v128.load(from, 64), b2 = v128.load(from, 80), a3 = v128.load(from, 96), b3 = v128.load(from, 112);
  const end = p + <usize>n * CELLS;
  while (p < end) {
    const a = v128.load(p);
    const b = v128.load(p, 16);
    let t = v128.load_splat<u32>(y);
    a0 = fma4(a, t, a0);
    b0 = fma4(b, t, b0);
    t = v128.load_splat<u32>(y, 4);
    a1 = fma4(a, t, a1);
    b1 = fma4(b, t, b1);
    t = v128.load_splat<u32>(y, 8);
    a2 = fma4(a, t, a2);
    b2 = fma4(b, t, b2);
    t = v128.load_splat<u32>(y, 12);
    a3 = fma4(a, t, a3);
    b3 = fma4(b, t, b3);
    p += CELLS;
    y += yRow;
  }
  v128.store(c, a0);
  v128.store(c, b0, 16);
  v128.store(c, a1, 32);
  v128.store(c, b1, 48);
  v128.store(c, a2, 64);
  v128.store(c, b2, 80);
  v128.store(c, a3, 96);
  v128.store(c, b3, 112);
}

/** Eight columns of the lower four rows. */
function contextHalf(p: usize, n: i32, y: usize, yRow: usize, from: usize, c: usize): void {
  let a0 = v128.load(from), a1 = v128.load(from, 32), a2 = v128.load(from, 64), a3 = v128.load(from, 96);
  let a4 = v128.load(from, 128), a5 = v128.load(from, 160), a6 = v128.load(from, 192), a7 = v128.load(from, 224);
  const end = p + <usize>n * CELLS;
  while (p < end) {
    const a = v128.load(p);
    a0 = fma4(a, v128.load_splat<u32>(y), a0);
    a1 = fma4(a, v128.load_splat<u32>(y, 4), a1);
    a2 = fma4(a, v128.load_splat<u32>(y, 8), a2);
    a3 = fma4(a, v128.load_splat<u32>(y, 12), a3);
    a4 = fma4(a, v128.load_splat<u32>(y, 16), a4);
    a5 = fma4(a, v128.load_splat<u32>(y, 20), a5);
    a6 = fma4(a, v128.load_splat<u32>(y, 24), a6);
    a7 = fma4(a, v128.load_splat<u32>(y, 28), a7);
    p += CELLS;
    y += yRow;
  }
  v128.store(c, a0);
  v128.store(c, a1, 32);
  v128.store(c, a2, 64);
  v128.store(c, a3, 96);
  v128.store(c, a4, 128);
  v128.store(c, a5, 160);
  v128.store(c, a6, 192);
  v128.store(c, a7, 224);
}

/** addContext to c, bit for bit, but for cells whose mark [n][8] has its sign bit set: these are left out. */
export function addContextByCell(
  p: usize, marks: usize, n: i32, y: usize, yRow: usize, width: i32, c: usize,
): void {
  for (let j = 0; j < n; j++) {
    const a = v128.load(p), b = v128.load(p, 16);
    const outA = i32x4.shr_s(v128.load(marks), 31), outB = i32x4.shr_s(v128.load(marks, 16), 31);
    let to = c;
    for (let d: usize = 0; d < <usize>width << 2; d += 4) {
      const t = v128.load_splat<u32>(y + d);
      const beforeA = v128.load(to), beforeB = v128.load(to, 16);
      v128.store(to, v128.bitselect(beforeA, fma4(a, t, beforeA), outA));
      v128.store(to, v128.bitselect(beforeB, fma4(b, t, beforeB), outB), 16);
      to += CELLS;
    }
    p += CELLS;
    marks += CELLS;
    y += yRow;
  }
}

/** Whether all of y [n][width] is finite; width is a multiple of 4. */
export function allFinite(y: usize, yRow: usize, n: i32, width: i32): bool {
  let none = f32x4.splat(0);
  for (let j = 0; j < n; j++) {
    const end = y + (<usize>width << 2);
    for (let at = y; at < end; at += 16) {
      const x = v128.load(at);
      none = f32x4.add(none, f32x4.sub(x, x)); // 0, or NaN where x is not finite
    }
    y += yRow;
  }
  return !v128.any_true(f32x4.ne(none, none));
}
