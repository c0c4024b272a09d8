// Raw ops over rows and columns of matrices: layer normalisation, its gradient, column sums. Not differentiable.
import { ShapeError } from '../../tensor/errors.js';
import type { Tensor } from '../types.js';
import { expectShape, expectTensors, matrixShape, rowParts } from './checks.js';

/** Columns that one part of `columnReduce` adds up; the kernel says the same. */
const REDUCE_COLUMNS = 128;
const LEAST_BLOCK_ROWS = 64;
const MOST_BLOCKS = 64;

/** Rows of one block of a column sum: from the shape alone, so that the sums' bits are. */
function blocksOf(rows: number): { blockRows: number; blocks: number } {
  const blockRows = Math.max(LEAST_BLOCK_ROWS, Math.ceil(rows / MOST_BLOCKS));
  return { blockRows, blocks: Math.ceil(rows / blockRows) };
}

/**
 * y = (x − mean)·rstd·weight + bias over each row of x [R,C]; rstd = 1/√(variance + eps), the variance over C.
 * weight, bias [C]; mean, rstd [R] are kept for the gradient.
 */
export function layerNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  eps: number,
): { y: Tensor; mean: Tensor; rstd: Tensor } {
  const [rows, columns] = rowsOf('layerNorm', x);
  expectTensors('layerNorm', 'float32', { x, weight, bias });
  expectShape('layerNorm', 'weight', weight, [columns]);
  expectShape('layerNorm', 'bias', bias, [columns]);
  const { engine } = x;
  const [y, mean, rstd] = [engine.empty(x.shape), engine.empty([rows]), engine.empty([rows])];
  const { rowsPerPart, parts } = rowParts(rows, columns);
  const inputs = { x: x.pointer, weight: weight.pointer, bias: bias.pointer };
  const outputs = { y: y.pointer, mean: mean.pointer, rstd: rstd.pointer };
  engine.run('layerNorm', { ...inputs, ...outputs, rows, columns, rowsPerPart, eps }, parts);
  return { y, mean, rstd };
}

/**
 * Gradients of layerNorm: dx [R,C], dWeight [C], dBias [C]; mean and rstd as the forward gave them.
 * With `into`, dWeight and dBias are added to those tensors, which come back.
 */
export function layerNormBackward(
  dy: Tensor,
  x: Tensor,
  weight: Tensor,
  mean: Tensor,
  rstd: Tensor,
  into?: { dWeight: Tensor; dBias: Tensor },
): { dx: Tensor; dWeight: Tensor; dBias: Tensor } {
  const [rows, columns] = rowsOf('layerNormBackward', x);
  expectTensors('layerNormBackward', 'float32', {
    dy,
    x,
    weight,
    mean,
    rstd,
    'into.dWeight': into?.dWeight,
    'into.dBias': into?.dBias,
  });
  expectShape('layerNormBackward', 'dy', dy, x.shape);
  expectShape('layerNormBackward', 'weight', weight, [columns]);
  if (into) {
    expectShape('layerNormBackward', 'into.dWeight', into.dWeight, [columns]);
    expectShape('layerNormBackward', 'into.dBias', into.dBias, [columns]);
  }
  expectShape('layerNormBackward', 'mean', mean, [rows]);
  expectShape('layerNormBackward', 'rstd', rstd, [rows]);
  const { engine } = x;
  const { blockRows, blocks } = blocksOf(rows);
  const padded = Math.ceil(columns / 4) * 4;
  const dx = engine.empty(x.shape);
  const dWeight = into?.dWeight ?? engine.empty([columns]);
  const dBias = into?.dBias ?? engine.empty([columns]);
  const partial = engine.empty([blocks, 2 * padded]);
  const inputs = {
    dy: dy.pointer,
    x: x.pointer,
    weight: weight.pointer,
    mean: mean.pointer,
    rstd: rstd.pointer,
  };
  const outputs = { dx: dx.pointer, partial: partial.pointer };
  engine.run('layerNormBackward', { ...inputs, ...outputs, rows, columns, blockRows, padded }, blocks);
  reduce(partial, 0, 2 * padded, blocks, dWeight, into !== undefined);
  reduce(partial, padded, 2 * padded, blocks, dBias, into !== undefined);
  partial.dispose();
  return { dx, dWeight, dBias };
}

/** Σ over rows of x [R,C] into [C]: a new tensor, or `out`, which `accumulate` adds to. */
export function columnSum(x: Tensor, out?: Tensor, accumulate = false): Tensor {
  const [rows, columns] = matrixShape('columnSum', 'x', x);
  expectTensors('columnSum', 'float32', { x, out });
  if (out) expectShape('columnSum', 'out', out, [columns]);
  else if (accumulate) throw new ShapeError('columnSum: accumulate needs out, got none');
  const { engine } = x;
  const sum = out ?? engine.empty([columns]);
  const { blockRows, blocks } = blocksOf(rows);
  const padded = Math.ceil(columns / 4) * 4;
  const partial = engine.empty([blocks, padded]);
  const slots = { x: x.pointer, partial: partial.pointer, rows, columns, blockRows, padded };
  engine.run('columnSum', slots, blocks);
  reduce(partial, 0, padded, blocks, sum, accumulate);
  partial.dispose();
  return sum;
}

/** out (+)= Σ over blocks of a partial row that starts at element `offset`. */
function reduce(
  partial: Tensor,
  offset: number,
  stride: number,
  blocks: number,
  out: Tensor,
  accumulate: boolean,
): void {
  const from = { partial: partial.pointer + 4 * offset, stride, blocks };
  const slots = { ...from, out: out.pointer, columns: out.size, accumulate: Number(accumulate) };
  out.engine.run('columnReduce', slots, Math.ceil(out.size / REDUCE_COLUMNS));
}

/** [rows, columns >= 1] of x. */
function rowsOf(op: string, x: Tensor): [number, number] {
  const [rows, columns] = matrixShape(op, 'x', x);
  if (columns === 0) throw new ShapeError(`${op}: x has shape [${rows}, 0], expected at least one column`);
  return [rows, columns];
}
