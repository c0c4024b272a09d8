// Pictures that sharpen: queries are read in an order whose every beginning is spread evenly, none of them twice, and a
// picture is given whenever there is something to see.
import { OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import { Canvas, edge, type PooledWeights, type PoolPlace } from './pooling.js';
import { Progress } from './progress.js';
import type { Range, WeightSource } from './weight-source.js';

/** What a picture shows, how large it is, and how soon the first is wanted. */
export interface RefinePlace extends Omit<PoolPlace, 'estimate' | 'onProgress'> {
  /** Milliseconds to the first picture, about; default 250. */
  readonly within?: number;
}

/** Milliseconds to the first picture, unless told otherwise, and from each to the next at most. */
const FIRST = 250;
const NEXT = 2000;
/** Queries read at once at first, and how many times as many the next time at most. */
const START = 16;
const GROWTH = 4;
/** Queries that share the lanes of a kernel. */
const GROUP = 8;

export async function* refine(
  source: () => WeightSource,
  [batch, head]: readonly [number, number],
  lengths: readonly [number, number],
  { within = FIRST, ...place }: RefinePlace,
): AsyncGenerator<PooledWeights, void, undefined> {
  const begun = performance.now();
  if (typeof within !== 'number' || !(within > 0)) {
    throw new OptionError(`attention map: within is a number of milliseconds, got ${describe(within)}`);
  }
  const canvas = new Canvas(lengths, place);
  const { queries, keys, height, width: columns, most, into } = canvas;
  if (canvas.empty) {
    yield canvas.picture();
    return;
  }
  const order = spread(queries[1] - queries[0], height);
  let [target, goal, size] = [begun + within, Number.POSITIVE_INFINITY, START];
  while (canvas.left > 0) {
    const progress = new Progress(1, place);
    const [rows, bins] = take(order, queries, height, Math.min(size, goal, canvas.left));
    const since = performance.now();
    await source().pool({ batch, head, rows, bins, keys, columns, most, into }, progress);
    canvas.count(bins);
    goal -= rows.length;
    const now = performance.now();
    const each = (now - since) / rows.length;
    const fit = Math.floor((target - now) / each / GROUP) * GROUP;
    if (canvas.left === 0 || goal <= 0 || fit < GROUP) {
      yield canvas.picture();
      target = performance.now() + NEXT;
      // The next has twice as many, where that does not take too long.
      goal = queries[1] - queries[0] - canvas.left;
    }
    size = Math.max(GROUP, Math.min(GROWTH * rows.length, fit >= GROUP ? fit : rows.length));
  }
}

/** The next `most` queries, ascending, and their bins. */
function take(
  order: Iterator<number, void>,
  [from, to]: Range,
  height: number,
  most: number,
): [rows: Int32Array, bins: Int32Array] {
  const rows = new Int32Array(most);
  for (let t = 0; t < most; t++) rows[t] = order.next().value as number;
  rows.sort();
  const binOf = (g: number) => Math.floor(((g + 1) * height - 1) / (to - from));
  const bins = rows.map(binOf);
  return [rows.map((g) => from + g), bins];
}

/** Whole numbers below n, each once: one of each of `height` bins after the other, bins and theirs spread evenly. */
function* spread(n: number, height: number): Generator<number, void> {
  const taken = new Int32Array(height);
  const [bits, inner] = [bitsOf(height), bitsOf(Math.ceil(n / height))];
  for (let left = n; left > 0; ) {
    for (let v = 0; v < 2 ** bits; v++) {
      const bin = reversed(v, bits);
      if (bin >= height) continue;
      const [first, own] = [edge(bin, n, height), edge(bin + 1, n, height) - edge(bin, n, height)];
      let place = own;
      while (taken[bin] < 2 ** inner && place >= own) place = reversed(taken[bin]++, inner);
      if (place >= own) continue;
      // Each bin begins elsewhere: what recurs in step with the bins is not read at the same place of all.
      const start = (Math.imul(bin + 1, 0x9e3779b1) >>> 0) % own;
      yield first + ((place + start) % own);
      left--;
    }
  }
}

/** Bits that number [0, n). */
const bitsOf = (n: number) => 32 - Math.clz32(n - 1);

/** The lowest `bits` bits in reverse. */
function reversed(v: number, bits: number): number {
  let out = 0;
  for (let b = 0; b < bits; b++) out = (out << 1) | ((v >>> b) & 1);
  return out;
}
