// Weights of an attention over a key/value cache: the keys are read where the cache holds them.
import type { AttentionProblem } from '../attention/problem.js';
import type { RowStatistics } from '../attention/statistics.js';
import type { KeyValueStore } from '../engine/key-value-store.js';
import type { Operand } from '../engine/ops/attention.js';
import { EngineError } from '../tensor/errors.js';
import type { KeyRows } from './call.js';
import type { Range } from './parts.js';
import { KernelWeights } from './weights.js';

const NOTHING = { rowMax: new Float32Array(0), rowSum: new Float32Array(0) };

/** Frees a retained copy of the keys whose map was forgotten. */
const forgotten = new FinalizationRegistry((keys: Operand) => keys.tensor.dispose());

/** Each question brings in the queries and options again, and leaves nothing in the engine. */
export class CachedWeights extends KernelWeights {
  private readonly moves: number;
  /** A copy of the keys as they were. */
  private copied: Operand | undefined;

  /** Its statistics are set once they are computed. */
  constructor(
    private readonly store: KeyValueStore,
    problem: AttentionProblem,
  ) {
    super(store.engine, problem, NOTHING);
    this.moves = store.moves;
  }

  set statistics(statistics: RowStatistics) {
    this.known = statistics;
  }

  protected override resides(): boolean {
    return true;
  }

  protected override keys(batch: number, own: number, [from]: Range): KeyRows {
    const all = this.copied ?? this.cachedKeys();
    const k = { ...all, offset: all.offset + batch * all.batch + own * all.head + from * all.row };
    return { k, v: k };
  }

  /** Throws EngineError where the rows are no longer what the call saw. */
  private cachedKeys(): Operand {
    const { store, moves } = this;
    if (store.moves === moves && !store.disposed) return store.k;
    const what = store.disposed ? 'disposed' : 'reordered';
    throw new EngineError(`attention map: its cache was ${what}; retain() before that copies the keys`);
  }

  override retain(): void {
    super.retain();
    if (this.copied) return;
    this.cachedKeys();
    const keys = this.store.copyKeys();
    this.store.engine.keep(keys.tensor);
    forgotten.register(this, keys, this);
    this.copied = keys;
  }

  override dispose(): void {
    forgotten.unregister(this);
    this.copied?.tensor.dispose();
    this.copied = undefined;
  }
}
