// From a part of a validated problem to a call of the kernels: copies what the part needs into an engine. Knows where
// each operand's piece lies in the caller's arrays, and what the kernels do not serve.
import type { AttentionProblem, CellTensor, Dropout, RowLayout } from '../attention/problem.js';
import type { AttentionCall, AttentionStatistics, Cells, Operand } from '../engine/ops/attention.js';
import type { Engine, Tensor } from '../engine/types.js';
import { LimitError } from '../tensor/errors.js';
import { formatShape } from '../tensor/host.js';
import { type Box, blockOf, upload } from './boxes.js';
import type { Part, Range } from './parts.js';

/** Kernels clamp the diagonal to ±2^29, beyond every index; distances from it would come out wrong. */
const FAR = 2 ** 29;

/** Why the kernels do not serve a problem, or undefined where they do. */
export function unservedReason(p: AttentionProblem): string | undefined {
  const measured = p.alibi !== undefined || p.window[0] >= 0 || p.window[1] >= 0;
  // A part's own diagonal is as much further away as its rows and keys begin later.
  if (measured && p.diagonal.some((o) => Math.abs(o) + Math.max(p.Lq, p.Lk) >= FAR)) {
    return `a diagonal beyond ±2^29 together with ${p.alibi ? 'alibi' : 'window'}`;
  }
  return undefined;
}

/** A part with one range of its keys. */
export interface Piece extends Omit<Part, 'keys'> {
  readonly keys?: Range;
}

type Slopes = NonNullable<AttentionProblem['alibi']>;

const length = ([from, to]: Range) => to - from;

/** Rows [from, to) and heads of an operand, in its own order, whose strides the kernels then see as dense. */
export function rowBox(p: AttentionProblem, x: RowLayout, batches: Range, heads: Range, rows?: Range): Box {
  const width = [x.shape[x.shape.length - 1], 1] as const;
  const within = heads[0] * x.head;
  if (rows === undefined) {
    // Packed sequences follow each other.
    const [first, last] = [x.offsets[batches[0]], endOf(p, x, batches[1])];
    return {
      starts: [first + within],
      dimensions: [[(last - first) / x.row, x.row], [length(heads), x.head], width],
    };
  }
  const starts = distinct(x.offsets, batches).map((at) => at + within + rows[0] * x.row);
  const [byHead, byRow] = [[length(heads), x.head] as const, [length(rows), x.row] as const];
  return { starts, dimensions: p.layout === 'bhld' ? [byHead, byRow, width] : [byRow, byHead, width] };
}

function endOf(p: AttentionProblem, x: RowLayout, b: number): number {
  return b < p.B ? x.offsets[b] : x.shape[0] * x.row;
}

/** Where the batch entries lie; once where they are all the same. */
function distinct(offsets: readonly number[], [from, to]: Range): number[] {
  const own = offsets.slice(from, to);
  return own.every((at) => at === own[0]) ? own.slice(0, 1) : own;
}

/** The strides of a tensor that holds a box of rows. */
export function rowOperand(p: AttentionProblem, tensor: Tensor, box: Box): Operand {
  const [, [inner], [width]] = box.dimensions;
  const batch = box.starts.length > 1 ? blockOf(box) : 0;
  const [head, row] = p.layout === 'bhld' ? [inner * width, width] : [width, inner * width];
  return { tensor, offset: 0, batch, head, row };
}

/** The cells of a piece; broadcast dimensions once. */
export function cellBox(p: AttentionProblem, x: CellTensor, { batches, heads, ...piece }: Piece): Box {
  const { rows = [0, p.Lq], keys = [0, p.Lk] } = piece;
  const within = heads[0] * x.head + rows[0] * x.query + keys[0] * x.key;
  const dimension = (range: Range, stride: number) => [stride === 0 ? 1 : length(range), stride] as const;
  return {
    starts: distinct(x.offsets, batches).map((at) => at + within),
    dimensions: [dimension(heads, x.head), dimension(rows, x.query), dimension(keys, x.key)],
  };
}

function cellsOf(tensor: Tensor, box: Box): Cells {
  const [[heads], [rows], [keys]] = box.dimensions;
  const batch = box.starts.length > 1 ? heads * rows * keys : 0;
  const [byHead, byRow, byKey] = box.dimensions.map(([, stride]) => +(stride !== 0));
  return { tensor, strides: [batch, byHead * rows * keys, byRow * keys, byKey] };
}

/** The row statistics of a piece, [batches, heads, rows] or packed [rows, heads]. */
export function statisticBox(p: AttentionProblem, { batches, heads, rows }: Piece): Box {
  const { offsets, head, row } = p.statistics;
  if (rows === undefined) {
    const [from, to] = [p.packed!.q[batches[0]], p.packed!.q[batches[1]]];
    return {
      starts: [offsets[batches[0]]],
      dimensions: [
        [to - from, row],
        [length(heads), head],
      ],
    };
  }
  const starts = offsets.slice(...batches).map((at) => at + heads[0] * head + rows[0] * row);
  return {
    starts,
    dimensions: [
      [length(heads), head],
      [length(rows), row],
    ],
  };
}

/** Copies an operand's piece in; LimitError names it where the engine has no memory. */
export function uploadRows(
  engine: Engine,
  p: AttentionProblem,
  name: 'q' | 'k' | 'v',
  piece: Piece,
): Operand {
  const { tensor, ...layout } = p[name];
  const [heads, rows] = name === 'q' ? [piece.heads, piece.rows] : [piece.keyHeads, piece.keys];
  const box = rowBox(p, layout, piece.batches, heads, rows);
  return rowOperand(
    p,
    named(name, tensor, () => upload(engine, tensor, box)),
    box,
  );
}

/** Runs `make`; its LimitError says for which operand. */
export function named<T>(name: string, { shape }: { shape: readonly number[] }, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof LimitError)) throw error;
    throw new LimitError(
      `attention: ${name} of shape ${formatShape(shape)} finds no memory: ${error.message}`,
    );
  }
}

function uploadCells(engine: Engine, p: AttentionProblem, name: string, x: CellTensor, piece: Piece): Cells {
  const box = cellBox(p, x, piece);
  return cellsOf(
    named(name, x.tensor, () => upload(engine, x.tensor, box, { bias: name === 'bias' })),
    box,
  );
}

/** Keys and values of a piece, as they lie in the engine. */
export interface KeyRows {
  k: Operand;
  v: Operand;
}

/** Keys and values of the piece at work. They stay in the engine while pieces that follow read the same. */
export class KeyHolder {
  private held: { piece: Piece; rows: KeyRows } | undefined;

  /** `values: false` leaves v out, for calls that only weigh. */
  constructor(
    private readonly engine: Engine,
    private readonly problem: AttentionProblem,
    private readonly values = true,
  ) {}

  of(piece: Piece): KeyRows {
    const { engine, problem, values } = this;
    if (this.held && sameKeys(this.held.piece, piece)) return this.held.rows;
    this.dispose();
    const k = uploadRows(engine, problem, 'k', piece);
    const v = values ? uploadRows(engine, problem, 'v', piece) : k;
    engine.keep(k.tensor);
    engine.keep(v.tensor);
    this.held = { piece, rows: { k, v } };
    return this.held.rows;
  }

  dispose(): void {
    this.held?.rows.k.tensor.dispose();
    this.held?.rows.v.tensor.dispose();
    this.held = undefined;
  }
}

function sameKeys(a: Piece, b: Piece): boolean {
  const same = (x?: Range, y?: Range) => x?.[0] === y?.[0] && x?.[1] === y?.[1];
  return same(a.batches, b.batches) && same(a.keyHeads, b.keyHeads) && same(a.keys, b.keys);
}

/** The call that computes a piece; `q` where the queries lie in the engine already. Sinks belong to one range of a row's keys alone: `sinks` tells whether to this. */
export function uploadPiece(
  engine: Engine,
  p: AttentionProblem,
  piece: Piece,
  { k, v, q }: KeyRows & { q?: Operand },
  { sinks = true } = {},
): AttentionCall {
  const { D, Dv, scale, softcap, causal, window } = p;
  const { batches, heads, keyHeads, rows, keys } = piece;
  const cells = (name: string, x?: CellTensor) => x && uploadCells(engine, p, name, x, piece);
  return {
    ...{ D, Dv, scale, softcap, causal, window, k, v },
    q: q ?? uploadRows(engine, p, 'q', piece),
    B: length(batches),
    H: length(heads),
    Hkv: length(keyHeads),
    Lq: rows ? length(rows) : p.Lq,
    Lk: keys ? length(keys) : p.Lk,
    offset: uploadDiagonal(engine, p, piece),
    keyLengths: p.keyLengths && uploadLengths(engine, p, piece),
    mask: cells('mask', p.mask),
    bias: cells('bias', p.bias),
    alibi: p.alibi && uploadSlopes(engine, p.alibi, piece),
    sinks: sinks && p.sinks ? upload(engine, p.sinks, headBox(heads)) : undefined,
    dropout: p.dropout && dropoutOf(engine, p, p.dropout, piece),
    packed: rows ? undefined : uploadStarts(engine, p.packed!, batches),
  };
}

/** Row maxima and sums of a piece. */
export function uploadStatistics(
  engine: Engine,
  p: AttentionProblem,
  { rowMax, rowSum }: { rowMax: Float32Array | Float64Array; rowSum: Float32Array | Float64Array },
  piece: Piece,
): AttentionStatistics {
  const box = statisticBox(p, piece);
  return { rowMax: uploadNumbers(engine, rowMax, box), rowSum: uploadNumbers(engine, rowSum, box) };
}

function uploadNumbers(engine: Engine, data: Float32Array | Float64Array, box: Box): Tensor {
  const dtype = data.BYTES_PER_ELEMENT === 8 ? 'float64' : 'float32';
  return upload(engine, { dtype, shape: [data.length], data }, box);
}

export function headBox([from, to]: Range): Box {
  return { starts: [from], dimensions: [[to - from, 1]] };
}

function uploadDiagonal(
  engine: Engine,
  p: AttentionProblem,
  { batches, rows, keys }: Piece,
): number | Tensor {
  if (!p.usesDiagonal) return 0;
  const shift = rows ? rows[0] - keys![0] : 0;
  const own = p.diagonal.slice(...batches).map((o) => Math.max(-FAR, Math.min(FAR, o + shift)));
  return own.every((o) => o === own[0]) ? own[0] : engine.tensor(Int32Array.from(own), [own.length]);
}

function uploadLengths(engine: Engine, p: AttentionProblem, { batches, keys }: Piece): Tensor {
  const [from, to] = keys!;
  const own = Int32Array.from(p.keyCounts.slice(...batches), (n) => Math.max(0, Math.min(n, to) - from));
  return engine.tensor(own, [own.length]);
}

function uploadSlopes(
  engine: Engine,
  { tensor, batch }: Slopes,
  { batches, heads }: Piece,
): AttentionCall['alibi'] {
  const starts: number[] = [];
  for (let b = batches[0]; b < (batch === 0 ? batches[0] + 1 : batches[1]); b++)
    starts.push(b * batch + heads[0]);
  const own = upload(engine, tensor, { starts, dimensions: headBox(heads).dimensions });
  return { tensor: own, batch: starts.length > 1 ? length(heads) : 0, head: 1 };
}

function dropoutOf(
  engine: Engine,
  p: AttentionProblem,
  dropout: Dropout,
  piece: Piece,
): AttentionCall['dropout'] {
  const { rate } = dropout;
  if ('keep' in dropout) return { rate, keep: uploadCells(engine, p, 'dropout.keep', dropout.keep, piece) };
  const { batches, heads, rows, keys } = piece;
  const keyOffset = dropout.keyOffset + (keys?.[0] ?? 0);
  return { rate, seed: dropout.seed, keyOffset, origin: [batches[0], heads[0], rows?.[0] ?? 0] };
}

/** Starts of some of the packed sequences, from 0. */
function uploadStarts(
  engine: Engine,
  { q, k }: NonNullable<AttentionProblem['packed']>,
  [from, to]: Range,
): AttentionCall['packed'] {
  const own = (starts: Int32Array) =>
    engine.tensor(
      starts.slice(from, to + 1).map((at) => at - starts[from]),
      [to - from + 1],
    );
  return { q: own(q), k: own(k) };
}
