// Pictures of a map: bins of queries and keys, exact or from some queries of each bin.
import { OptionError } from '../tensor/errors.js';
import { describe, type HostTensor } from '../tensor/host.js';
import { count, range } from './places.js';
import { checkWatch, Progress, type Watch } from './progress.js';
import { countOf, type Range, type Rows, type WeightSource } from './weight-source.js';

/** What a picture shows, and how large it is. */
export interface PoolPlace extends Watch {
  readonly batch?: number;
  readonly head?: number;
  /** [from, to); default: all. */
  readonly queries?: Range;
  readonly keys?: Range;
  readonly rows: number;
  readonly columns: number;
  readonly reduce: 'sum' | 'mean' | 'max';
  /**
   * Queries read of each row of the picture, spread evenly over its own; default: all. A fraction of 1: of so many rows
   * one query, and the others repeat the nearest of these.
   */
  readonly estimate?: number;
}

/** A picture [rows, columns]. */
export interface PooledWeights extends HostTensor<'float32'> {
  /** Share of the region's queries that was read: 1 is exact. */
  readonly fraction: number;
  /** Whether the numbers are maxima of a part only, which the true ones may exceed. */
  readonly lowerBound: boolean;
}

const MOST_CELLS = 2 ** 26;

export async function pool(
  source: WeightSource,
  [batch, head]: readonly [number, number],
  lengths: readonly [number, number],
  place: PoolPlace,
): Promise<PooledWeights> {
  const { estimate, signal, onProgress } = place;
  const part = typeof estimate === 'number' && estimate > 0 && estimate < 1;
  if (estimate !== undefined && !part) count('estimate', estimate, 1);
  const canvas = new Canvas(lengths, place);
  const { queries, keys, height, width: columns, most, into } = canvas;
  checkWatch(place);
  signal?.throwIfAborted();
  if (canvas.empty) return canvas.picture();
  const { chosen, bins } = choose(queries, height, estimate);
  const progress = new Progress(countOf(chosen) * (keys[1] - keys[0]), { signal, onProgress });
  await source.pool({ batch, head, rows: chosen, bins, keys, columns, most, into }, progress);
  canvas.count(bins);
  return canvas.picture();
}

/** A picture in the making: what was read of each of its rows. */
export class Canvas {
  readonly queries: Range;
  readonly keys: Range;
  /** As many bins as there are queries and keys; what the picture has more of repeats them. */
  readonly height: number;
  readonly width: number;
  readonly most: boolean;
  /** Row-major sums or maxima of the bins. */
  readonly into: Float64Array;
  /** Queries read of each bin, and of all. */
  private readonly read: Int32Array;
  private done = 0;

  /** Throws OptionError. */
  constructor(
    [Lq, Lk]: readonly [number, number],
    private readonly place: Omit<PoolPlace, 'estimate'>,
  ) {
    const { rows, columns, reduce } = place;
    this.queries = range('queries', place.queries, Lq);
    this.keys = range('keys', place.keys, Lk);
    for (const [name, value] of Object.entries({ rows, columns })) count(name, value, 1);
    if (rows * columns > MOST_CELLS) {
      throw new OptionError(`attention map: a picture has at most 2^26 cells, got ${rows} × ${columns}`);
    }
    if (reduce !== 'sum' && reduce !== 'mean' && reduce !== 'max') {
      throw new OptionError(`attention map: reduce is 'sum', 'mean' or 'max', got ${describe(reduce)}`);
    }
    this.height = Math.min(rows, this.queries[1] - this.queries[0]);
    this.width = Math.min(columns, this.keys[1] - this.keys[0]);
    this.most = reduce === 'max';
    this.into = new Float64Array(this.height * this.width);
    this.read = new Int32Array(this.height);
  }

  get empty(): boolean {
    return this.into.length === 0;
  }

  /** Queries of the region that are not read yet. */
  get left(): number {
    return this.queries[1] - this.queries[0] - this.done;
  }

  /** Notes the bins of queries that were read. */
  count(bins: Int32Array): void {
    for (const bin of bins) this.read[bin]++;
    this.done += bins.length;
  }

  /** The picture as it stands; something of it has been read. */
  picture(): PooledWeights {
    const { rows, columns, reduce } = this.place;
    const { read, height, width, most, into } = this;
    const [n, m] = [this.queries[1] - this.queries[0], this.keys[1] - this.keys[0]];
    const data = new Float32Array(rows * columns);
    const shape = [rows, columns];
    if (this.empty) return { dtype: 'float32', shape, data, fraction: 1, lowerBound: false };
    const nearest = nearestRead(read);
    const bins = Int32Array.from({ length: columns }, (_, c) => Math.floor((c * width) / columns));
    const keys = bins.map((x) => edge(x + 1, m, width) - edge(x, m, width));
    for (let r = 0; r < rows; r++) {
      const y = Math.floor((r * height) / rows);
      const from = nearest[y];
      const own = edge(y + 1, n, height) - edge(y, n, height);
      const line = into.subarray(from * width, (from + 1) * width);
      const factor = reduce === 'sum' ? own / read[from] : 1;
      for (let c = 0; c < columns; c++) {
        const mean = reduce === 'mean' ? 1 / (read[from] * keys[c]) : factor;
        data[r * columns + c] = line[bins[c]] * mean;
      }
    }
    const fraction = this.done / n;
    return { dtype: 'float32', shape, data, fraction, lowerBound: most && fraction < 1 };
  }
}

/** For each bin itself or, where nothing of it was read, the nearest of which something was. */
function nearestRead(read: Int32Array): Int32Array {
  const nearest = new Int32Array(read.length).fill(-1);
  let last = -1;
  for (let y = 0; y < read.length; y++) {
    if (read[y] > 0) last = y;
    nearest[y] = last;
  }
  let next = -1;
  for (let y = read.length - 1; y >= 0; y--) {
    if (read[y] > 0) next = y;
    const before = nearest[y];
    if (before < 0 || (next >= 0 && next - y < y - before)) nearest[y] = next;
  }
  return nearest;
}

/** Where bin r of `bins` begins among n. */
export function edge(r: number, n: number, bins: number): number {
  return Math.floor((r * n) / bins);
}

/** The queries to read, and the bin of each. */
function choose(
  [from, to]: Range,
  height: number,
  estimate = Number.POSITIVE_INFINITY,
): { chosen: Rows; bins: Int32Array } {
  const n = to - from;
  const read = new Int32Array(height);
  if (estimate < 1) {
    const some = Math.max(1, Math.round(height * estimate));
    for (let t = 0; t < some; t++) read[Math.floor(((2 * t + 1) * height) / (2 * some))] = 1;
  } else
    for (let r = 0; r < height; r++)
      read[r] = Math.min(estimate, edge(r + 1, n, height) - edge(r, n, height));
  const total = read.reduce((a, b) => a + b, 0);
  const bins = new Int32Array(total);
  const list = new Int32Array(total === n ? 0 : total);
  let at = 0;
  for (let r = 0; r < height; r++) {
    const [first, own] = [edge(r, n, height), edge(r + 1, n, height) - edge(r, n, height)];
    for (let t = 0; t < read[r]; t++, at++) {
      bins[at] = r;
      // The middles of equal parts of the bin.
      if (total !== n) list[at] = from + first + Math.floor(((2 * t + 1) * own) / (2 * read[r]));
    }
  }
  return { chosen: total === n ? [from, to] : list, bins };
}
