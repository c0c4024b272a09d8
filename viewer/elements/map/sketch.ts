// Pictures of one region, the first soon, each sharper than the one before, the last exact.
import type { AttentionMap, PooledWeights } from 'fovea';
import type { Region } from './tiles.js';

export type Reduce = 'sum' | 'mean' | 'max';

/** Which weights, and what of many becomes one pixel. */
export interface Subject {
  readonly batch: number;
  readonly head: number;
  readonly reduce: Reduce;
}

/** Multiplications of a first picture, about a tenth of a second. */
const FIRST = 5e9;

export async function* sketch(
  map: AttentionMap,
  subject: Subject,
  region: Region,
  signal: AbortSignal,
): AsyncGenerator<PooledWeights> {
  const { queries, keys, columns } = region;
  const place = { ...subject, queries, keys, columns, signal };
  const count = queries[1] - queries[0];
  let rows = Math.min(region.rows, Math.max(8, Math.floor(FIRST / (128 * (keys[1] - keys[0])))));
  for (; rows < region.rows; rows *= 4) yield await map.pool({ ...place, rows, estimate: 1 });
  for (let estimate = 1; estimate < count / region.rows; estimate *= 4) {
    yield await map.pool({ ...place, rows: region.rows, estimate });
  }
  yield await map.pool({ ...place, rows: region.rows });
}
