// How rows are dealt to the pooling kernel, and its lanes gathered. A slice is what one part of it computes: rows of one
// bin, or up to eight rows of any bins, each in a lane of its own.
import type { PoolWork, Range } from './weight-source.js';

const LANES = 8;
/** Additions into one float32 lane, tile by tile: as many keep their rounding below 1e-6 of the sum. */
const ADDITIONS = 4096;
const TILE = 64;

/** Rows of a slice at most, a multiple of 8. */
export function longestSlice(keys: number, columns: number): number {
  const perBin = keys / columns;
  const groups = Math.max(1, Math.floor(ADDITIONS / Math.max(1, perBin / TILE)));
  // Narrow bins have many results: longer slices have fewer of them to gather.
  return LANES * Math.min(groups, perBin < LANES ? 64 : 8);
}

/** Where slices begin, and the end: rows come in ascending bins. */
export function slicesOf(bins: Int32Array, longest: number): Int32Array {
  const ends = [0];
  for (let from = 0; from < bins.length; ) {
    let to = Math.min(bins.length, from + LANES);
    const even = (end: number) => bins[end - 1] === bins[from];
    while (even(to) && to - from < longest && to + LANES <= bins.length && even(to + LANES)) to += LANES;
    ends.push(to);
    from = to;
  }
  return Int32Array.from(ends);
}

/** Bins [first, last) of `columns` that keys [from, to) of `span` lie in. */
export function binRange([from, to]: Range, span: number, columns: number): Range {
  const binOf = (g: number) => Number((BigInt(g + 1) * BigInt(columns) - 1n) / BigInt(span));
  return [binOf(from), binOf(to - 1) + 1];
}

/** Adds what slices hold, [slices][last − first][8], to the rows of bins that their lanes belong to. */
export function foldLanes(
  data: Float32Array,
  slices: Int32Array,
  bins: Int32Array,
  [first, last]: Range,
  { columns, most, into }: PoolWork,
): void {
  const width = last - first;
  for (let s = 0; s + 1 < slices.length; s++) {
    for (let lane = 0; lane < Math.min(LANES, slices[s + 1] - slices[s]); lane++) {
      let at = s * width * LANES + lane;
      const to = bins[slices[s] + lane] * columns + first;
      for (let c = to; c < to + width; c++, at += LANES) {
        into[c] = most ? Math.max(into[c], data[at]) : into[c] + data[at];
      }
    }
  }
}
