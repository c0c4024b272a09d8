// Weights of an attention over a key/value cache: the keys are read where the cache holds them.
import type { AttentionProblem } from '../attention/problem.js';
import type { RowStatistics } from '../attention/statistics.js';
import type { KeyValueStore } from '../engine/key-value-store.js';
import { attentionWeights, type Operand } from '../engine/ops/attention.js';
import { EngineError } from '../tensor/errors.js';
import { cachedCall, wholePiece } from './cached-call.js';
import { uploadStatistics } from './call.js';
import { type Range, retained, type WeightSource, weighing } from './weights.js';

/** Frees a retained copy of the keys whose map was forgotten. */
const forgotten = new FinalizationRegistry((keys: Operand) => keys.tensor.dispose());

/** Each question brings in the queries and options again, and leaves nothing in the engine. */
export class CachedWeights implements WeightSource {
  statistics: RowStatistics | undefined;
  private problem: AttentionProblem;
  private readonly moves: number;
  /** A copy of the keys as they were. */
  private keys: Operand | undefined;

  constructor(
    private readonly store: KeyValueStore,
    problem: AttentionProblem,
  ) {
    this.problem = weighing(problem);
    this.moves = store.moves;
  }

  async tile(batch: number, head: number, queries: Range, keys: Range): Promise<Float32Array> {
    // Nothing is issued in the caller's own turn, where an engine's scope may be open.
    await undefined;
    const { problem: p, statistics } = this;
    const k = this.keys ?? this.cachedKeys();
    const { engine } = this.store;
    const tensor = engine.scope(() => {
      const call = cachedCall(engine, p, { k, v: k });
      const stats = uploadStatistics(engine, p, statistics!, wholePiece(p));
      return attentionWeights(call, stats, batch, head, queries, keys);
    });
    try {
      return (await tensor.read()) as Float32Array;
    } finally {
      tensor.dispose();
    }
  }

  /** Throws EngineError where the rows are no longer what the call saw. */
  private cachedKeys(): Operand {
    const { store, moves } = this;
    if (store.moves === moves && !store.disposed) return store.k;
    const what = store.disposed ? 'disposed' : 'reordered';
    throw new EngineError(`attention map: its cache was ${what}; retain() before that copies the keys`);
  }

  retain(): void {
    this.problem = retained(this.problem);
    if (this.keys) return;
    this.cachedKeys();
    const keys = this.store.copyKeys();
    this.store.engine.keep(keys.tensor);
    forgotten.register(this, keys, this);
    this.keys = keys;
  }

  dispose(): void {
    forgotten.unregister(this);
    this.keys?.tensor.dispose();
    this.keys = undefined;
  }
}
