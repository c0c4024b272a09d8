// The attention map: the weights of a call, never stored, computed wherever someone looks. Weights precede dropout;
// a row's sum to 1 − sinkWeight, an empty row's to 0.
/// <reference lib="esnext.disposable" preserve="true" />
import type { AttentionProblem } from '../attention/problem.js';
import { EngineError, LimitError, OptionError } from '../tensor/errors.js';
import { describe, formatShape, type HostTensor } from '../tensor/host.js';
import type { Range, WeightSource } from './weights.js';

/** One row of weights. Batch entry (packed: sequence) and head may be left out where there is but one. */
export interface RowPlace {
  readonly batch?: number;
  readonly head?: number;
  readonly query: number;
}

export interface TilePlace {
  readonly batch?: number;
  readonly head?: number;
  /** [from, to) of the batch entry's (packed: the sequence's) queries; default: all. */
  readonly queries?: Range;
  readonly keys?: Range;
}

/** The weightiest keys of a row, in falling order. */
export interface TopKeys {
  readonly keys: Int32Array;
  readonly weights: Float32Array;
}

/** What toTensor may take, in bytes, unless told otherwise. */
export const DEFAULT_BUDGET = 2 ** 28;
/** Cells computed at a time by toTensor. */
const STEP = 2 ** 20;

/**
 * The weights of one attention() call. It refers to the caller's q, k and options, which must not change while it is
 * in use; retain() copies them. dispose() (or `using`) frees what it holds, after which every call rejects with
 * EngineError. Indices out of range reject with OptionError.
 */
export class AttentionMap {
  /** [B,H,Lq,Lk]; packed: sequences, heads, and the longest lengths. */
  readonly shape: readonly [B: number, H: number, Lq: number, Lk: number];
  private source: WeightSource | undefined;
  private readonly lengths: { queries: Int32Array; keys: Int32Array };

  /** @internal */
  constructor(problem: AttentionProblem, source: WeightSource) {
    const { B, H, Lq, Lk, packed, queryCounts, keyCounts } = problem;
    this.shape = [B, H, Lq, Lk];
    this.source = source;
    this.lengths = { queries: queryCounts, keys: packed ? keyCounts : new Int32Array(B).fill(Lk) };
  }

  /** Weights of one query over all keys of its batch entry, padding included: Float32Array(Lk). */
  async row({ batch, head, query }: RowPlace): Promise<Float32Array> {
    const [b, h] = this.pair(batch, head);
    const queries = this.lengths.queries[b];
    if (!Number.isInteger(query) || query < 0 || query >= queries) {
      throw new OptionError(
        `attention map: query is a whole number from 0 to below ${queries}, got ${describe(query)}`,
      );
    }
    return this.live().tile(b, h, [query, query + 1], [0, this.lengths.keys[b]]);
  }

  /** Weights of queries [a,b) over keys [c,d): float32 [b−a, d−c]. */
  async tile({ batch, head, queries, keys }: TilePlace = {}): Promise<HostTensor<'float32'>> {
    const [b, h] = this.pair(batch, head);
    const rows = range('queries', queries, this.lengths.queries[b]);
    const columns = range('keys', keys, this.lengths.keys[b]);
    const shape = [rows[1] - rows[0], columns[1] - columns[0]];
    const source = this.live();
    const data = shape[0] * shape[1] === 0 ? new Float32Array(0) : await source.tile(b, h, rows, columns);
    return { dtype: 'float32', shape, data };
  }

  /** The `count` keys of greatest weight, the earlier first among equals; fewer where fewer have any weight. */
  async topKeys({ count, ...place }: RowPlace & { readonly count: number }): Promise<TopKeys> {
    if (!Number.isInteger(count) || count < 0) {
      throw new OptionError(`attention map: count is a whole number from 0, got ${describe(count)}`);
    }
    const weights = await this.row(place);
    const least =
      count > 0 ? weights.slice().sort()[Math.max(0, weights.length - count)] : Number.POSITIVE_INFINITY;
    const keys: number[] = [];
    weights.forEach((weight, j) => {
      if (weight > 0 && !(weight < least)) keys.push(j);
    });
    keys.sort((a, b) => weights[b] - weights[a] || a - b);
    const top = Int32Array.from(keys.slice(0, count));
    return { keys: top, weights: Float32Array.from(top, (j) => weights[j]) };
  }

  /**
   * All weights, float32 [B,H,Lq,Lk] (packed: 0 beyond a sequence's own lengths). Rejects with LimitError where they
   * take more than `budget` bytes, by default 2^28, or than there is memory.
   */
  async toTensor({
    budget = DEFAULT_BUDGET,
  }: {
    readonly budget?: number;
  } = {}): Promise<HostTensor<'float32'>> {
    if (typeof budget !== 'number' || !(budget >= 0)) {
      throw new OptionError(`attention map: budget is a number of bytes from 0, got ${describe(budget)}`);
    }
    this.live();
    const [B, H, Lq, Lk] = this.shape;
    const bytes = B * H * Lq * Lk * 4;
    if (bytes > budget) {
      throw new LimitError(
        `attention map: all weights ${formatShape(this.shape)} take ${bytes} bytes, over the budget of ${budget}; ` +
          'look at tiles, or raise budget',
      );
    }
    const data = allocate(B * H * Lq * Lk, this.shape);
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < H; h++) await this.copyPair(b, h, data, (b * H + h) * Lq * Lk);
    }
    return { dtype: 'float32', shape: [...this.shape], data };
  }

  /** Copies the weights of one (batch, head) into rows of width Lk, some rows at a time. */
  private async copyPair(b: number, h: number, into: Float32Array, at: number): Promise<void> {
    const Lk = this.shape[3];
    const [queries, keys] = [this.lengths.queries[b], this.lengths.keys[b]];
    if (keys === 0) return;
    const step = Math.max(1, Math.floor(STEP / keys));
    for (let i = 0; i < queries; i += step) {
      const end = Math.min(queries, i + step);
      const tile = await this.live().tile(b, h, [i, end], [0, keys]);
      for (let r = i; r < end; r++) into.set(tile.subarray((r - i) * keys, (r - i + 1) * keys), at + r * Lk);
    }
  }

  /** Copies the caller's arrays, which may then change. Returns the map. */
  retain(): this {
    this.live().retain();
    return this;
  }

  /** Frees what the map holds. Further calls do nothing. */
  dispose(): void {
    this.source?.dispose();
    this.source = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  private live(): WeightSource {
    if (this.source === undefined) throw new EngineError('attention map: used after it was disposed');
    return this.source;
  }

  private pair(batch: number | undefined, head: number | undefined): [number, number] {
    this.live();
    const [B, H] = this.shape;
    return [index('batch', batch, B), index('head', head, H)];
  }
}

function allocate(size: number, shape: readonly number[]): Float32Array<ArrayBuffer> {
  try {
    return new Float32Array(size);
  } catch {
    throw new LimitError(
      `attention map: there is no memory for all weights ${formatShape(shape)}, ${size * 4} bytes; look at tiles`,
    );
  }
}

function index(name: string, value: number | undefined, end: number): number {
  if (value === undefined && end === 1) return 0;
  if (!Number.isInteger(value) || value! < 0 || value! >= end) {
    throw new OptionError(
      `attention map: ${name} is a whole number from 0 to below ${end}, got ${describe(value)}`,
    );
  }
  return value!;
}

function range(name: string, value: Range | undefined, end: number): Range {
  if (value === undefined) return [0, end];
  const [from, to] = Array.isArray(value) && value.length === 2 ? (value as Range) : [Number.NaN, Number.NaN];
  if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > end) {
    const got = Array.isArray(value) ? `[${value.map(describe).join(', ')}]` : describe(value);
    throw new OptionError(`attention map: ${name} is [from, to) within 0 to ${end}, got ${got}`);
  }
  return [from, to];
}
