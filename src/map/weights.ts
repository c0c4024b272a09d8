// Where a map's weights come from: the kernels, or the float64 reference. Both recompute any tile on demand.
import type { AttentionProblem, CellTensor, Operand } from '../attention/problem.js';
import { weightsReference } from '../attention/reference.js';
import type { RowStatistics } from '../attention/statistics.js';
import { type AttentionCall, type AttentionStatistics, attentionWeights } from '../engine/ops/attention.js';
import type { Engine, Tensor } from '../engine/types.js';
import type { HostTensor } from '../tensor/host.js';
import { copyTensor } from '../tensor/safetensors.js';
import { uploadCall } from './call.js';

export type Range = readonly [from: number, to: number];

/** Computes tiles of weights. Indices are checked by the map. */
export interface WeightSource {
  /** Row-major [queries, keys] of one (batch, head). */
  tile(batch: number, head: number, queries: Range, keys: Range): Promise<Float32Array>;
  /** Copies the caller's arrays, so that they may change. */
  retain(): void;
  dispose(): void;
}

/** A problem without what weights do not depend on: v and dropout. */
function weighing(p: AttentionProblem): AttentionProblem {
  const nothing: HostTensor = { dtype: 'float32', shape: [0], data: new Float32Array(0) };
  return { ...p, v: { ...p.v, tensor: nothing }, dropout: undefined };
}

function retained(p: AttentionProblem): AttentionProblem {
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

/** What a map holds in an engine. */
interface Held {
  call: AttentionCall;
  statistics: AttentionStatistics;
  tensors: Tensor[];
}

const forgotten = new FinalizationRegistry((held: { current?: Held }) => release(held));

function release(held: { current?: Held }): void {
  for (const tensor of held.current?.tensors ?? []) tensor.dispose();
  held.current = undefined;
}

/** Weights from the kernels. The operands are uploaded at the first question and stay until dispose(). */
export class KernelWeights implements WeightSource {
  private problem: AttentionProblem;
  private readonly held: { current?: Held } = {};

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
    const { call, statistics } = this.upload();
    const tensor = this.engine.scope(() => attentionWeights(call, statistics, batch, head, queries, keys));
    try {
      return (await tensor.read()) as Float32Array;
    } finally {
      tensor.dispose();
    }
  }

  private upload(): Held {
    if (this.held.current) return this.held.current;
    const { engine, problem } = this;
    const { shape } = problem.statistics;
    const made = engine.scope(() => {
      const call = uploadCall(engine, problem, { values: false });
      const rowMax = engine.tensor(new Float32Array(this.statistics.rowMax), shape);
      const rowSum = engine.tensor(new Float32Array(this.statistics.rowSum), shape);
      return { call, statistics: { rowMax, rowSum } };
    });
    forgotten.register(this, this.held, this);
    this.held.current = { ...made, tensors: tensorsIn([made.call, made.statistics]) };
    return this.held.current;
  }

  retain(): void {
    this.problem = retained(this.problem);
  }

  dispose(): void {
    forgotten.unregister(this);
    release(this.held);
  }
}

/** The engine tensors of a call, once each. */
function tensorsIn(value: unknown, found = new Set<Tensor>()): Tensor[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [...found];
  if ('pointer' in value && 'engine' in value) found.add(value as Tensor);
  else for (const item of Object.values(value)) tensorsIn(item, found);
  return [...found];
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
