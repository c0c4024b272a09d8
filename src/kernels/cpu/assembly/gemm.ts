// Matrix multiplication C[m,n] = op(A)[m,k] · op(B)[k,n] (+ bias[n] or + C), float32, after Goto and van de Geijn (2008).
// B comes packed (gemmPack). So does A, or it is packed here, per part and k-block, into this thread's scratch; where one
// k-block holds the whole reduction, the rows of A lie as densely as panels would and are read in place. A part is one
// block of rows x columns of C. Every element is summed over k in order, from its bias, its old value or 0: no bit depends on
// blocks, parts or threads. Error <= 2·k·eps·(|A|·|B|).

import { packLeft } from './gemm-pack';
import { MR, NR, PANEL_ROW, PANEL_STEP, tile } from './gemm-tile';
import { argU, scratchPointer } from './runtime';

// Scratch: 64 bytes of zeros, one tile for edges, then A's panels.
export const EDGE: usize = 64;
export const PANELS: usize = 512;

/** Kernel; part = rowBlockIndex * ceil(n / columnBlock) + columnBlockIndex. rowBlock·kBlock floats must fit scratch. */
export function gemm(args: usize, part: u32): void {
  const a: usize = argU(args, 0);
  const packed: usize = argU(args, 1);
  const bias: usize = argU(args, 2);
  const c: usize = argU(args, 3);
  const m = argU(args, 4);
  const n = argU(args, 5);
  const kAll = argU(args, 6);
  const transposeA = argU(args, 7) != 0;
  const accumulate = argU(args, 8) != 0;
  const kBlock = argU(args, 9);
  const rowBlock = argU(args, 10);
  const columnBlock = argU(args, 11);
  const packedA: usize = argU(args, 12);
  const columnBlocks = (n + columnBlock - 1) / columnBlock;
  const row = (part / columnBlocks) * rowBlock;
  const column = (part % columnBlocks) * columnBlock;
  const rows = min(rowBlock, m - row);
  const columns = min(columnBlock, n - column);
  const paddedN = ((n + NR - 1) / NR) * NR;
  const paddedM = ((m + MR - 1) / MR) * MR;
  const scratch = scratchPointer();
  memory.fill(scratch, 0, EDGE);

  const to = c + ((<usize>row * n + column) << 2);
  const start = bias != 0 ? bias + (<usize>column << 2) : 0;
  const panels = scratch + PANELS;
  if (packedA == 0 && !transposeA && kAll <= kBlock) {
    const right = packed + ((<usize>column * kAll) << 2);
    rowsInPlace(a, row, kAll, m, panels, right, to, n, rows, columns, accumulate, start);
    return;
  }
  let p: u32 = 0;
  do {
    const k = min(kBlock, kAll - p);
    let left = panels;
    if (packedA != 0) left = packedA + ((<usize>p * paddedM + <usize>row * k) << 2);
    else packLeft(a, m, kAll, !transposeA, row, rows, p, k, left);
    const right = packed + ((<usize>p * paddedN + <usize>column * k) << 2);
    block(left, right, to, n, rows, columns, k, accumulate || p != 0, p == 0 ? start : 0);
    p += k;
  } while (p < kAll);
}

/** Rows of A in place; those that do not fill a tile are packed, padded with zeros. */
function rowsInPlace(
  a: usize,
  first: u32,
  k: u32,
  m: u32,
  edge: usize,
  right: usize,
  c: usize,
  n: u32,
  rows: u32,
  columns: u32,
  accumulate: bool,
  bias: usize,
): void {
  const cut = rows % MR;
  if (cut != 0) packLeft(a, m, k, true, first + rows - cut, cut, 0, k, edge);
  const stride: usize = (<usize>k) << 2;
  blockOf(a + <usize>first * stride, stride, 4, edge, right, c, n, rows, columns, k, accumulate, bias);
}

/** One k-block of a part, A packed; scratch begins with EDGE zero bytes. */
export function block(
  left: usize,
  right: usize,
  c: usize,
  n: u32,
  rows: u32,
  columns: u32,
  k: u32,
  accumulate: bool,
  bias: usize,
): void {
  const edge = left + ((<usize>(rows - (rows % MR)) * k) << 2);
  blockOf(left, PANEL_ROW, PANEL_STEP, edge, right, c, n, rows, columns, k, accumulate, bias);
}

/**
 * One k-block of a part: whole tiles of A with its strides as in tile(), the rest in the packed panel `edge`.
 * Panels of B outside, so that one stays in the first-level cache for all panels of A.
 */
function blockOf(
  left: usize,
  row: usize,
  step: usize,
  edge: usize,
  right: usize,
  c: usize,
  n: u32,
  rows: u32,
  columns: u32,
  k: u32,
  accumulate: bool,
  bias: usize,
): void {
  const scratch = scratchPointer();
  const stride: usize = (<usize>n) << 2;
  const aStep: usize = (<usize>(k * MR)) << 2;
  const bStep: usize = (<usize>(k * NR)) << 2;
  const direct = !accumulate || bias == 0;
  const cut = rows % MR;
  for (let j: u32 = 0; j < columns; j += NR) {
    let a = left;
    let to = c + ((<usize>j) << 2);
    const count = min(NR, columns - j);
    const start = bias != 0 ? bias + ((<usize>j) << 2) : scratch;
    const add = bias != 0 ? start : 0;
    for (let i = rows / MR; i != 0; i--) {
      if (direct && count == NR) {
        tile(a, row, step, right, k, accumulate ? to : start, accumulate ? stride : 0, to, stride);
      } else edgeTile(a, row, step, right, k, to, stride, MR, count, accumulate, add);
      a += aStep;
      to += stride * MR;
    }
    if (cut != 0) edgeTile(edge, PANEL_ROW, PANEL_STEP, right, k, to, stride, cut, count, accumulate, add);
    right += bStep;
  }
}

/** A tile that C cuts off, or that has both bias and old values: computed in scratch, valid part copied. */
function edgeTile(
  a: usize,
  row: usize,
  step: usize,
  b: usize,
  k: u32,
  c: usize,
  stride: usize,
  rows: u32,
  columns: u32,
  accumulate: bool,
  bias: usize,
): void {
  const edge = scratchPointer() + EDGE;
  for (let i: u32 = 0; i < MR; i++) {
    for (let j: u32 = 0; j < NR; j++) {
      const at: usize = (<usize>j) << 2;
      let value: f32 = 0;
      if (i < rows && j < columns) {
        if (accumulate) value = load<f32>(c + <usize>i * stride + at);
        if (bias != 0) value += load<f32>(bias + at);
      }
      store<f32>(edge + ((i * NR) << 2) + at, value);
    }
  }
  tile(a, row, step, b, k, edge, NR << 2, edge, NR << 2);
  for (let i: u32 = 0; i < rows; i++) {
    for (let j: u32 = 0; j < columns; j++) {
      const at: usize = (<usize>j) << 2;
      store<f32>(c + <usize>i * stride + at, load<f32>(edge + ((i * NR) << 2) + at));
    }
  }
}

/**
 * Kernel for benchmarks: `repeats` register tiles on panels that stay in the first-level cache, the machine's peak.
 * a [k][MR], b [k][NR] packed. c takes a tile [MR,NR] every 64 floats, one per part: the sum of all repeats.
 */
export function gemmPeak(args: usize, part: u32): void {
  const a: usize = argU(args, 0);
  const b: usize = argU(args, 1);
  const c: usize = argU(args, 2) + (<usize>part << 8);
  const k = argU(args, 3);
  for (let r = argU(args, 4); r != 0; r--) {
    tile(a, PANEL_ROW, PANEL_STEP, b, k, c, NR << 2, c, NR << 2);
  };
}
