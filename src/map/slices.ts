// How rows are dealt to the pooling kernel, and its lanes gathered. A slice is rows of one bin, or up to eight rows of any
// bins, each in a lane of its own; a block is what goes through a span of keys together.
import type { PoolWork, Range } from './weight-source.js';

const LANES = 8;
/** Additions into one float32 lane, tile by tile: as many keep their rounding below 1e-6 of the sum. */
const ADDITIONS = 4096;
const TILE = 64;
const CHUNK = 64;
/** Multiplications of one part of the kernel, a block and a span: about a millisecond. */
const PART_WORK = 2 ** 25;

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

/** Which slices go together: one, or as many of eight rows as make 64. */
export function blocksOf(slices: Int32Array): Int32Array {
  const ends = [0];
  for (let from = 0; from + 1 < slices.length; ) {
    let to = from + 1;
    const short = (s: number) => s + 1 < slices.length && slices[s + 1] - slices[s] <= LANES;
    if (short(from)) while (short(to) && slices[to + 1] - slices[from] <= CHUNK) to++;
    ends.push(to);
    from = to;
  }
  return Int32Array.from(ends);
}

/** The bins that spans of `reach` keys lie in, of a range of keys of a region. */
export interface Spans {
  readonly reach: number;
  /** Bins [first, last) of each span. */
  readonly bins: readonly Range[];
  /** As many as any span has. */
  readonly width: number;
}

/** Keys [from, to) of a region of `span`, which `columns` bins divide, at width D. */
export function spansOf([from, to]: Range, span: number, columns: number, D: number): Spans {
  const reach = Math.max(1, Math.floor(PART_WORK / (CHUNK * TILE * D))) * TILE;
  const bins: Range[] = [];
  for (let a = from; a < to; a += reach) bins.push(binRange([a, Math.min(to, a + reach)], span, columns));
  return { reach, bins, width: Math.max(...bins.map(([first, last]) => last - first)) };
}

/** Bins [first, last) of `columns` that keys [from, to) of `span` lie in. */
function binRange([from, to]: Range, span: number, columns: number): Range {
  const binOf = (g: number) => Number((BigInt(g + 1) * BigInt(columns) - 1n) / BigInt(span));
  return [binOf(from), binOf(to - 1) + 1];
}

/** Adds what slices hold, [slices][spans][width][8], to the rows of bins that their lanes belong to. */
export function foldLanes(
  data: Float32Array,
  slices: Int32Array,
  bins: Int32Array,
  spans: Spans,
  { columns, most, into }: PoolWork,
): void {
  const stride = spans.width * LANES;
  for (let s = 0; s + 1 < slices.length; s++) {
    for (const [n, [first, last]] of spans.bins.entries()) {
      const from = (s * spans.bins.length + n) * stride;
      for (let lane = 0; lane < Math.min(LANES, slices[s + 1] - slices[s]); lane++) {
        let at = from + lane;
        const row = bins[slices[s] + lane] * columns;
        for (let c = row + first; c < row + last; c++, at += LANES) {
          into[c] = most ? Math.max(into[c], data[at]) : into[c] + data[at];
        }
      }
    }
  }
}
