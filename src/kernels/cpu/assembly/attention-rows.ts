// Rows around the products: padded to whole vectors for reading, scaled, copied and cleared for writing.

/** Rows as the products read them: where they lie if width is a multiple of 8, else a copy padded with zeros. */
export function stageRows(x: usize, stride: usize, rows: i32, width: i32, copy: usize): usize {
  if ((width & 7) == 0) return x;
  const padded = <usize>((width + 7) & ~7) * 4;
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
  return (width & 7) == 0 ? stride : <usize>((width + 7) & ~7) * 4;
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

export function clearRows(to: usize, stride: usize, rows: i32, width: i32): void {
  for (let r = 0; r < rows; r++) {
    const end = to + (<usize>width << 2);
    let at = to;
    for (; at + 16 <= end; at += 16) v128.store(at, f32x4.splat(0));
    for (; at < end; at += 4) store<f32>(at, 0);
    to += stride;
  }
}
