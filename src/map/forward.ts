// The forward pass over host arrays, part by part: what a part needs goes in, its rows come out. Where a head's keys
// are cut, the results over their ranges are joined here, in float64, by the rows' maxima and sums.
import { unwritten } from '#platform';
import type { AttentionProblem } from '../attention/problem.js';
import { type AttentionResult, attentionForward } from '../engine/ops/attention.js';
import type { Engine } from '../engine/types.js';
import { LimitError } from '../tensor/errors.js';
import { formatShape } from '../tensor/host.js';
import { type Box, download, scatter, sizeOfBox } from './boxes.js';
import { KeyHolder, type Piece, rowBox, statisticBox } from './call.js';
import { type Part, planParts, portionsOf } from './parts.js';
import { makeReady, runPortions } from './portions.js';

export interface ForwardNumbers {
  output: Float32Array;
  rowMax: Float32Array;
  rowSum: Float32Array;
  logSumExp: Float32Array;
}

const NAMES = ['output', 'rowMax', 'rowSum', 'logSumExp'] as const;

/** Output and row statistics of a call, laid out as the problem tells. */
export async function runForward(engine: Engine, p: AttentionProblem): Promise<ForwardNumbers> {
  const parts = [...planParts(p, 'forward')];
  const keys = new KeyHolder(engine, p);
  try {
    return await (parts.length === 1 && isPiece(parts[0]) && portionsOf(p, parts[0]).length === 1
      ? runWhole(engine, p, parts[0], keys)
      : runParts(engine, p, parts, keys));
  } finally {
    keys.dispose();
  }
}

/** Whether a part goes through its keys at once. */
function isPiece({ keys }: Part): boolean {
  return keys === undefined || keys.length === 1;
}

/** A call that is one piece: its results, as they lie in the engine, are the call's. */
async function runWhole(
  engine: Engine,
  p: AttentionProblem,
  part: Part,
  keys: KeyHolder,
): Promise<ForwardNumbers> {
  try {
    const [output, rowMax, rowSum, logSumExp] = await runPiece(
      ...([engine, p, { ...part, keys: part.keys?.[0] }, keys, true] as const),
      (made) => NAMES.map((name) => made[name].read() as Promise<Float32Array>),
    );
    return { output, rowMax, rowSum, logSumExp };
  } catch (error) {
    throw error instanceof RangeError ? noMemory('output', p.output.shape) : error;
  }
}

async function runParts(
  engine: Engine,
  p: AttentionProblem,
  parts: readonly Part[],
  keys: KeyHolder,
): Promise<ForwardNumbers> {
  // The parts fill all of them.
  const output = floats('output', p.output.shape, unwritten);
  const statistic = () => floats('logSumExp', p.statistics.shape, unwritten);
  const made = { output, rowMax: statistic(), rowSum: statistic(), logSumExp: statistic() };
  const scratch: ForwardNumbers[] = [];
  for (const part of parts) {
    if (isPiece(part)) {
      const piece = { ...part, keys: part.keys?.[0] };
      const portions = portionsOf(p, part).map((batches) => ({ ...piece, batches }));
      const read = (of: AttentionResult, own: Piece) => readTo(made, boxesOf(p, own))(of);
      if (portions.length > 1) await runPortions(engine, p, portions, read);
      else await runPiece(engine, p, piece, keys, true, (of) => read(of, piece));
    } else await runRanges(engine, p, part, keys, scratch, made);
  }
  return made;
}

function numbers(rows: number, Dv: number): ForwardNumbers {
  return {
    output: new Float32Array(rows * Dv),
    rowMax: new Float32Array(rows),
    rowSum: new Float32Array(rows),
    logSumExp: new Float32Array(rows),
  };
}

/** A new array for a result, of zeros unless `memory` gives others. Throws LimitError where there is no memory. */
export function floats(
  name: string,
  shape: readonly number[],
  memory = (bytes: number) => new ArrayBuffer(bytes),
): Float32Array<ArrayBuffer> {
  try {
    return new Float32Array(memory(shape.reduce((a, n) => a * n, 4)));
  } catch {
    throw noMemory(name, shape);
  }
}

function noMemory(name: string, shape: readonly number[]): LimitError {
  const bytes = shape.reduce((a, n) => a * n, 4);
  return new LimitError(`attention: ${name} of shape ${formatShape(shape)} finds no memory: ${bytes} bytes`);
}

interface Boxes {
  output: Box;
  statistics: Box;
}

function boxesOf(p: AttentionProblem, piece: Piece): Boxes {
  const { batches, heads, rows } = piece;
  return { output: rowBox(p, p.output, batches, heads, rows), statistics: statisticBox(p, piece) };
}

type Read<T> = (made: AttentionResult) => Promise<T>[];

/** Reads results to where the boxes say. */
function readTo(into: ForwardNumbers, to: Boxes): Read<void> {
  return (made) =>
    NAMES.map((name) => download(made[name], into[name], name === 'output' ? to.output : to.statistics));
}

/** Issues one piece and reads its results. */
function runPiece<T>(
  engine: Engine,
  p: AttentionProblem,
  piece: Piece,
  keys: KeyHolder,
  sinks: boolean,
  read: Read<T>,
): Promise<T[]> {
  return inScope(engine, () => {
    const { call, output } = makeReady(engine, p, piece, keys.of(piece), { sinks });
    return read(attentionForward(call, output));
  });
}

/** Frees what `issue` makes, and waits for the reads it issued. */
export async function inScope<T>(engine: Engine, issue: () => Promise<T>[]): Promise<T[]> {
  let reads: Promise<T>[] = [];
  engine.scope(() => {
    reads = issue();
  });
  return Promise.all(reads);
}

/** A part of one head, through its ranges of keys. The first brings the sink. */
async function runRanges(
  engine: Engine,
  p: AttentionProblem,
  part: Part,
  keys: KeyHolder,
  scratch: ForwardNumbers[],
  into: ForwardNumbers,
): Promise<void> {
  const to = boxesOf(p, part as Omit<Part, 'keys'>);
  const rows = sizeOfBox(to.statistics);
  if (scratch[0]?.rowMax.length !== rows) Object.assign(scratch, [numbers(rows, p.Dv), numbers(rows, p.Dv)]);
  const [whole, next] = scratch;
  const dense = { output: denseBox(rows * p.Dv), statistics: denseBox(rows) };
  for (const [n, range] of part.keys!.entries()) {
    const piece = { ...part, keys: range };
    const first = n === 0;
    await runPiece(engine, p, piece, keys, first, readTo(first ? whole : next, dense));
    if (!first) join(whole, next, p.Dv);
  }
  for (const name of NAMES) scatter(whole[name], into[name], name === 'output' ? to.output : to.statistics);
}

const denseBox = (size: number): Box => ({ starts: [0], dimensions: [[size, 1]] });

/** Joins the rows of two results over disjoint keys, as mergeAttention does. Empty ones leave the other as it is. */
function join(whole: ForwardNumbers, next: ForwardNumbers, Dv: number): void {
  const { output, rowMax, rowSum, logSumExp } = whole;
  for (let r = 0; r < rowMax.length; r++) {
    if (next.rowSum[r] === 0) continue;
    const at = r * Dv;
    if (rowSum[r] === 0) {
      output.set(next.output.subarray(at, at + Dv), at);
      [rowMax[r], rowSum[r], logSumExp[r]] = [next.rowMax[r], next.rowSum[r], next.logSumExp[r]];
      continue;
    }
    const max = Math.max(rowMax[r], next.rowMax[r]);
    const [a, b] = [rowSum[r] * Math.exp(rowMax[r] - max), next.rowSum[r] * Math.exp(next.rowMax[r] - max)];
    const sum = a + b;
    const [x, y] = [a / sum, b / sum];
    for (let d = at; d < at + Dv; d++) output[d] = x * output[d] + y * next.output[d];
    [rowMax[r], rowSum[r], logSumExp[r]] = [max, sum, max + Math.log(sum)];
  }
}
