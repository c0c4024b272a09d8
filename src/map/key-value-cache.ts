// The key/value cache of decoding: keys and values stay in an engine, and each call brings the newest queries.
// Queries of host arrays give a promise and a map, queries in the engine give engine tensors at once.

import type { AttentionOptions } from '../attention/options.js';
import type { AttentionProblem } from '../attention/problem.js';
import { floatOperand } from '../attention/shapes.js';
import type { RowStatistics } from '../attention/statistics.js';
import { validateProblem } from '../attention/validate.js';
import { type KeyValueSizes, KeyValueStore } from '../engine/key-value-store.js';
import { attentionWeights, type Operand } from '../engine/ops/attention.js';
import { attentionDecode } from '../engine/ops/attention-decode.js';
import type { Engine, Tensor } from '../engine/types.js';
import { DTypeError, EngineError, OptionError, ShapeError, UnsupportedError } from '../tensor/errors.js';
import {
  describe,
  formatShape,
  type HostTensor,
  heldAs,
  type TensorLike,
  toFloat32,
} from '../tensor/host.js';
import type { AttentionOutput } from './attention.js';
import { resultOf } from './attention.js';
import { AttentionMap } from './attention-map.js';
import { cachedCall, wholeOperand } from './cached-call.js';
import { CachedWeights } from './cached-weights.js';
import { unservedReason } from './call.js';

export type KeyValueCacheOptions = KeyValueSizes;

/** Options of one attend(): those of attention() but for packed sequences. */
export type CachedAttentionOptions = Omit<AttentionOptions, 'cuSeqlens'>;

/** What attend() gives for queries in the engine: tensors of the running scope. */
export interface CachedAttention {
  /** In q's layout and rank, with width Dv. */
  readonly output: Tensor;
  /** [B,H,Lq], [H,Lq] or [Lq]: as attention() has it. */
  readonly logSumExp: Tensor;
  /** exp(score − rowMax) sums to rowSum: [B,H,Lq] each, the sink included. */
  readonly rowMax: Tensor;
  readonly rowSum: Tensor;
  /** Weights of queries [a,b) over keys [c,d) of one batch entry and head: [b−a, d−c]. */
  weights(
    batch: number,
    head: number,
    queries: readonly [number, number],
    keys: readonly [number, number],
  ): Tensor;
}

const NAME = 'key/value cache';
const MAX_WIDTH = 512;

/**
 * An empty cache for `batch` sequences of up to `capacity` positions, with `heads` heads of keys of width `keyWidth` and
 * values of width `valueWidth`, float32, all of its memory taken at once. It lives until dispose().
 * Throws OptionError for sizes that are no whole numbers from 1 (widths to 512), LimitError where memory does not suffice.
 */
export function createKeyValueCache(engine: Engine, options: KeyValueCacheOptions): KeyValueCache {
  return new KeyValueCache(engine, options);
}

/** Keys and values of the positions so far. Not differentiable. */
export class KeyValueCache {
  readonly #store: KeyValueStore;

  /** @internal */
  constructor(engine: Engine, options: KeyValueCacheOptions) {
    if (typeof (engine as Partial<Engine> | null)?.run !== 'function') {
      throw new OptionError(`${NAME}: engine is what createEngine makes, got ${describe(engine)}`);
    }
    if (typeof options !== 'object' || options === null) {
      throw new OptionError(`${NAME}: expected options to be an object, got ${describe(options)}`);
    }
    for (const name of ['batch', 'heads', 'keyWidth', 'valueWidth', 'capacity'] as const) {
      const most = name.endsWith('Width') ? MAX_WIDTH : 2 ** 31 - 1;
      const value: unknown = options[name];
      if (Number.isInteger(value) && (value as number) >= 1 && (value as number) <= most) continue;
      throw new OptionError(`${NAME}: ${name} is a whole number from 1 to ${most}, got ${describe(value)}`);
    }
    this.#store = new KeyValueStore(engine, options);
  }

  get engine(): Engine {
    return this.#store.engine;
  }

  /** Sequences; reorder() may change their number. */
  get batch(): number {
    return this.#store.batch;
  }

  /** Heads of keys and values. */
  get heads(): number {
    return this.#store.heads;
  }

  get capacity(): number {
    return this.#store.capacity;
  }

  /** Positions held. */
  get length(): number {
    return this.#store.length;
  }

  /**
   * Appends n positions: k `[B,Hkv,n,D]` and v `[B,Hkv,n,Dv]`, or with layout 'blhd' `[B,n,Hkv,·]`; fewer dimensions, or
   * more leading ones, as in attention(). Host tensors (float32, float16 or float64) or float32 tensors of the engine;
   * they are copied. Throws ShapeError or DTypeError, LimitError where the capacity does not suffice (nothing is
   * appended then), EngineError after dispose().
   */
  append(
    k: TensorLike | Tensor,
    v: TensorLike | Tensor,
    { layout = 'bhld' }: { readonly layout?: 'bhld' | 'blhd' } = {},
  ): void {
    const store = this.#live();
    if (layout !== 'bhld' && layout !== 'blhd') {
      throw new OptionError(`${NAME}: layout is 'bhld' or 'blhd', got ${describe(layout)}`);
    }
    const own = [this.#read('k', k), this.#read('v', v)];
    const [rows, values] = own.map(({ shape }, n) => this.#rowsOf(n === 0 ? 'k' : 'v', shape, layout));
    if (values !== rows) throw new ShapeError(`${NAME}: v has ${values} rows, expected k's ${rows}`);
    store.expectRoom(rows);
    this.engine.scope(() => {
      const [from, to] = own.map((tensor, n) =>
        newRows(this.#upload(tensor), store, n === 0 ? store.keyWidth : store.valueWidth, rows, layout),
      );
      store.append(from, to, rows);
    });
  }

  /**
   * Attention of q `[B,H,Lq,D]` (or fewer or more dimensions, or layout 'blhd', as in attention()) over all positions
   * held; H is a multiple of the cache's heads. Options mean what they mean in attention(), with Lk = `length`; the
   * queries are the last Lq positions appended, so that `causal: true` is 'lower-right'. `keyLengths` tells of shorter
   * sequences in a batch that is padded at its end.
   *
   * q in the engine: issued at once, and the result's tensors belong to the running scope. A host tensor: a promise of
   * what attention() gives. That map reads the keys where they lie. Positions appended later do not change it; it ends
   * with reorder() and dispose(), after which its calls reject with EngineError, unless retain() copied the keys before.
   *
   * Throws, or rejects, as attention() does; EngineError after dispose().
   */
  attend(q: Tensor, options?: CachedAttentionOptions): CachedAttention;
  attend(q: TensorLike, options?: CachedAttentionOptions): Promise<AttentionOutput>;
  attend(
    q: TensorLike | Tensor,
    options: CachedAttentionOptions = {},
  ): CachedAttention | Promise<AttentionOutput> {
    return isTensor(q) ? this.#attendTensor(q, options) : this.#attendHost(q, options);
  }

  /**
   * Sequence n goes on from what was sequence indices[n]; repeats are legal, sequences that are not named are dropped,
   * and `batch` becomes the number of indices. Copies. Throws OptionError for an index outside the batch, LimitError
   * where there is no memory for the copy, EngineError after dispose().
   */
  reorder(indices: ArrayLike<number>): void {
    this.#live().reorder(indices);
  }

  /** Frees the memory. Further calls of dispose() do nothing. */
  dispose(): void {
    this.#store.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #live(): KeyValueStore {
    if (this.#store.disposed) throw new EngineError(`${NAME}: used after it was disposed`);
    return this.#store;
  }

  #attendTensor(q: Tensor, options: CachedAttentionOptions): CachedAttention {
    this.#read('q', q);
    const p = this.#problem({ dtype: 'float32', shape: q.shape, data: NOTHING }, options);
    const call = cachedCall(this.engine, p, this.#store, wholeOperand(p, q, p.q));
    const { output, rowMax, rowSum, logSumExp } = attentionDecode(call, newOutput(this.engine, p));
    const stats = { rowMax, rowSum };
    const shaped = logSumExp.reshape(p.statistics.shape);
    logSumExp.dispose();
    return {
      output,
      logSumExp: shaped,
      ...stats,
      weights: (batch, head, queries, keys) => attentionWeights(call, stats, batch, head, queries, keys),
    };
  }

  async #attendHost(given: TensorLike, options: CachedAttentionOptions): Promise<AttentionOutput> {
    const { engine } = this;
    const store = this.#live();
    const q = floatOperand(`${NAME}: q`, given);
    const p = this.#problem(q, options);
    // Issued now: what is appended or reordered later does not concern this call.
    const weights = new CachedWeights(store, p);
    const issued = engine.scope(() => {
      const made = attentionDecode(cachedCall(engine, p, store), newOutput(engine, p));
      return [made.output, made.rowMax, made.rowSum, made.logSumExp].map((tensor) => tensor.read());
    });
    const [output, rowMax, rowSum, logSumExp] = (await Promise.all(issued)) as Float32Array[];
    const statistics: RowStatistics = { rowMax, rowSum, layout: p.layout };
    weights.statistics = statistics;
    const made = resultOf(p, output, logSumExp, statistics, new AttentionMap(p, weights), engine.backend);
    return { ...made, output: heldAs(given, made.output) };
  }

  #problem(q: HostTensor, options: CachedAttentionOptions): AttentionProblem {
    const store = this.#live();
    if (typeof options !== 'object' || options === null) {
      throw new OptionError(`${NAME}: expected options to be an object, got ${describe(options)}`);
    }
    for (const name of ['cuSeqlens', 'engine', 'allowReference']) {
      if (name in options) throw new OptionError(`${NAME}: ${name} does not go with a cache`);
    }
    const B = q.shape.slice(0, -3).reduce((a, n) => a * n, 1);
    if (B !== store.batch) {
      throw new ShapeError(
        `${NAME}: q of shape ${formatShape(q.shape)} has ${B} batch entries, expected the cache's ${store.batch}`,
      );
    }
    const rows = (width: number) => standIn(q.shape, store, width, options.layout);
    const k = { dtype: 'float32', shape: rows(store.keyWidth), data: NOTHING } as const;
    const v = { dtype: 'float32', shape: rows(store.valueWidth), data: NOTHING } as const;
    const own = options.causal === true ? { ...options, causal: 'lower-right' as const } : options;
    const p = validateProblem(NAME, [q, k, v], own);
    const reason = unservedReason(p);
    if (reason) throw new UnsupportedError(`${NAME}: no kernel serves ${reason}`);
    return p;
  }

  /** Checks a tensor of either kind. */
  #read(name: string, value: TensorLike | Tensor): HostTensor | Tensor {
    if (!isTensor(value)) return floatOperand(`${NAME}: ${name}`, value);
    if (value.engine !== this.engine) throw new EngineError(`${NAME}: ${name} belongs to another engine`);
    if (value.dtype !== 'float32') {
      throw new DTypeError(`${NAME}: ${name} is ${value.dtype}, expected float32`);
    }
    return value;
  }

  #upload(tensor: HostTensor | Tensor): Tensor {
    return isTensor(tensor) ? tensor : this.engine.tensor(toFloat32(tensor), tensor.shape);
  }

  /** The number of rows of k or v; throws ShapeError where its shape does not fit the cache. */
  #rowsOf(name: 'k' | 'v', shape: readonly number[], layout: 'bhld' | 'blhd'): number {
    const { batch, heads, keyWidth, valueWidth } = this.#store;
    const padded = [...new Array<number>(Math.max(0, 4 - shape.length)).fill(1), ...shape];
    const [width, inner, outer] = [padded.at(-1), padded.at(-2)!, padded.at(-3)!];
    const [ownHeads, rows] = layout === 'bhld' ? [outer, inner] : [inner, outer];
    const lead = padded.slice(0, -3).reduce((a, n) => a * n, 1);
    const expected = name === 'k' ? keyWidth : valueWidth;
    const least = layout === 'bhld' ? 2 : 3;
    if (shape.length >= least && width === expected && ownHeads === heads && lead === batch) return rows;
    const wanted = layout === 'bhld' ? [batch, heads, 'n', expected] : [batch, 'n', heads, expected];
    throw new ShapeError(`${NAME}: ${name} has shape ${formatShape(shape)}, expected [${wanted.join(', ')}]`);
  }
}

function newOutput(engine: Engine, p: AttentionProblem): Operand {
  return wholeOperand(p, engine.empty(p.output.shape), p.output);
}

const NOTHING = new Float32Array(0);

function isTensor(value: unknown): value is Tensor {
  return typeof value === 'object' && value !== null && 'engine' in value && 'rows' in value;
}

/** The shape that cached rows would have beside q, whose own rank tells how many dimensions to name. */
function standIn(
  q: readonly number[],
  { batch, heads, length }: KeyValueStore,
  width: number,
  layout: unknown,
): number[] {
  const lead = q.length > 4 ? q.slice(0, -3) : [batch];
  const own = layout === 'blhd' ? [length, heads, width] : [heads, length, width];
  const shape = [...lead, ...own];
  // Dimensions of 1 that q leaves out; where one is not 1, the ranks differ, which validation refuses.
  while (shape.length > q.length && shape[0] === 1) shape.shift();
  return shape;
}

function newRows(
  tensor: Tensor,
  { heads }: KeyValueStore,
  width: number,
  rows: number,
  layout: 'bhld' | 'blhd',
): Operand {
  const [head, row] = layout === 'bhld' ? [rows * width, width] : [width, heads * width];
  return { tensor, offset: 0, batch: heads * rows * width, head, row };
}
