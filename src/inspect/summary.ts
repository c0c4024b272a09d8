// What heads do, in a few numbers each: how sharply, how far and along which diagonal they look, and what they leave
// on the first tokens. All from the map's readings: exact, and nothing is ever N×N.
import type { AttentionMap } from '../map/attention-map.js';
import { count } from '../map/places.js';
import type { Watch } from '../map/progress.js';
import { largest } from '../map/top-keys.js';
import type { Trace } from '../map/trace.js';

/** Numbers of one head: means over the queries of a batch entry. An empty row counts as 0 in all of them. */
export interface HeadSummary {
  readonly head: number;
  /** −Σ w·log w in nats: 0 looks at one key, log n at n alike. */
  readonly entropy: number;
  /** |i + o − j| by weight, in keys. */
  readonly distance: number;
  /** Weight on the first keys, and on the head's own sink where the call has `sinks`: what Xiao et al. 2023 call attention sinks. */
  readonly sinkShare: number;
  /** Weight on key i + o − 1, i + o and i + o + 1 of query i: the previous token, the same and the next. */
  readonly previous: number;
  readonly same: number;
  readonly next: number;
}

export interface SummaryPlace extends Watch {
  /** Batch entry; may be left out where there is but one. */
  readonly batch?: number;
  /** Keys at the beginning that count as first; default 1. */
  readonly first?: number;
}

export interface HeadPlace extends SummaryPlace {
  /** May be left out where there is but one. */
  readonly head?: number;
}

/** Weights read at a time. */
const STEP = 2 ** 20;

/**
 * The numbers of every head. One pass over all weights of a head gives entropy and distance, the others cost as much
 * as some columns. Rejects with OptionError for a place outside, and with the signal's reason.
 */
export async function headSummary(map: AttentionMap, place: SummaryPlace = {}): Promise<HeadSummary[]> {
  const { batch, first = 1, signal, onProgress } = place;
  const heads = map.shape[1];
  const made: HeadSummary[] = [];
  for (let head = 0; head < heads; head++) {
    const pair = { batch, head, signal };
    const told = (fraction: number) => onProgress?.((head + fraction) / heads);
    const entropy = mean(await map.entropy({ ...pair, onProgress: told }));
    const distance = mean(await map.distance(pair));
    const [previous, same, next] = [
      mean(await map.diagonal(-1, pair)),
      mean(await map.diagonal(0, pair)),
      mean(await map.diagonal(1, pair)),
    ];
    const sinkShare =
      mean({ data: await firstTokenShare(map, { ...pair, first }) }) + mean(await map.sinkWeight(pair));
    made.push({ head, entropy, distance, sinkShare, previous, same, next });
  }
  return made;
}

/** headSummary() of every attention of a trace: of all layers at once. */
export async function traceSummary(
  trace: Trace,
  { first, signal, onProgress }: Omit<SummaryPlace, 'batch'> = {},
): Promise<{ name: string; heads: HeadSummary[] }[]> {
  const made = [];
  for (const [n, entry] of trace.entries.entries()) {
    const told = (fraction: number) => onProgress?.((n + fraction) / trace.entries.length);
    const heads = await headSummary(await entry.map({ signal }), { first, signal, onProgress: told });
    made.push({ name: entry.name, heads });
  }
  return made;
}

/**
 * Σ_{j < first} w[i,j] of each query i of one head, float32 [Lq]: models leave on their first tokens what they have no
 * use for (Xiao et al. 2023, "Efficient Streaming Language Models with Attention Sinks"). A learned sink is
 * `map.sinkWeight()`. Rejects with OptionError for a place outside, and with the signal's reason.
 */
export async function firstTokenShare(
  map: AttentionMap,
  { batch, head, first = 1, signal, onProgress }: HeadPlace = {},
): Promise<Float32Array> {
  count('first', first, 0);
  const [queries, all] = await lengths(map, batch, head);
  const keys = Math.min(first, all);
  const shares = new Float32Array(queries);
  const step = Math.max(1, Math.floor(STEP / Math.max(1, keys)));
  for (let from = 0; from < queries; from += step) {
    const to = Math.min(queries, from + step);
    const { data } = await map.tile({ batch, head, queries: [from, to], keys: [0, keys], signal });
    for (let n = 0; n < data.length; n++) shares[from + Math.floor(n / keys)] += data[n];
    onProgress?.(to / queries);
  }
  return shares;
}

/** The keys that receive most, in falling order. */
export interface HeavyHitters {
  readonly keys: Int32Array;
  /** Σ_i w[i,j] of each: how many queries' worth of weight it received. */
  readonly received: Float32Array;
}

/**
 * The `count` keys of one head that receive the most weight, Σ_i w[i,j] over all queries, the earlier first among
 * equals; fewer where fewer receive any. A few keys often take most (Zhang et al. 2023, "H2O: Heavy-Hitter Oracle",
 * which keeps those alone in its cache). Rejects with OptionError for a place outside, and with the signal's reason.
 */
export async function heavyHitters(
  map: AttentionMap,
  place: Watch & { readonly batch?: number; readonly head?: number; readonly count: number },
): Promise<HeavyHitters> {
  const { count: most, batch, head, ...watch } = place;
  count('count', most, 0);
  await lengths(map, batch, head);
  const { data } = await map.received({ batch: batch ?? 0, head: head ?? 0, ...watch });
  const { keys, weights } = largest(data as Float32Array, most);
  return { keys, received: weights };
}

/** Queries and keys of one pair; rejects where there is no such pair, or which one is meant is not said. */
async function lengths(map: AttentionMap, batch?: number, head?: number): Promise<[number, number]> {
  const rows = await map.tile({ batch, head, keys: [0, 0] });
  const columns = await map.tile({ batch, head, queries: [0, 0] });
  return [rows.shape[0], columns.shape[1]];
}

function mean({ data }: { readonly data: ArrayLike<number> }): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i];
  return data.length === 0 ? 0 : sum / data.length;
}
