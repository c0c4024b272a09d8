// Rows around the products: padded to whole vectors for reading, scaled, copied and cleared for writing.

/** Bytes of a row of `width` floats, padded to whole blocks of eight. */
// @ts-ignore: decorator
@inline export function paddedBytes(width: i32): usize {
  return <usize>((width + 7) & ~7) * 4;
}

/** Rows as the products read them: where they lie if width is a multiple of 8, else a copy padded with zeros. */
export function stageRows(x: usize, stride: usize, rows: i32, width: i32, copy: usize): usize {
  if ((width & 7) == 0) return x;
  const padded = paddedBytes(width);
  for (let r = 0; r < rows; r++) {
    const to = copy + <usize>r * padded;
    v128.store(to + padded - 32, f32x4.splat(0));
    v128.store(to + padded - 16, f32x4.splat(0));
    memory.copy(to, x + <usize>r * stride, <usize>width * 4);
  }
  return copy;
}

/** Row stride in bytes of what stageRows returned. */
// @ts-ignore: decorator
@inline export function stagedStride(stride: usize, width: i32): usize {
  return (width & 7) == 0 ? stride : paddedBytes(width);
}

/** to = from·factor: one row of `width` floats. */
export function writeRow(from: usize, to: usize, width: i32, factor: f32): void {
  const f = f32x4.splat(factor);
  let d = 0;
  for (; d + 4 <= width; d += 4) {
    v128.store(to, f32x4.mul(v128.load(from), f));
    from += 16;
    to += 16;
  }
  for (; d < width; d++) {
    store<f32>(to, load<f32>(from) * factor);
    from += 4;
    to += 4;
  }
}

export function copyRows(from: usize, fromRow: usize, to: usize, toRow: usize, rows: i32, width: i32): void {
  for (let r = 0; r < rows; r++) writeRow(from + <usize>r * fromRow, to + <usize>r * toRow, width, 1);
}

/** to[r] = factor[r]·c[..][r]: transposes four lanes of c [width][8] into `rows` (1..4) rows of `width` floats. */
export function unpackRows(c: usize, to: usize, stride: usize, rows: i32, width: i32, factor: v128): void {
  // Rows that do not exist are written first, over the last that does.
  const last = rows - 1;
  let r1 = to + <usize>min(1, last) * stride, r2 = to + <usize>min(2, last) * stride, r3 = to + <usize>min(3, last) * stride;
  let d = 0;
  for (; d + 4 <= width; d += 4) {
    const a = f32x4.mul(v128.load(c), factor);
    const b = f32x4.mul(v128.load(c, 32), factor);
    const e = f32x4.mul(v128.load(c, 64), factor);
    const f = f32x4.mul(v128.load(c, 96), factor);
    const ab0 = v128.shuffle<f32>(a, b, 0, 4, 1, 5), ab1 = v128.shuffle<f32>(a, b, 2, 6, 3, 7);
    const ef0 = v128.shuffle<f32>(e, f, 0, 4, 1, 5), ef1 = v128.shuffle<f32>(e, f, 2, 6, 3, 7);
    v128.store(r3, v128.shuffle<i64>(ab1, ef1, 1, 3));
    v128.store(r2, v128.shuffle<i64>(ab1, ef1, 0, 2));
    v128.store(r1, v128.shuffle<i64>(ab0, ef0, 1, 3));
    v128.store(to, v128.shuffle<i64>(ab0, ef0, 0, 2));
    c += 128;
    to += 16;
    r1 += 16;
    r2 += 16;
    r3 += 16;
  }
  for (; d < width; d++) {
    const a = f32x4.mul(v128.load(c), factor);
    store<f32>(r3, f32x4.extract_lane(a, 3));
    store<f32>(r2, f32x4.extract_lane(a, 2));
    store<f32>(r1, f32x4.extract_lane(a, 1));
    store<f32>(to, f32x4.extract_lane(a, 0));
    c += 32;
    to += 4;
    r1 += 4;
    r2 += 4;
    r3 += 4;
  }
}

/** to += from. */
export function addRows(from: usize, fromRow: usize, to: usize, toRow: usize, rows: i32, width: i32): void {
  for (let r = 0; r < rows; r++) addRow(from + <usize>r * fromRow, to + <usize>r * toRow, width);
}

function addRow(from: usize, to: usize, width: i32): void {
  let d = 0;
  for (; d + 4 <= width; d += 4) {
    v128.store(to, f32x4.add(v128.load(to), v128.load(from)));
    from += 16;
    to += 16;
  }
  for (; d < width; d++) {
    store<f32>(to, load<f32>(to) + load<f32>(from));
    from += 4;
    to += 4;
  }
}

export function clearRows(to: usize, stride: usize, rows: i32, width: i32): void {
  for (let r = 0; r < rows; r++) clearRow(to + <usize>r * stride, width);
}

export function clearRow(to: usize, width: i32): void {
  const end = to + (<usize>width << 2);
  for (; to + 16 <= end; to += 16) v128.store(to, f32x4.splat(0));
  for (; to < end; to += 4) store<f32>(to, 0);
}
