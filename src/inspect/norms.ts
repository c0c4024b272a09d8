// Value-weighted attention (Kobayashi et al. 2020, "Attention is Not Only a Weight"): the size of what each key in
// truth adds to a query's output, ‖α·v·W‖, instead of the weight α alone.
import type { AttentionMap } from '../map/attention-map.js';
import type { Range } from '../map/parts.js';
import { below, range } from '../map/places.js';
import { Progress, type Watch } from '../map/progress.js';
import { ShapeError } from '../tensor/errors.js';
import { formatShape, type HostTensor, hostTensor, type TensorLike, toFloat32 } from '../tensor/host.js';

export interface ValueWeighting extends Watch {
  /** Values of one batch entry, [H,Lk,Dv]: one per query head of the map. */
  readonly v: TensorLike;
  /** The projection after attention, [E, H·Dv] as torch's `out_proj.weight`: head h owns columns h·Dv to (h+1)·Dv. */
  readonly projection: TensorLike;
  readonly batch?: number;
  /** One head; without it the heads' vectors are added before their norm is taken, as the layer adds them. */
  readonly head?: number;
  /** [from, to); default: all. */
  readonly queries?: Range;
}

/** Weights read at a time. */
const STEP = 2 ** 20;
/** Multiplications between two looks at the clock, a few milliseconds. */
const PART = 2 ** 22;

/**
 * Norms ‖Σ_h α[h,i,j]·v[h,j]·W_h‖ of queries over all keys, float32 [queries, Lk]. The projection's bias belongs to no
 * key and is left out. Takes time in proportion to heads · keys · E · (Dv + queries), memory to heads · keys · E.
 * Rejects with ShapeError where v or projection do not fit the map, OptionError for a place outside, and with the signal's
 * reason.
 */
export async function valueWeightedNorms(
  map: AttentionMap,
  weighting: ValueWeighting,
): Promise<HostTensor<'float32'>> {
  const { batch, head, queries, signal, onProgress } = weighting;
  const [, H, Lq, Lk] = map.shape;
  if (head !== undefined) below('valueWeightedNorms: head', head, H);
  const operands = checkOperands(weighting, H, Lk);
  const { E, Dv } = operands;
  const heads = head === undefined ? Array.from({ length: H }, (_, h) => h) : [head];
  const [first, end] = range('queries', queries, Lq);
  const progress = new Progress(heads.length * Lk * E * (Dv + end - first), { signal, onProgress });
  const vectors = await transformedValues(operands, heads, progress);
  const norms = new Float32Array((end - first) * Lk);
  const step = Math.max(1, Math.floor(STEP / Math.max(1, heads.length * Lk)));
  for (let from = first; from < end; from += step) {
    const to = Math.min(end, from + step);
    const tiles: Float32Array[] = [];
    for (const h of heads) {
      const { data } = await map.tile({ batch, head: h, queries: [from, to], signal });
      tiles.push(data as Float32Array);
    }
    await addUp(tiles, vectors, E, norms.subarray((from - first) * Lk, (to - first) * Lk), progress);
  }
  return { dtype: 'float32', shape: [end - first, Lk], data: norms };
}

interface Operands {
  /** [H,Lk,Dv] */
  readonly values: Float32Array;
  /** [E,H·Dv] */
  readonly weights: Float32Array;
  readonly H: number;
  readonly Lk: number;
  readonly Dv: number;
  readonly E: number;
}

function checkOperands({ v, projection }: ValueWeighting, H: number, Lk: number): Operands {
  const values = hostTensor('valueWeightedNorms: v', v);
  const weights = hostTensor('valueWeightedNorms: projection', projection);
  const [heads, keys, Dv] = values.shape;
  if (values.shape.length !== 3 || heads !== H || keys !== Lk)
    throw new ShapeError(
      `valueWeightedNorms: v has shape ${formatShape(values.shape)}, expected [${H}, ${Lk}, Dv]`,
    );
  const [E, columns] = weights.shape;
  if (weights.shape.length !== 2 || columns !== H * Dv)
    throw new ShapeError(
      `valueWeightedNorms: projection has shape ${formatShape(weights.shape)}, expected [E, ${H * Dv}]`,
    );
  return { values: toFloat32(values), weights: toFloat32(weights), H, Lk, Dv, E };
}

/** v[h,j]·W_h of these heads and all keys, [heads,Lk,E]. */
async function transformedValues(
  { values, weights, H, Lk, Dv, E }: Operands,
  heads: readonly number[],
  progress: Progress,
): Promise<Float32Array> {
  const vectors = new Float32Array(heads.length * Lk * E);
  const step = Math.max(1, Math.floor(PART / Math.max(1, E * Dv)));
  for (const [n, h] of heads.entries()) {
    for (let from = 0; from < Lk; from += step) {
      const to = Math.min(Lk, from + step);
      await progress.next();
      for (let j = from; j < to; j++) {
        for (let e = 0; e < E; e++) {
          let sum = 0;
          for (let d = 0; d < Dv; d++) sum += values[(h * Lk + j) * Dv + d] * weights[(e * H + h) * Dv + d];
          vectors[(n * Lk + j) * E + e] = sum;
        }
      }
      progress.advance((to - from) * E * Dv);
    }
  }
  return vectors;
}

/** The norms of rows whose weights are `tiles`, one a head. */
async function addUp(
  tiles: readonly Float32Array[],
  vectors: Float32Array,
  E: number,
  norms: Float32Array,
  progress: Progress,
): Promise<void> {
  const Lk = vectors.length / Math.max(1, tiles.length * E);
  const sum = new Float64Array(E);
  const step = Math.max(1, Math.floor(PART / Math.max(1, tiles.length * E)));
  for (let from = 0; from < norms.length; from += step) {
    const to = Math.min(norms.length, from + step);
    await progress.next();
    for (let cell = from; cell < to; cell++) {
      sum.fill(0);
      tiles.forEach((weights, n) => {
        const weight = weights[cell];
        if (weight === 0) return;
        const at = (n * Lk + (cell % Lk)) * E;
        for (let e = 0; e < E; e++) sum[e] += weight * vectors[at + e];
      });
      norms[cell] = Math.sqrt(sum.reduce((a, x) => a + x * x, 0));
    }
    progress.advance((to - from) * tiles.length * E);
  }
}
