// Where a map's weights come from: the kernels, or the float64 reference. Both recompute any tile on demand.
import { type AttentionProblem, type CellTensor, keyHead, type Operand } from '../attention/problem.js';
import { weightsReference } from '../attention/reference.js';
import type { RowStatistics } from '../attention/statistics.js';
import { attentionWeights } from '../engine/ops/attention.js';
import type { Engine } from '../engine/types.js';
import type { HostTensor } from '../tensor/host.js';
import { copyTensor } from '../tensor/safetensors.js';
import { download } from './boxes.js';
import { KeyHolder, uploadPiece, uploadStatistics } from './call.js';
import { floats, inScope } from './forward.js';
import { type Range, tiles } from './parts.js';

export type { Range };

/** Computes tiles of weights. Indices are checked by the map. */
export interface WeightSource {
  /** Row-major [queries, keys] of one (batch, head). */
  tile(batch: number, head: number, queries: Range, keys: Range): Promise<Float32Array>;
  /** Copies the caller's arrays, so that they may change. */
  retain(): void;
  dispose(): void;
}

/** A problem without what weights do not depend on: v and dropout. */
export function weighing(p: AttentionProblem): AttentionProblem {
  const nothing: HostTensor = { dtype: 'float32', shape: [0], data: new Float32Array(0) };
  return { ...p, v: { ...p.v, tensor: nothing }, dropout: undefined };
}

export function retained(p: AttentionProblem): AttentionProblem {
  const rows = (operand: Operand): Operand => ({ ...operand, tensor: copyTensor(operand.tensor) });
  const cells = (x?: CellTensor) => x && { ...x, tensor: copyTensor(x.tensor) };
  return {
    ...p,
    q: rows(p.q),
    k: rows(p.k),
    mask: cells(p.mask),
    bias: cells(p.bias),
    alibi: p.alibi && { ...p.alibi, tensor: copyTensor(p.alibi.tensor) },
    sinks: p.sinks && copyTensor(p.sinks),
    keyLengths: p.keyLengths?.slice(),
    packed: p.packed && { q: p.packed.q.slice(), k: p.packed.k.slice() },
  };
}

/** Weights from the kernels. Each question brings in what it needs, and leaves nothing in the engine. */
export class KernelWeights implements WeightSource {
  private problem: AttentionProblem;

  constructor(
    private readonly engine: Engine,
    problem: AttentionProblem,
    private readonly statistics: RowStatistics,
  ) {
    this.problem = weighing(problem);
  }

  async tile(batch: number, head: number, queries: Range, keys: Range): Promise<Float32Array> {
    // Nothing is issued in the caller's own turn, where an engine's scope may be open.
    await undefined;
    const { engine, problem: p } = this;
    const width = keys[1] - keys[0];
    const out = floats('weights', [queries[1] - queries[0], width]);
    const held = new KeyHolder(engine, p, false);
    const keyHeadOf = keyHead(p, head);
    const pair = {
      batches: [batch, batch + 1],
      heads: [head, head + 1],
      keyHeads: [keyHeadOf, keyHeadOf + 1],
    } as const;
    try {
      for (const { rows, keys: columns } of tiles(p, queries, keys)) {
        const dense = [
          [rows[1] - rows[0], width],
          [columns[1] - columns[0], 1],
        ] as const;
        const box = { starts: [(rows[0] - queries[0]) * width + columns[0] - keys[0]], dimensions: dense };
        await inScope(engine, () => {
          const piece = { ...pair, rows, keys: columns };
          const call = uploadPiece(engine, p, piece, held.of(piece), { sinks: false });
          const stats = uploadStatistics(engine, p, this.statistics, piece);
          return [download(attentionWeights(call, stats, 0, 0, [0, call.Lq], [0, call.Lk]), out, box)];
        });
      }
    } finally {
      held.dispose();
    }
    return out;
  }

  retain(): void {
    this.problem = retained(this.problem);
  }

  dispose(): void {}
}

/** Weights from the float64 reference. */
export class ReferenceWeights implements WeightSource {
  private problem: AttentionProblem;

  constructor(problem: AttentionProblem) {
    this.problem = weighing(problem);
  }

  async tile(batch: number, head: number, queries: Range, keys: Range): Promise<Float32Array> {
    return new Float32Array(weightsReference(this.problem, batch, head, queries, keys));
  }

  retain(): void {
    this.problem = retained(this.problem);
  }

  dispose(): void {}
}
