// The backward pass over host arrays, part by part. What several parts share, as rows do the ranges of their keys and
// keys the blocks of their rows, gets the sum of the parts' gradients, in the order of the parts.
import type { AttentionProblem } from '../attention/problem.js';
import { attentionBackward, type Operand } from '../engine/ops/attention.js';
import type { Engine, Tensor } from '../engine/types.js';
import type { HostTensor } from '../tensor/host.js';
import { type Box, blockOf, download, type Numbers, scatter, sizeOfBox, upload } from './boxes.js';
import {
  cellBox,
  headBox,
  KeyHolder,
  named,
  type Piece,
  rowBox,
  rowOperand,
  statisticBox,
  uploadPiece,
  uploadStatistics,
} from './call.js';
import { floats, inScope } from './forward.js';
import { planParts } from './parts.js';

export interface GivenNumbers {
  output: HostTensor;
  dOutput: HostTensor;
  dLogSumExp?: HostTensor;
  /** merged: of more keys than the call's. */
  statistics: { rowMax: Numbers; rowSum: Numbers; merged?: boolean };
}

export interface GradientNumbers {
  dq: Numbers;
  dk: Numbers;
  dv: Numbers;
  dBias?: Numbers;
  dSinks?: Numbers;
}

/** A gradient in the making: the first part to reach a place sets it, later ones add to it. */
class Gradient {
  private readonly reached = new Set<number>();

  constructor(readonly numbers: Numbers) {}

  async take(tensor: Tensor, box: Box): Promise<void> {
    const { starts, dimensions } = box;
    const again = starts.map((at) => {
      const before = this.reached.size;
      return this.reached.add(at).size === before;
    });
    if (again.every((added) => added === again[0])) return download(tensor, this.numbers, box, again[0]);
    const dense = (await tensor.read()) as Float32Array;
    const block = blockOf(box);
    starts.forEach((at, n) => {
      const own = dense.subarray(n * block, (n + 1) * block);
      scatter(own, this.numbers, { starts: [at], dimensions }, again[n]);
    });
  }
}

/** Gradients of a call, each laid out as its operand. */
export async function runBackward(
  engine: Engine,
  p: AttentionProblem,
  given: GivenNumbers,
): Promise<GradientNumbers> {
  const gradient = (name: string, tensor?: HostTensor) => tensor && new Gradient(floats(name, tensor.shape));
  const made: Gradients = {
    dq: gradient('dq', p.q.tensor)!,
    dk: gradient('dk', p.k.tensor)!,
    dv: gradient('dv', p.v.tensor)!,
    dBias: gradient('dBias', p.bias?.tensor),
    dSinks: p.sinks && new Gradient(new Float64Array(p.H)),
  };
  const keys = new KeyHolder(engine, p);
  try {
    for (const part of planParts(p, 'backward')) {
      for (const [n, range] of (part.keys ?? [undefined]).entries()) {
        const piece: Piece = { ...part, keys: range };
        const merged = given.statistics.merged || (part.keys?.length ?? 1) > 1;
        await inScope(engine, () => issue(engine, p, piece, keys, n === 0, merged, given, made));
      }
    }
  } finally {
    keys.dispose();
  }
  return {
    dq: made.dq.numbers,
    dk: made.dk.numbers,
    dv: made.dv.numbers,
    dBias: made.dBias?.numbers,
    dSinks: made.dSinks?.numbers,
  };
}

interface Gradients {
  dq: Gradient;
  dk: Gradient;
  dv: Gradient;
  dBias?: Gradient;
  dSinks?: Gradient;
}

/** Issues one piece; sinks get their gradient with the first range of a row's keys. */
function issue(
  engine: Engine,
  p: AttentionProblem,
  piece: Piece,
  keys: KeyHolder,
  first: boolean,
  merged: boolean,
  given: GivenNumbers,
  made: Gradients,
): Promise<void>[] {
  const { batches, heads, keyHeads, rows } = piece;
  const call = uploadPiece(engine, p, piece, keys.of(piece), { sinks: first });
  const outputs = rowBox(p, p.output, batches, heads, rows);
  const rowsOf = (name: string, tensor: HostTensor): Operand =>
    rowOperand(
      p,
      named(name, tensor, () => upload(engine, tensor, outputs)),
      outputs,
    );
  const boxes = {
    dq: rowBox(p, p.q, batches, heads, rows),
    dk: rowBox(p, p.k, batches, keyHeads, piece.keys),
    dv: rowBox(p, p.v, batches, keyHeads, piece.keys),
  };
  const target = (box: Box) => rowOperand(p, engine.zeros([sizeOfBox(box)]), box);
  const [dq, dk, dv] = [target(boxes.dq), target(boxes.dk), target(boxes.dv)];
  const { dBias, dSinks } = attentionBackward(
    call,
    rowsOf('output', given.output),
    rowsOf('dOutput', given.dOutput),
    uploadStatistics(engine, p, given.statistics, piece),
    {
      ...{ dq, dk, dv },
      dBias: call.bias !== undefined,
      dSinks: call.sinks !== undefined,
      merged,
      dLogSumExp: given.dLogSumExp && upload(engine, given.dLogSumExp, statisticBox(p, piece)),
    },
  );
  const reads = [
    made.dq.take(dq.tensor, boxes.dq),
    made.dk.take(dk.tensor, boxes.dk),
    made.dv.take(dv.tensor, boxes.dv),
  ];
  if (dBias) reads.push(made.dBias!.take(dBias, cellBox(p, p.bias!, piece)));
  if (dSinks) reads.push(made.dSinks!.take(dSinks, headBox(heads)));
  return reads;
}
