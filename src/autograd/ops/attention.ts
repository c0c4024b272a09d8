// Differentiable attention over strided operands: slices of fused projections are read, and their gradients
// written, in place, so that no projection is ever copied.
import {
  type AttentionCall,
  type AttentionStatistics,
  attentionBackward,
  attentionForward,
  attentionWeights,
  type Operand,
} from '../../engine/ops/attention.js';
import type { Tensor } from '../../engine/types.js';
import type { Tape } from '../tape.js';

export type { AttentionCall, Operand };

/** What is left of an attention: enough to recompute any weight, and nothing of size Lq·Lk. */
export interface AttentionRecord {
  readonly call: AttentionCall;
  readonly stats: AttentionStatistics;
  /** [B,H,Lq], packed [Tq,H]; differentiable as the output is, and freed by backward unless the tape retains it. */
  readonly logSumExp: Tensor;
  /** Weights before dropout of queries [a,b) over keys [c,d); in packed form within sequence `batch`. */
  weights(batch: number, head: number, queries: [number, number], keys: [number, number]): Tensor;
}

/**
 * Attention as `call` says, written to `output` (its tensor wholly covered), and the record. Mask and lengths get no
 * gradient; a float bias and the sinks get one where they are watched. In packed form cuSeqlens must cover all rows.
 */
export function attention(tape: Tape | null, call: AttentionCall, output: Operand): AttentionRecord {
  const { rowMax, rowSum, logSumExp } = attentionForward(call, output);
  const stats = { rowMax, rowSum };
  const inputs = [call.q.tensor, call.k.tensor, call.v.tensor, call.bias?.tensor, call.sinks];
  if (tape && inputs.some((tensor) => tensor && tape.tracks(tensor))) {
    const pass = ([dy, dLogSumExp]: (Tensor | undefined)[]) =>
      backward(tape, call, output, dy, dLogSumExp, stats);
    tape.recordMany([output.tensor, logSumExp], pass, [rowMax, rowSum]);
  }
  return {
    call,
    stats,
    logSumExp,
    weights: (batch, head, queries, keys) => attentionWeights(call, stats, batch, head, queries, keys),
  };
}

function backward(
  tape: Tape,
  call: AttentionCall,
  output: Operand,
  dy: Tensor | undefined,
  dLogSumExp: Tensor | undefined,
  stats: AttentionStatistics,
): void {
  const [dq, dk, dv] = gradientTargets(tape, call);
  const dOutput = { ...output, tensor: dy ?? tape.engine.zeros(output.tensor.shape) };
  const result = attentionBackward(call, output, dOutput, stats, {
    ...{ dq, dk, dv, dLogSumExp },
    dBias: call.bias !== undefined && tape.tracks(call.bias.tensor),
    dSinks: call.sinks !== undefined && tape.tracks(call.sinks),
  });
  if (!dy) dOutput.tensor.dispose();
  const sources = [call.q, call.k, call.v].map(({ tensor }) => tensor);
  const targets = [dq, dk, dv].map((target) => target?.tensor);
  for (let i = 0; i < 3; i++) {
    const target = targets[i];
    if (target && targets.indexOf(target) === i) tape.accumulate(sources[i], target);
  }
  if (call.bias && result.dBias) tape.accumulate(call.bias.tensor, result.dBias);
  if (call.sinks && result.dSinks) tape.accumulate(call.sinks, result.dSinks);
}

/** Columns of a row that an operand reads: heads lie one after another from its offset. */
function columns({ offset, head }: Operand, heads: number, width: number): [number, number] {
  return [offset, offset + head * (heads - 1) + width];
}

/**
 * Where dq, dk and dv go. Operands on one tensor in different columns share one gradient tensor; where together
 * they cover whole rows it is not even zeroed. Overlapping operands each get their own, and are summed.
 */
function gradientTargets(tape: Tape, call: AttentionCall): (Operand | undefined)[] {
  const { H, Hkv, D, Dv } = call;
  const operands = [call.q, call.k, call.v];
  const ranges = [columns(call.q, H, D), columns(call.k, Hkv, D), columns(call.v, Hkv, Dv)];
  const widths = [H * D, Hkv * D, Hkv * Dv];
  const targets: (Operand | undefined)[] = [undefined, undefined, undefined];
  for (let i = 0; i < 3; i++) {
    const { tensor } = operands[i];
    if (targets[i] || !tape.tracks(tensor)) continue;
    const group = [i];
    for (let j = i + 1; j < 3; j++) {
      const free = group.every((g) => ranges[j][0] >= ranges[g][1] || ranges[g][0] >= ranges[j][1]);
      if (operands[j].tensor === tensor && free) group.push(j);
    }
    const width = tensor.shape[tensor.shape.length - 1];
    const covered = group.reduce((sum, g) => sum + widths[g], 0) === width;
    const gradient = covered ? tape.engine.empty(tensor.shape) : tape.engine.zeros(tensor.shape);
    for (const g of group) targets[g] = { ...operands[g], tensor: gradient };
  }
  return targets;
}
