// Matrix multiplication of engine tensors: checks shapes, chooses blocks, issues the kernels. Not differentiable.
// Blocks and the choice of kernel follow from shapes alone, so the bits depend on neither threads nor run.
import { DTypeError, EngineError, ShapeError } from '../../tensor/errors.js';
import type { Tensor } from '../types.js';

export interface MatmulOptions {
  /** a is [K,M]. */
  transposeA?: boolean;
  /** b is [N,K]: the layout of a layer's weight. */
  transposeB?: boolean;
  /** [N], added to every row. */
  bias?: Tensor;
  /** [M,N], takes the result; must not overlap the operands. */
  out?: Tensor;
  /** Adds to `out` instead of overwriting it. */
  accumulate?: boolean;
}

/** Reduction elements per block: a panel of each operand fits the first-level cache together. */
const K_BLOCK = 256;
/** Up to so many rows, b [N,K] is read in place instead of packed. */
const DOT_ROWS = 24;
/** Divisible by the width of every build's register tile. */
const PANEL = 24;

/**
 * C[M,N] = op(a)·op(b) (+ bias) (+ out). a [M,K] or, transposed, [K,M]; b [K,N] or, transposed, [N,K]; all float32.
 * M, N or K of 0 is legal; K = 0 leaves the bias, or `out` as it was, or zeros.
 * Error of an element <= 2·K·2⁻²⁴·Σ|a||b|. Throws ShapeError, DTypeError, EngineError (tensors of several engines).
 */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, bias, accumulate = false } = options;
  const engine = a.engine;
  for (const [name, tensor] of Object.entries({ a, b, bias, out: options.out })) {
    if (tensor === undefined) continue;
    if (tensor.dtype !== 'float32')
      throw new DTypeError(`matmul: ${name} is ${tensor.dtype}, expected float32`);
    if (tensor.engine !== engine) throw new EngineError(`matmul: ${name} belongs to another engine than a`);
  }
  const [m, k] = sides('a', a, transposeA);
  const [kOfB, n] = sides('b', b, transposeB);
  if (k !== kOfB)
    throw new ShapeError(`matmul: a reduces over ${k} elements, b over ${kOfB}; they must be equal`);
  expectShape('bias', bias, [n]);
  expectShape('out', options.out, [m, n]);
  if (accumulate && options.out === undefined) throw new ShapeError('matmul: accumulate needs out, got none');

  const out = options.out ?? engine.empty([m, n]);
  if (m === 0 || n === 0) return out;
  const job: Job = { m, n, k, transposeA, transposeB, bias: bias?.pointer ?? 0, accumulate };
  if (m <= DOT_ROWS && transposeB && (!transposeA || m === 1)) multiplyRows(a, b, out, job);
  else multiplyPacked(a, b, out, job);
  return out;
}

interface Job {
  m: number;
  n: number;
  k: number;
  transposeA: boolean;
  transposeB: boolean;
  bias: number;
  accumulate: boolean;
}

/** Few rows: dot products over b in place. */
function multiplyRows(a: Tensor, b: Tensor, out: Tensor, job: Job): void {
  const { m, n, k, bias } = job;
  // A part should outlast its dispatch: about 64 thousand products, and a whole number of kernel steps.
  const columnBlock = Math.max(4, Math.ceil(65536 / (m * Math.max(k, 1)) / 4) * 4);
  a.engine.run(
    'gemmDot',
    { a: a.pointer, b: b.pointer, bias, c: out.pointer, m, n, k, accumulate: +job.accumulate, columnBlock },
    Math.ceil(n / columnBlock),
  );
}

/** Packs b once, in parallel, then multiplies block by block. */
function multiplyPacked(a: Tensor, b: Tensor, out: Tensor, job: Job): void {
  const { m, n, k, bias } = job;
  const packed = a.engine.empty([Math.max(1, k) * Math.ceil(n / PANEL) * PANEL]);
  const kBlocks = Math.ceil(k / K_BLOCK);
  const group = 4;
  // Panels are at least 8 wide; parts beyond the last panel of a wider tile find nothing to do.
  if (kBlocks > 0) {
    a.engine.run(
      'gemmPack',
      { b: b.pointer, packed: packed.pointer, n, k, transposeB: +job.transposeB, kBlock: K_BLOCK, group },
      kBlocks * Math.ceil(Math.ceil(n / 8) / group),
    );
  }
  const { rowBlock, columnBlock } = blocks(m, n);
  a.engine.run(
    'gemm',
    {
      a: a.pointer,
      packed: packed.pointer,
      bias,
      c: out.pointer,
      m,
      n,
      k,
      transposeA: +job.transposeA,
      accumulate: +job.accumulate,
      kBlock: K_BLOCK,
      rowBlock,
      columnBlock,
    },
    Math.ceil(m / rowBlock) * Math.ceil(n / columnBlock),
  );
  packed.dispose();
}

/** Blocks of the output: large enough to repay packing a's rows, small enough to give threads even shares. */
function blocks(m: number, n: number): { rowBlock: number; columnBlock: number } {
  let rowBlock = 96;
  let columnBlock = Math.ceil(n / PANEL) * PANEL;
  const parts = () => Math.ceil(m / rowBlock) * Math.ceil(n / columnBlock);
  while (parts() < 32 && rowBlock > PANEL) rowBlock /= 2;
  while (parts() < 32 && columnBlock > 96) columnBlock = Math.ceil(columnBlock / 2 / PANEL) * PANEL;
  return { rowBlock, columnBlock };
}

/** Rows and columns of op(tensor). */
function sides(name: string, tensor: Tensor, transposed: boolean): readonly [number, number] {
  const [rows, columns] = tensor.shape;
  if (tensor.shape.length !== 2)
    throw new ShapeError(`matmul: ${name} has shape [${tensor.shape}], expected rank 2`);
  return transposed ? [columns, rows] : [rows, columns];
}

function expectShape(name: string, tensor: Tensor | undefined, shape: readonly number[]): void {
  if (
    tensor === undefined ||
    (tensor.shape.length === shape.length && shape.every((d, i) => d === tensor.shape[i]))
  )
    return;
  throw new ShapeError(`matmul: ${name} has shape [${tensor.shape}], expected [${shape}]`);
}
