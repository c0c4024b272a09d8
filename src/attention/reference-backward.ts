// The gradients of attention in float64, row by row, beside the forward passes of reference.ts.
//
// With weights P (rows i, keys j), dropout factors Z, output O = (P∘Z)·V and upstream gradients dO and dL (of
// logSumExp):
//   dV = (P∘Z)ᵀ·dO    dP = (dO·Vᵀ)∘Z    Δ = Σ_j P·dP = dO·O    dS = P∘(dP − Δ + dL)
//   dBias = dS    dSink = Σ_i P_sink·(dL − Δ)    dQ = scale·(dS∘slope)·K    dK = scale·(dS∘slope)ᵀ·Q
// each summed over what its operand broadcasts to. An empty row passes dL to the sink and nothing else to anything.
import { type AttentionProblem, keyHead } from './problem.js';
import { cellAt, computeRow, forEachRow, makeRow, type Numbers, type Row, readNumbers } from './reference.js';
import { belongs } from './statistics.js';

export interface Upstream {
  /** Gradient of the output, laid out as it. */
  readonly dOutput: Float64Array;
  /** Gradient of logSumExp, laid out as it. */
  readonly dLogSumExp?: Float64Array;
  /**
   * Output and logSumExp over more keys than the call's own, where the call is one part of a merged whole. Rows whose
   * logSumExp is the call's own are taken from it instead, more exactly.
   */
  readonly whole?: { readonly output: Float64Array; readonly logSumExp: Float64Array };
}

/** Gradients, each laid out as its operand. */
export interface ReferenceGradients {
  readonly dq: Float64Array;
  readonly dk: Float64Array;
  readonly dv: Float64Array;
  readonly dBias?: Float64Array;
  readonly dSinks?: Float64Array;
}

/** The backward pass, in float64. */
export function attentionBackwardReference(p: AttentionProblem, upstream: Upstream): ReferenceGradients {
  const numbers = readNumbers(p);
  const gradients: ReferenceGradients = {
    dq: new Float64Array(numbers.q.length),
    dk: new Float64Array(numbers.k.length),
    dv: new Float64Array(numbers.v.length),
    dBias: numbers.bias && new Float64Array(numbers.bias.length),
    dSinks: numbers.sinks && new Float64Array(numbers.sinks.length),
  };
  const row = makeRow(p.Lk);
  const dP = new Float64Array(p.Lk);
  forEachRow(p, (b, h, i) => {
    computeRow(p, numbers, b, h, i, row);
    const at = p.statistics.offsets[b] + h * p.statistics.head + i * p.statistics.row;
    const atO = p.output.offsets[b] + h * p.output.head + i * p.output.row;
    const dL = upstream.dLogSumExp?.[at] ?? 0;
    const { dOutput, whole } = upstream;
    const part = whole !== undefined && !row.empty && !belongs(whole.logSumExp[at], row.logSumExp);
    if (part) weighAgainst(row, p.keyCounts[b], whole.logSumExp[at]);
    let delta = row.empty ? 0 : backwardValues(p, numbers, b, h, row, dOutput, atO, gradients.dv, dP);
    if (part) delta = dotOutput(p.Dv, dOutput, whole.output, atO);
    if (gradients.dSinks && row.logSumExp > Number.NEGATIVE_INFINITY) {
      gradients.dSinks[h] += Math.exp(numbers.sinks![h] - row.logSumExp) * (dL - delta);
    }
    if (row.empty) return;
    backwardScores(p, numbers, b, h, i, row, dP, delta - dL, gradients);
  });
  return gradients;
}

/** The row's weights as shares of a larger whole. */
function weighAgainst(row: Row, keys: number, logSumExp: number): void {
  for (let j = 0; j < keys; j++) {
    if (row.allowed[j]) row.weights[j] = Math.exp(row.scores[j] - logSumExp);
  }
  row.logSumExp = logSumExp;
}

function dotOutput(Dv: number, dOutput: Float64Array, output: Float64Array, at: number): number {
  let dot = 0;
  for (let d = 0; d < Dv; d++) dot += dOutput[at + d] * output[at + d];
  return dot;
}

/** Adds to dv, fills dP, and returns Δ. */
function backwardValues(
  p: AttentionProblem,
  { v }: Numbers,
  b: number,
  h: number,
  row: Row,
  dOutput: Float64Array,
  atO: number,
  dv: Float64Array,
  dP: Float64Array,
): number {
  const headV = p.v.offsets[b] + keyHead(p, h) * p.v.head;
  let delta = 0;
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (!row.allowed[j]) continue;
    const atV = headV + j * p.v.row;
    const weight = row.weights[j] * row.factors[j];
    let dot = 0;
    for (let d = 0; d < p.Dv; d++) {
      dot += dOutput[atO + d] * v[atV + d];
      dv[atV + d] += weight * dOutput[atO + d];
    }
    dP[j] = dot * row.factors[j];
    delta += row.weights[j] * dP[j];
  }
  return delta;
}

/** dS, and what follows from it: dBias, dq, dk. */
function backwardScores(
  p: AttentionProblem,
  { q, k }: Numbers,
  b: number,
  h: number,
  i: number,
  row: Row,
  dP: Float64Array,
  shift: number,
  { dq, dk, dBias }: ReferenceGradients,
): void {
  const atQ = p.q.offsets[b] + h * p.q.head + i * p.q.row;
  const headK = p.k.offsets[b] + keyHead(p, h) * p.k.head;
  for (let j = 0; j < p.keyCounts[b]; j++) {
    if (!row.allowed[j]) continue;
    const dS = row.weights[j] * (dP[j] - shift);
    if (dBias) dBias[cellAt(p.bias!, b, h, i, j)] += dS;
    const dDot = p.scale * dS * row.slopes[j];
    const atK = headK + j * p.k.row;
    for (let d = 0; d < p.D; d++) {
      dq[atQ + d] += dDot * k[atK + d];
      dk[atK + d] += dDot * q[atQ + d];
    }
  }
}
