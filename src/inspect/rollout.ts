// Attention rollout (Abnar & Zuidema 2020, "Quantifying Attention Flow in Transformers"): how much one position of a
// stack of self-attention layers draws on each position of its input, when every layer's weights are followed down.
import type { AttentionMap, TilePlace } from '../map/attention-map.js';
import type { Range } from '../map/parts.js';
import { below } from '../map/places.js';
import { Progress, type Watch } from '../map/progress.js';
import { OptionError, ShapeError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';

export interface RolloutPlace extends Watch {
  /** Batch entry; may be left out where there is but one. */
  readonly batch?: number;
  /** The position, at the last layer, whose sources are wanted. */
  readonly query: number;
  /** Share of each layer's output that its residual connection carries past attention; default 0.5, as in the paper. */
  readonly residual?: number;
}

/** Weights read at a time. */
const STEP = 2 ** 20;

/**
 * Rollout of one position: `maps` are the layers' self-attention, the first layer first. A layer passes on
 * Ã = residual·I + (1 − residual)·A, A being the mean of its heads with every row scaled to sum to 1 (what a sink took
 * is spread over the keys; an empty row passes its own position on alone). The result, float64 [L], is row `query` of
 * Ã_n·…·Ã_2·Ã_1 and sums to 1. It needs one row of the last layer and all rows of the others, a few at a time.
 *
 * Weights say where values were taken from, not what they did to the output: a small value under a large weight
 * changes nothing (see valueWeightedNorms).
 * Rejects with OptionError for an empty list or a place outside, ShapeError where layers differ in length, and with the
 * signal's reason.
 */
export async function rollout(maps: readonly AttentionMap[], place: RolloutPlace): Promise<Float64Array> {
  const { batch, query, residual = 0.5, ...watch } = place;
  if (maps.length === 0) throw new OptionError('rollout: expected the maps of at least one layer, got none');
  if (!(typeof residual === 'number' && residual >= 0 && residual <= 1))
    throw new OptionError(`rollout: residual is a number from 0 to 1, got ${describe(residual)}`);
  const length = maps[0].shape[2];
  maps.forEach(({ shape: [, , Lq, Lk] }, layer) => {
    if (Lq !== length || Lk !== length)
      throw new ShapeError(
        `rollout: layer ${layer} attends from ${Lq} to ${Lk} positions, expected ${length}`,
      );
  });
  below('rollout: query', query, length);
  const progress = new Progress(1 + (maps.length - 1) * length, watch);
  let shares = new Float64Array(length);
  shares[query] = 1;
  for (const [n, map] of maps.toReversed().entries()) {
    const rows: Range = n === 0 ? [query, query + 1] : [0, length];
    const mean = (queries: Range) => meanOfHeads(map, { batch, queries, signal: watch.signal }, progress);
    shares = await passDown(mean, shares, rows, residual, progress);
  }
  return shares;
}

/** shares·Ã of one layer, of which only these rows have shares. */
async function passDown(
  mean: (queries: Range) => Promise<Float64Array>,
  shares: Float64Array,
  [first, end]: Range,
  residual: number,
  progress: Progress,
): Promise<Float64Array<ArrayBuffer>> {
  const length = shares.length;
  const below = new Float64Array(length);
  const step = Math.max(1, Math.floor(STEP / length));
  for (let from = first; from < end; from += step) {
    const to = Math.min(end, from + step);
    const shared = shares.subarray(from, to).some((share) => share !== 0);
    const rows = shared ? await mean([from, to]) : new Float64Array(0);
    for (let i = from; i < to && shared; i++) {
      const row = rows.subarray((i - from) * length, (i - from + 1) * length);
      const sum = row.reduce((a, w) => a + w, 0);
      below[i] += sum > 0 ? residual * shares[i] : shares[i];
      if (!(sum > 0)) continue;
      const factor = ((1 - residual) * shares[i]) / sum;
      for (let j = 0; j < length; j++) below[j] += factor * row[j];
    }
    progress.advance(to - from);
  }
  return below;
}

async function meanOfHeads(
  map: AttentionMap,
  { queries, ...place }: TilePlace & { readonly queries: Range },
  progress: Progress,
): Promise<Float64Array> {
  const [, H, , Lk] = map.shape;
  const sum = new Float64Array((queries[1] - queries[0]) * Lk);
  for (let head = 0; head < H; head++) {
    await progress.next();
    const { data } = await map.tile({ ...place, head, queries });
    for (let n = 0; n < sum.length; n++) sum[n] += data[n] / H;
  }
  return sum;
}
