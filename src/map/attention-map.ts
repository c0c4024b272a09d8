// The attention map: the weights of a call, never stored, computed wherever someone looks. Weights precede dropout;
// a row's sum to 1 − sinkWeight, an empty row's to 0.
/// <reference lib="esnext.disposable" preserve="true" />
import type { AttentionProblem } from '../attention/problem.js';
import { EngineError, LimitError, OptionError } from '../tensor/errors.js';
import { checkOptions, describe, formatShape, type HostTensor } from '../tensor/host.js';
import { sinkWeights, statisticAt } from './known.js';
import { below, count, index, place as placed, range } from './places.js';
import { type PooledWeights, type PoolPlace, pool } from './pooling.js';
import { Progress, type Watch } from './progress.js';
import { type RefinePlace, refine } from './refine.js';
import { largest } from './top-keys.js';
import type { Moments, Range, WeightSource } from './weight-source.js';

/** One row of weights. Batch entry (packed: sequence) and head may be left out where there is but one. */
export interface RowPlace {
  readonly batch?: number;
  readonly head?: number;
  readonly query: number;
  /** Ends the reading: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

export interface TilePlace {
  readonly batch?: number;
  readonly head?: number;
  /** [from, to) of the batch entry's (packed: the sequence's) queries; default: all. */
  readonly queries?: Range;
  readonly keys?: Range;
  readonly signal?: AbortSignal;
}

/** What readings of whole maps take: which pairs (default: all), and how they are watched. */
export interface ReadingPlace extends Watch {
  readonly batch?: number;
  readonly head?: number;
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
  private readonly lengths: { queries: readonly number[]; keys: readonly number[] };
  private readonly diagonals: readonly number[];
  /** Of pairs b·H + h: one pass gives entropy and distance. */
  private readonly known = new Map<number, Moments>();

  /** @internal */
  constructor(problem: AttentionProblem, source: WeightSource) {
    const { B, H, Lq, Lk, keyLengths, queryCounts, keyCounts, diagonal } = problem;
    this.shape = [B, H, Lq, Lk];
    this.source = source;
    this.lengths = { queries: queryCounts, keys: keyLengths ? new Array<number>(B).fill(Lk) : keyCounts };
    this.diagonals = diagonal;
  }

  /** Weights of one query over all keys of its batch entry, padding included: Float32Array(Lk). */
  async row(place: RowPlace): Promise<Float32Array> {
    const { batch, head, query, signal } = placed(place);
    const [b, h] = this.pair(batch, head);
    below('attention map: query', query, this.lengths.queries[b]);
    const progress = new Progress(1, { signal });
    return this.live().tile(b, h, [query, query + 1], [0, this.lengths.keys[b]], progress);
  }

  /** Weights of queries [a,b) over keys [c,d): float32 [b−a, d−c]. */
  async tile(place: TilePlace = {}): Promise<HostTensor<'float32'>> {
    const { batch, head, queries, keys, signal } = placed(place);
    const [b, h] = this.pair(batch, head);
    const rows = range('queries', queries, this.lengths.queries[b]);
    const columns = range('keys', keys, this.lengths.keys[b]);
    const shape = [rows[1] - rows[0], columns[1] - columns[0]];
    const [source, progress] = [this.live(), new Progress(1, { signal })];
    const none = shape[0] * shape[1] === 0;
    const data = none ? new Float32Array(0) : await source.tile(b, h, rows, columns, progress);
    return { dtype: 'float32', shape, data };
  }

  /**
   * log Σ exp(score) of one query's row, its sink included; −∞ for an empty row. The score of a cell is the logarithm of its
   * weight plus this.
   */
  async logSumExp(place: RowPlace): Promise<number> {
    const { batch, head, query, signal } = placed(place);
    const [b, h] = this.pair(batch, head);
    below('attention map: query', query, this.lengths.queries[b]);
    const progress = new Progress(1, { signal });
    const { known, problem } = await this.live().statisticsOf(b, h, [query, query + 1], progress);
    const at = statisticAt(problem, b, h, query);
    return known.rowMax[at] + Math.log(known.rowSum[at]);
  }

  /** The `count` keys of greatest weight, the earlier first among equals; fewer where fewer have any weight. */
  async topKeys(place: RowPlace & { readonly count: number }): Promise<TopKeys> {
    const { count: most } = placed(place);
    count('count', most, 0);
    return largest(await this.row(place), most);
  }

  /**
   * A picture of the weights of queries [a,b) over keys [c,d): float32 [rows, columns], each the sum, mean or maximum of
   * its cells' weights, forbidden cells being 0. Row r has queries a + ⌊r·n/rows⌋ up to a + ⌊(r+1)·n/rows⌋ of the n, and
   * columns likewise; where there are more rows than queries, query a + ⌊r·n/rows⌋ alone, repeated.
   *
   * `estimate` reads that many queries of each row only, spread evenly (sums are scaled up), and tells in `fraction`
   * what share of all it read; a maximum is then a lower bound. Below 1 it reads one query of that share of the rows, and
   * the others repeat the nearest of these. Numbers are within 1e-5 relative to a bin's own (and
   * 1e-5 absolute of a mean or maximum). Rejects with OptionError, and with the signal's reason.
   */
  async pool(place: PoolPlace): Promise<PooledWeights> {
    const [b, h] = this.pair(placed(place).batch, place.head);
    return pool(this.live(), [b, h], [this.lengths.queries[b], this.lengths.keys[b]], place);
  }

  /**
   * Pictures of one region, as pool() makes them, that sharpen: the first about `within` milliseconds (default 250) after
   * it is asked for, from as many queries, spread evenly, as could be read by then; the next from twice as many, or after
   * two seconds; the last from all, exact. No query is read twice, `fraction` tells how many were, and rows of the picture
   * of which none was repeat the nearest. A region of little work comes exact at once. It goes on only while the next
   * picture is asked for: `for await (const picture of map.refine(view)) draw(picture)`, until the loop is left or the
   * signal rejects it with its reason. Row statistics that are not known yet count in the time.
   */
  async *refine(place: RefinePlace): AsyncGenerator<PooledWeights, void, undefined> {
    const [b, h] = this.pair(placed(place).batch, place.head);
    yield* refine(() => this.live(), [b, h], [this.lengths.queries[b], this.lengths.keys[b]], place);
  }

  /**
   * What each key receives: its weights summed over all queries. float32 [B,H,Lk], packed 0 beyond a sequence's own keys;
   * [own keys] where batch or head are given.
   */
  async received(place: ReadingPlace = {}): Promise<HostTensor<'float32'>> {
    return this.read(place, 'keys', async (b, h, progress) => {
      const [queries, keys] = [this.lengths.queries[b], this.lengths.keys[b]];
      const into = new Float64Array(keys);
      const bins = new Int32Array(queries);
      const whole = { batch: b, head: h, rows: [0, queries], keys: [0, keys], columns: keys } as const;
      if (queries > 0 && keys > 0) await this.live().pool({ ...whole, bins, most: false, into }, progress);
      return new Float32Array(into);
    });
  }

  /**
   * −Σ w·log w of each row over its keys, in nats: 0 where one key has all weight, log n where n share it evenly, 0 for
   * an empty row. float32 [B,H,Lq], packed 0 beyond a sequence's own queries; [own queries] where batch or head are given.
   */
  async entropy(place: ReadingPlace = {}): Promise<HostTensor<'float32'>> {
    return this.read(
      place,
      'queries',
      async (b, h, progress) => (await this.moments(b, h, progress)).entropy,
    );
  }

  /**
   * Mean distance |i + o − j| of a row's keys from its diagonal, by weight (the sink left out), in keys; 0 for an empty
   * row. Shapes as entropy(); relative error 1e-5.
   */
  async distance(place: ReadingPlace = {}): Promise<HostTensor<'float32'>> {
    return this.read(
      place,
      'queries',
      async (b, h, progress) => (await this.moments(b, h, progress)).distance,
    );
  }

  /** The share of each row that its sink takes: 1 less the row's sum; 0 without sinks. Shapes as entropy(). */
  async sinkWeight(place: ReadingPlace = {}): Promise<HostTensor<'float32'>> {
    return this.read(place, 'queries', async (b, h, progress) => {
      const queries = this.lengths.queries[b];
      const { known, problem } = await this.live().statisticsOf(b, h, [0, queries], progress);
      progress.advance(queries * this.lengths.keys[b]);
      return sinkWeights(known, problem, b, h);
    });
  }

  /**
   * The weight of each row i at key i + o + offset (where it exists): with o = 0, offset −1 is the previous token, 0 the
   * same, 1 the next. Shapes as entropy().
   */
  async diagonal(offset: number, place: ReadingPlace = {}): Promise<HostTensor<'float32'>> {
    if (!Number.isSafeInteger(offset)) {
      throw new OptionError(`attention map: offset is a whole number, got ${describe(offset)}`);
    }
    return this.read(place, 'queries', async (b, h, progress) => {
      return this.live().diagonal(b, h, this.diagonals[b] + offset, progress);
    });
  }

  /**
   * All weights, float32 [B,H,Lq,Lk] (packed: 0 beyond a sequence's own lengths). Rejects with LimitError where they
   * take more than `budget` bytes, by default 2^28, or than there is memory.
   */
  async toTensor(options: { readonly budget?: number } = {}): Promise<HostTensor<'float32'>> {
    checkOptions('attention map', options, ['budget']);
    const { budget = DEFAULT_BUDGET } = options;
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
      const all = await this.live().together?.(b);
      const size = this.lengths.queries[b] * this.lengths.keys[b];
      for (let h = 0; h < H; h++) {
        const at = (b * H + h) * Lq * Lk;
        if (all) this.spread(b, all.subarray(h * size, (h + 1) * size), data, at);
        else await this.copyPair(b, h, data, at);
      }
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
      this.spread(b, tile, into, at + i * Lk);
    }
  }

  /** Copies whole rows into rows of width Lk. */
  private spread(b: number, rows: Float32Array, into: Float32Array, at: number): void {
    const keys = this.lengths.keys[b];
    for (let from = 0, to = at; from < rows.length; from += keys, to += this.shape[3])
      into.set(rows.subarray(from, from + keys), to);
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

  private async moments(b: number, h: number, progress: Progress): Promise<Moments> {
    const pair = b * this.shape[1] + h;
    const made = this.known.get(pair) ?? (await this.live().moments(b, h, progress));
    this.known.set(pair, made);
    return made;
  }

  /** One number per query (or key) of one pair, or of all. */
  private async read(
    place: ReadingPlace,
    per: 'queries' | 'keys',
    one: (b: number, h: number, progress: Progress) => Promise<Float32Array>,
  ): Promise<HostTensor<'float32'>> {
    this.live();
    const { batch, head, ...watch } = placed(place);
    const [B, H, Lq, Lk] = this.shape;
    const { queries, keys } = this.lengths;
    if (batch !== undefined || head !== undefined) {
      const [b, h] = this.pair(batch, head);
      const data = await one(b, h, new Progress(queries[b] * keys[b], watch));
      return { dtype: 'float32', shape: [data.length], data };
    }
    const width = per === 'queries' ? Lq : Lk;
    const data = new Float32Array(B * H * width);
    const cells = queries.reduce((sum, n, b) => sum + n * keys[b], 0);
    const progress = new Progress(H * cells, watch);
    for (let b = 0; b < B; b++) {
      for (let h = 0; h < H; h++) data.set(await one(b, h, progress), (b * H + h) * width);
    }
    return { dtype: 'float32', shape: [B, H, width], data };
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
