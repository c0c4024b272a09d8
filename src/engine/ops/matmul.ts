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
const K_BLOCK = 448;
/** Up to so many rows, b [N,K] is read in place instead of packed. */
const DOT_ROWS = 40;
/** Panels that one part of packing makes. */
const PACK_GROUP = 8;
/** Register tiles per block of rows: a's panels of a block stay in the second-level cache. */
const ROW_TILES = 16;
/** Fewer tiles on a side of a block are not worth the loads that they share. */
const LEAST_TILES = 4;
/** Bytes of a's rows that a block reads in place: they stay in the first-level cache beside a panel of b. */
const IN_PLACE_BYTES = 2 ** 15;
/** So many parts let up to sixteen threads share evenly. */
const MIN_PARTS = 32;
/** Fewer products than this are not worth cutting into two parts: about ten microseconds. */
const MIN_PRODUCTS = 2 ** 19;

/** A reduction at least so long, with a result at most so large, is cut into chunks. */
const SPLIT_K = 2048;
const SPLIT_SIZE = 2 ** 18;
const CHUNKS = 8;
/** Rows and columns of one part at most, so that packed panels fit a thread's scratch memory. */
const SPAN = 256;

interface Tile {
  rows: number;
  columns: number;
}
/** The register tile of each build: MR and NR in assembly/gemm-tile.ts. */
const TILES: Record<'relaxed' | 'strict', Tile> = {
  relaxed: { rows: 6, columns: 8 },
  strict: { rows: 5, columns: 8 },
};

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
  else if (k >= SPLIT_K && m * n <= SPLIT_SIZE) multiplySplit(a, b, out, job);
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

/** Long reduction, small result: chunks of the reduction side by side, then their sum in order. */
function multiplySplit(a: Tensor, b: Tensor, out: Tensor, job: Job): void {
  const { m, n, k, bias } = job;
  const tile = TILES[a.engine.build];
  const chunk = Math.ceil(k / CHUNKS);
  const count = Math.ceil(k / chunk);
  const rowSpan = evenly(m, SPAN, tile.rows);
  const columnSpan = evenly(n, SPAN, tile.columns);
  const partials = a.engine.empty([count, m, n]);
  a.engine.run(
    'gemmSplit',
    {
      a: a.pointer,
      b: b.pointer,
      partials: partials.pointer,
      m,
      n,
      k,
      transposeA: +job.transposeA,
      transposeB: +job.transposeB,
      chunk,
      kBlock: evenly(chunk, K_BLOCK, 4),
      rowSpan,
      columnSpan,
      rowBlock: ROW_TILES * tile.rows,
    },
    count * Math.ceil(m / rowSpan) * Math.ceil(n / columnSpan),
  );
  const rowBlock = Math.ceil(8192 / n);
  const args = { partials: partials.pointer, bias, c: out.pointer, m, n, count, rowBlock };
  a.engine.run('gemmSum', { ...args, accumulate: +job.accumulate }, Math.ceil(m / rowBlock));
  partials.dispose();
}

/** Packs b once, in parallel, then multiplies block by block. */
function multiplyPacked(a: Tensor, b: Tensor, out: Tensor, job: Job): void {
  const { m, n, k, bias } = job;
  const tile = TILES[a.engine.build];
  const kBlock = evenly(Math.max(1, k), K_BLOCK, 4);
  // One block of the reduction holds rows of a whole: the kernel reads them in place.
  const inPlace = !job.transposeA && k <= kBlock;
  const fitting = Math.floor(IN_PLACE_BYTES / (4 * tile.rows * k));
  const rowTiles = inPlace ? Math.max(LEAST_TILES, Math.min(ROW_TILES, fitting)) : ROW_TILES;
  const { rowBlock, columnBlock } = blocks(m, n, k, tile, rowTiles);
  const packed = pack(b, n, k, job.transposeB, kBlock, tile, 'columns');
  // With several blocks in a row of blocks, each would pack the same rows of a again.
  const packedA =
    columnBlock < n && !inPlace ? pack(a, m, k, !job.transposeA, kBlock, tile, 'rows') : undefined;
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
      kBlock,
      rowBlock,
      columnBlock,
      packedA: packedA?.pointer ?? 0,
    },
    Math.ceil(m / rowBlock) * Math.ceil(n / columnBlock),
  );
  packedA?.dispose();
  packed.dispose();
}

/** Panels of an operand, n its side that is not reduced; along: the reduction runs along its rows. */
function pack(
  source: Tensor,
  n: number,
  k: number,
  along: boolean,
  kBlock: number,
  tile: Tile,
  side: keyof Tile,
): Tensor {
  const panels = Math.ceil(n / tile[side]);
  const packed = source.engine.empty([Math.max(1, k * panels * tile[side])]);
  const args = { source: source.pointer, packed: packed.pointer, n, k, along: +along, kBlock };
  const parts = Math.ceil(k / kBlock) * Math.ceil(panels / PACK_GROUP);
  if (parts > 0)
    source.engine.run('gemmPack', { ...args, group: PACK_GROUP, left: +(side === 'rows') }, parts);
  return packed;
}

/** Blocks of the output: large enough to repay packing a's rows, small enough to give threads even shares. */
function blocks(
  m: number,
  n: number,
  k: number,
  tile: Tile,
  rowTiles: number,
): { rowBlock: number; columnBlock: number } {
  let rows = rowTiles;
  let columns = Math.ceil(n / tile.columns);
  const divide = () =>
    Math.ceil(m / (rows * tile.rows)) * Math.ceil(n / (columns * tile.columns)) < MIN_PARTS &&
    rows * tile.rows * columns * tile.columns * k > MIN_PRODUCTS;
  while (divide() && rows > LEAST_TILES) {
    rows = Math.max(LEAST_TILES, Math.ceil(rows / 2));
  }
  while (divide() && columns > LEAST_TILES) columns = Math.ceil(columns / 2);
  return { rowBlock: rows * tile.rows, columnBlock: columns * tile.columns };
}

/** Size of equal blocks, at most `limit` and a multiple of `step`, that cover `total`. */
function evenly(total: number, limit: number, step: number): number {
  return Math.ceil(total / Math.ceil(total / limit) / step) * step;
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
