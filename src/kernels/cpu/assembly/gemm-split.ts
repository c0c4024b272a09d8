// Matrix multiplication with a long reduction and a small result, such as a weight's gradient: the reduction is cut into
// chunks, one part each, which pack and multiply within the second-level cache and leave partial results; gemmSum adds
// those in order. The number of chunks follows from the shape, so bits do not depend on threads.
import { EDGE, PANELS, block } from './gemm';
import { packLeft, packRight } from './gemm-pack';
import { NR } from './gemm-tile';
import { argU, scratchPointer } from './runtime';

/**
 * Kernel: partials[i] [m,n] = op(A)·op(B) over reduction elements [i·chunk, (i + 1)·chunk).
 * Part = a span of rows x a span of columns of one chunk; part index = (i · rowSpans + rowIndex) · columnSpans + columnIndex.
 * Scratch holds one k-block of columnSpan columns and of rowBlock rows.
 */
export function gemmSplit(args: usize, part: u32): void {
  const a: usize = argU(args, 0);
  const b: usize = argU(args, 1);
  const partials: usize = argU(args, 2);
  const m = argU(args, 3);
  const n = argU(args, 4);
  const kAll = argU(args, 5);
  const transposeA = argU(args, 6) != 0;
  const transposeB = argU(args, 7) != 0;
  const chunk = argU(args, 8);
  const kBlock = argU(args, 9);
  const rowSpan = argU(args, 10);
  const columnSpan = argU(args, 11);
  const rowBlock = argU(args, 12);
  const columnSpans = (n + columnSpan - 1) / columnSpan;
  const rowSpans = (m + rowSpan - 1) / rowSpan;
  const column = (part % columnSpans) * columnSpan;
  const columns = min(columnSpan, n - column);
  const rest = part / columnSpans;
  const firstRow = (rest % rowSpans) * rowSpan;
  const endRow = min(m, firstRow + rowSpan);
  const index = rest / rowSpans;
  const partial = partials + ((<usize>index * m * n + column) << 2);
  const right = scratchPointer() + PANELS;
  const left = right + ((<usize>((columns + NR - 1) / NR) * NR * kBlock) << 2);
  memory.fill(scratchPointer(), 0, EDGE);

  const start = index * chunk;
  const end = min(kAll, start + chunk);
  let p = start;
  do {
    const k = min(kBlock, end - p);
    packRight(b, n, kAll, transposeB, column, columns, p, k, right);
    for (let row = firstRow; row < endRow; row += rowBlock) {
      const rows = min(rowBlock, endRow - row);
      packLeft(a, m, kAll, !transposeA, row, rows, p, k, left);
      block(left, right, partial + ((<usize>row * n) << 2), n, rows, columns, k, p != start, 0);
    }
    p += k;
  } while (p < end);
}

/**
 * Kernel: c = partials[0] + … + partials[count - 1] + bias (+ c), element by element in this order.
 * Part = `rowBlock` rows of c [m,n].
 */
export function gemmSum(args: usize, part: u32): void {
  const partials: usize = argU(args, 0);
  const bias: usize = argU(args, 1);
  const c: usize = argU(args, 2);
  const m = argU(args, 3);
  const n = argU(args, 4);
  const count = argU(args, 5);
  const accumulate = argU(args, 6) != 0;
  const rowBlock = argU(args, 7);
  const row = part * rowBlock;
  const end = min(m, row + rowBlock);
  const step: usize = (<usize>m * n) << 2;
  for (let i = row; i < end; i++) {
    const at: usize = (<usize>i * n) << 2;
    sumRow(partials + at, step, count, bias, c + at, n, accumulate);
  }
}

function sumRow(from: usize, step: usize, count: u32, bias: usize, to: usize, n: u32, accumulate: bool): void {
  let left = n;
  while (left >= 4) {
    let sum = v128.load(from);
    let at = from;
    for (let s: u32 = 1; s < count; s++) {
      at += step;
      sum = f32x4.add(sum, v128.load(at));
    }
    if (bias != 0) {
      sum = f32x4.add(sum, v128.load(bias));
      bias += 16;
    }
    if (accumulate) sum = f32x4.add(sum, v128.load(to));
    v128.store(to, sum);
    from += 16;
    to += 16;
    left -= 4;
  }
  while (left != 0) {
    let sum = load<f32>(from);
    let at = from;
    for (let s: u32 = 1; s < count; s++) {
      at += step;
      sum += load<f32>(at);
    }
    if (bias != 0) {
      sum += load<f32>(bias);
      bias += 4;
    }
    if (accumulate) sum += load<f32>(to);
    store<f32>(to, sum);
    from += 4;
    to += 4;
    left--;
  }
}
