// Pictures of a map: bins of queries and keys, exact or from some queries of each bin.
import { OptionError } from '../tensor/errors.js';
import { describe, type HostTensor } from '../tensor/host.js';
import { count, range } from './places.js';
import { Progress, type Watch } from './progress.js';
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
  /** Queries read of each row of the picture, spread evenly over its own; default: all. */
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
  [Lq, Lk]: readonly [number, number],
  place: PoolPlace,
): Promise<PooledWeights> {
  const { rows, columns, reduce, estimate, signal, onProgress } = place;
  const [queries, keys] = [range('queries', place.queries, Lq), range('keys', place.keys, Lk)];
  for (const [name, value] of Object.entries({ rows, columns })) count(name, value, 1);
  if (estimate !== undefined) count('estimate', estimate, 1);
  if (rows * columns > MOST_CELLS) {
    throw new OptionError(`attention map: a picture has at most 2^26 cells, got ${rows} × ${columns}`);
  }
  if (reduce !== 'sum' && reduce !== 'mean' && reduce !== 'max') {
    throw new OptionError(`attention map: reduce is 'sum', 'mean' or 'max', got ${describe(reduce)}`);
  }
  const [n, m] = [queries[1] - queries[0], keys[1] - keys[0]];
  const shape = [rows, columns];
  if (n === 0 || m === 0) {
    signal?.throwIfAborted();
    return {
      dtype: 'float32',
      shape,
      data: new Float32Array(rows * columns),
      fraction: 1,
      lowerBound: false,
    };
  }
  // As many bins as there are queries and keys; what the picture has more of repeats them.
  const [height, width] = [Math.min(rows, n), Math.min(columns, m)];
  const { chosen, bins, read } = choose(queries, height, estimate);
  const most = reduce === 'max';
  const into = new Float64Array(height * width);
  const progress = new Progress(countOf(chosen) * m, { signal, onProgress });
  await source.pool({ batch, head, rows: chosen, bins, keys, columns: width, most, into }, progress);
  const fraction = countOf(chosen) / n;
  const data = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    const y = Math.floor((r * height) / rows);
    const own = edge(y + 1, n, height) - edge(y, n, height);
    for (let c = 0; c < columns; c++) {
      const x = Math.floor((c * width) / columns);
      let factor = 1;
      if (reduce === 'sum') factor = own / read[y];
      else if (!most) factor = 1 / (read[y] * (edge(x + 1, m, width) - edge(x, m, width)));
      data[r * columns + c] = into[y * width + x] * factor;
    }
  }
  return { dtype: 'float32', shape, data, fraction, lowerBound: most && fraction < 1 };
}

/** Where bin r of `bins` begins among n. */
function edge(r: number, n: number, bins: number): number {
  return Math.floor((r * n) / bins);
}

/** The queries to read, the bin of each, and how many each bin has. */
function choose(
  [from, to]: Range,
  height: number,
  estimate = Number.POSITIVE_INFINITY,
): { chosen: Rows; bins: Int32Array; read: Int32Array } {
  const n = to - from;
  const read = Int32Array.from({ length: height }, (_, r) =>
    Math.min(estimate, edge(r + 1, n, height) - edge(r, n, height)),
  );
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
  return { chosen: total === n ? [from, to] : list, bins, read };
}
