// The truth: attention in float64, row by row, in named passes, without tricks. Everything else is tested against it.
//
//   scores → softcap → + ALiBi + bias → forbidden cells leave → softmax with the sink → dropout → · v
//
// A forbidden cell is never read: whatever its k, v or bias holds leaves no trace. A row without an allowed score
// above −∞ is empty: weights and output 0, logSumExp = the sink, or −∞ without one.
import { type HostTensor, toFloat64 } from '../tensor/host.js';
import { keepRow } from './philox.js';
import { type AttentionProblem, keyHead } from './problem.js';

/** A problem's tensors as float64. */
export interface Numbers {
  readonly q: Float64Array;
  readonly k: Float64Array;
  readonly v: Float64Array;
  readonly bias?: Float64Array;
  readonly alibi?: Float64Array;
  readonly sinks?: Float64Array;
}

export function readNumbers(problem: AttentionProblem): Numbers {
  const read = (tensor?: HostTensor) => (tensor ? toFloat64(tensor) : undefined);
  return {
    q: toFloat64(problem.q.tensor),
    k: toFloat64(problem.k.tensor),
    v: toFloat64(problem.v.tensor),
    bias: read(problem.bias?.tensor),
    alibi: read(problem.alibi?.tensor),
    sinks: read(problem.sinks),
  };
}

/** One row of the score matrix on its way: all of length Lk, of which the first keyCounts[b] are in use. */
export interface Row {
  /** 1 where the row may attend. */
  readonly allowed: Uint8Array;
  /** Final scores of allowed cells. */
  readonly scores: Float64Array;
  /** d(score)/d(scale·q·k) of allowed cells: 1, or less under softcap. */
  readonly slopes: Float64Array;
  /** Softmax weights, before dropout; 0 where forbidden. */
  readonly weights: Float64Array;
  /** What dropout multiplies the weights by. */
  readonly factors: Float64Array;
  /** Maximum of the scores and the sink, and the sum of exp(score − max); −∞ and 0 where there are none. */
  max: number;
  sum: number;
  logSumExp: number;
  empty: boolean;
}

export function makeRow(Lk: number): Row {
  return {
    allowed: new Uint8Array(Lk),
    scores: new Float64Array(Lk),
    slopes: new Float64Array(Lk),
    weights: new Float64Array(Lk),
    factors: new Float64Array(Lk),
    max: Number.NEGATIVE_INFINITY,
    sum: 0,
    logSumExp: Number.NEGATIVE_INFINITY,
    empty: true,
  };
}

/** Runs every pass for query i of (b, h) up to the dropout factors. */
export function computeRow(
  p: AttentionProblem,
  numbers: Numbers,
  b: number,
  h: number,
  i: number,
  row: Row,
): void {
  allowCells(p, numbers, b, h, i, row.allowed);
  scoreCells(p, numbers, b, h, i, row);
  if (p.softcap > 0) capCells(p, b, row);
  if (p.alibi) addAlibi(p, numbers.alibi!, b, h, i, row);
  if (p.bias) addBias(p, numbers.bias!, b, h, i, row);
  softmaxRow(row, p.keyCounts[b], numbers.sinks?.[h]);
  dropoutFactors(p, b, h, i, row.factors);
}

function allowCells(
  p: AttentionProblem,
  numbers: Numbers,
  b: number,
  h: number,
  i: number,
  allowed: Uint8Array,
): void {
  const own = i + p.diagonal[b];
  const [left, right] = p.window;
  for (let j = 0; j < p.keyCounts[b]; j++) {
    let may = !(p.causal && j > own);
    if (left >= 0 && j < own - left) may = false;
    if (right >= 0 && j > own + right) may = false;
    if (p.mask && p.mask.tensor.data[cellAt(p.mask, b, h, i, j)] === 0) may = false;
    if (p.bias && numbers.bias![cellAt(p.bias, b, h, i, j)] === Number.NEGATIVE_INFINITY) may = false;
    allowed[j] = may ? 1 : 0;
  }
}

/** Where a tensor that broadcasts to [B,H,Lq,Lk] holds cell (b,h,i,j). */
export function cellAt(
  cells: { offsets: readonly number[]; head: number; query: number; key: number },
  b: number,
  h: number,
  i: number,
  j: number,
): number {
  return cells.offsets[b] + h * cells.head + i * cells.query + j * cells.key;
}

/** scale · q·k */
function scoreCells(p: AttentionProblem, { q, k }: Numbers, b: number, h: number, i: number, row: Row): void {
  const atQ = p.q.offsets[b] + h * p.q.head + i * p.q.row;
  const headK = p.k.offsets[b] + keyHead(p, h) * p.k.head;
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (!row.allowed[j]) continue;
    const atK = headK + j * p.k.row;
    let dot = 0;
    for (let d = 0; d < p.D; d++) dot += q[atQ + d] * k[atK + d];
    row.scores[j] = p.scale * dot;
    row.slopes[j] = 1;
  }
}

/** c·tanh(score/c) */
function capCells(p: AttentionProblem, b: number, row: Row): void {
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (!row.allowed[j]) continue;
    const t = Math.tanh(row.scores[j] / p.softcap);
    row.scores[j] = p.softcap * t;
    row.slopes[j] = 1 - t * t;
  }
}

/** −slope·|i+o−j| */
function addAlibi(
  p: AttentionProblem,
  slopes: Float64Array,
  b: number,
  h: number,
  i: number,
  row: Row,
): void {
  const slope = slopes[b * p.alibi!.batch + h];
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (row.allowed[j]) row.scores[j] -= slope * Math.abs(i + p.diagonal[b] - j);
  }
}

function addBias(p: AttentionProblem, bias: Float64Array, b: number, h: number, i: number, row: Row): void {
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (row.allowed[j]) row.scores[j] += bias[cellAt(p.bias!, b, h, i, j)];
  }
}

function softmaxRow(row: Row, keys: number, sink?: number): void {
  const { allowed, scores, weights } = row;
  let max = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < keys; j++) if (allowed[j]) max = Math.max(max, scores[j]);
  row.empty = max === Number.NEGATIVE_INFINITY;
  if (sink !== undefined) max = Math.max(max, sink);
  let sum = sink === undefined || max === Number.NEGATIVE_INFINITY ? 0 : Math.exp(sink - max);
  for (let j = 0; j < keys; j++) {
    weights[j] = allowed[j] && !row.empty ? Math.exp(scores[j] - max) : 0;
    sum += weights[j];
  }
  if (!row.empty) for (let j = 0; j < keys; j++) if (allowed[j]) weights[j] /= sum;
  row.max = max;
  row.sum = sum;
  row.logSumExp = max === Number.NEGATIVE_INFINITY ? max : max + Math.log(sum);
}

function dropoutFactors(p: AttentionProblem, b: number, h: number, i: number, factors: Float64Array): void {
  if (p.dropout === undefined) {
    factors.fill(1);
    return;
  }
  const keys = p.keyCounts[b];
  const survivor = 1 / (1 - p.dropout.rate);
  if ('keep' in p.dropout) {
    const { keep } = p.dropout;
    for (let j = 0; j < keys; j++) factors[j] = keep.tensor.data[cellAt(keep, b, h, i, j)] ? survivor : 0;
    return;
  }
  const kept = new Uint8Array(keys);
  keepRow(p.dropout.seed, p.dropout.rate, b, h, i, p.dropout.keyOffset, kept);
  for (let j = 0; j < keys; j++) factors[j] = kept[j] ? survivor : 0;
}

/** Output and row statistics, laid out as the problem says. */
export interface ReferenceResult {
  readonly output: Float64Array;
  readonly logSumExp: Float64Array;
  readonly rowMax: Float64Array;
  readonly rowSum: Float64Array;
}

/** The forward pass, in float64. */
export function attentionReference(p: AttentionProblem): ReferenceResult {
  const numbers = readNumbers(p);
  const output = new Float64Array(p.output.shape.reduce((a, n) => a * n, 1));
  const size = p.statistics.shape.reduce((a, n) => a * n, 1);
  const [logSumExp, rowMax, rowSum] = [0, 0, 0].map(() => new Float64Array(size));
  const row = makeRow(p.Lk);
  forEachRow(p, (b, h, i) => {
    computeRow(p, numbers, b, h, i, row);
    const at = p.statistics.offsets[b] + h * p.statistics.head + i * p.statistics.row;
    logSumExp[at] = row.logSumExp;
    rowMax[at] = row.max;
    rowSum[at] = row.sum;
    contextRow(p, numbers.v, b, h, row, output, p.output.offsets[b] + h * p.output.head + i * p.output.row);
  });
  return { output, logSumExp, rowMax, rowSum };
}

export function forEachRow(p: AttentionProblem, visit: (b: number, h: number, i: number) => void): void {
  for (let b = 0; b < p.B; b++) {
    for (let h = 0; h < p.H; h++) for (let i = 0; i < p.queryCounts[b]; i++) visit(b, h, i);
  }
}

/** weights · factors · v */
function contextRow(
  p: AttentionProblem,
  v: Float64Array,
  b: number,
  h: number,
  row: Row,
  output: Float64Array,
  at: number,
): void {
  if (row.empty) return;
  const headV = p.v.offsets[b] + keyHead(p, h) * p.v.head;
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (!row.allowed[j]) continue;
    const weight = row.weights[j] * row.factors[j];
    const atV = headV + j * p.v.row;
    for (let d = 0; d < p.Dv; d++) output[at + d] += weight * v[atV + d];
  }
}

/** Weights (before dropout) of queries [from, to) of (b, h) over keys [first, last): a row-major tile. */
export function weightsReference(
  p: AttentionProblem,
  b: number,
  h: number,
  [from, to]: readonly [number, number],
  [first, last]: readonly [number, number],
): Float64Array {
  const numbers = readNumbers(p);
  const row = makeRow(p.Lk);
  const width = last - first;
  const tile = new Float64Array((to - from) * width);
  const present = Math.min(last, p.keyCounts[b]);
  for (let i = from; i < Math.min(to, p.queryCounts[b]); i++) {
    computeRow(p, numbers, b, h, i, row);
    if (present > first) tile.set(row.weights.subarray(first, present), (i - from) * width);
  }
  return tile;
}
