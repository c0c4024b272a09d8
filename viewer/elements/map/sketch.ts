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

/** Milliseconds to the first picture; to cut, colour and draw it takes a page some hundred more. */
const WITHIN = 140;

export function sketch(
  map: AttentionMap,
  { batch, head, reduce }: Subject,
  { queries, keys, rows, columns }: Region,
  signal: AbortSignal,
): AsyncGenerator<PooledWeights, void, undefined> {
  return map.refine({ batch, head, reduce, queries, keys, rows, columns, signal, within: WITHIN });
}
