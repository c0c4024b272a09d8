// Value-weighted attention (Kobayashi et al. 2020, "Attention is Not Only a Weight"): the size of what each key in
// truth adds to a query's output, ‖α·v·W‖, instead of the weight α alone.
import type { AttentionMap } from '../map/attention-map.js';
import type { Range } from '../map/parts.js';
import { below } from '../map/places.js';
import { ShapeError } from '../tensor/errors.js';
import { formatShape, type HostTensor, hostTensor, type TensorLike, toFloat32 } from '../tensor/host.js';

export interface ValueWeighting {
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

/**
 * Norms ‖Σ_h α[h,i,j]·v[h,j]·W_h‖ of queries over all keys, float32 [queries, Lk]. The projection's bias belongs to no
 * key and is left out. Takes time and memory in proportion to heads · keys · E, and queries · keys · E.
 * @throws ShapeError where v or projection do not fit the map, OptionError for a place outside.
 */
export async function valueWeightedNorms(
  map: AttentionMap,
  weighting: ValueWeighting,
): Promise<HostTensor<'float32'>> {
  const { batch, head, queries } = weighting;
  const [, H, Lq, Lk] = map.shape;
  if (head !== undefined) below('valueWeightedNorms: head', head, H);
  const { vectors, E } = transformedValues(weighting, H, Lk);
  const heads = head === undefined ? Array.from({ length: H }, (_, h) => h) : [head];
  const [from, to] = queries ?? [0, Lq];
  const tiles: Float32Array[] = [];
  for (const h of heads)
    tiles.push((await map.tile({ batch, head: h, queries: [from, to] })).data as Float32Array);
  const norms = new Float32Array((to - from) * Lk);
  const sum = new Float64Array(E);
  for (let cell = 0; cell < norms.length; cell++) {
    sum.fill(0);
    heads.forEach((h, n) => {
      const weight = tiles[n][cell];
      if (weight === 0) return;
      const at = (h * Lk + (cell % Lk)) * E;
      for (let e = 0; e < E; e++) sum[e] += weight * vectors[at + e];
    });
    norms[cell] = Math.sqrt(sum.reduce((a, x) => a + x * x, 0));
  }
  return { dtype: 'float32', shape: [to - from, Lk], data: norms };
}

/** v[h,j]·W_h of every head and key, [H,Lk,E]. */
function transformedValues({ v, projection }: ValueWeighting, H: number, Lk: number) {
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
  const [x, w] = [toFloat32(values), toFloat32(weights)];
  const vectors = new Float32Array(H * Lk * E);
  for (let row = 0; row < H * Lk; row++) {
    const first = Math.floor(row / Lk) * Dv;
    for (let e = 0; e < E; e++) {
      let sum = 0;
      for (let d = 0; d < Dv; d++) sum += x[row * Dv + d] * w[e * columns + first + d];
      vectors[row * E + e] = sum;
    }
  }
  return { vectors, E };
}
