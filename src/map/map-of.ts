// attentionMap(): the map of an attention that something else computed, or whose output nobody wants.
import { attentionReference } from '../attention/reference.js';
import { floatOperand } from '../attention/shapes.js';
import { validateAttention, validateProblem } from '../attention/validate.js';
import { OptionError, ShapeError } from '../tensor/errors.js';
import { formatShape, type HostTensor, type TensorLike } from '../tensor/host.js';
import { type AttentionCallOptions, chooseEngine } from './attention.js';
import { AttentionMap } from './attention-map.js';
import { HeldWeights, type Streams } from './held-weights.js';
import { type Doubt, fromLogSumExp, type Known, unknown } from './known.js';
import type { Watch } from './progress.js';
import { ReferenceWeights } from './reference-weights.js';
import { KernelWeights } from './weights.js';

export interface AttentionMapOptions extends AttentionCallOptions {
  /**
   * Of each row, as attention() returns it: [B,H,Lq] ([H,Lq], [Lq]; packed [Tq,H]), sink included. attention()'s own array
   * brings maximum and sum along. Any other is another rounding's: where scores are large, weights are wrong by as much as
   * a float32 score is (6e-5 of every weight at a score of 1000). Without it both are computed for the rows asked for, and
   * kept; so are rows of which it tells too little (beyond ±2048 in float32, ±0.25 in float16). The first question to a head
   * compares some of its rows, or all where that is little work, with q and k: it rejects with OptionError where they differ
   * by over 0.05.
   */
  readonly logSumExp?: TensorLike;
}

/**
 * The map of the weights of attention(q, k, …, options), without values: nothing is computed before it is asked.
 *
 * q `[…,H,Lq,D]` and k `[…,Hkv,Lk,D]` (or as `layout` says), float32, float16 or float64, and every option of
 * attention(). The map refers to them: they must not change, or see retain(). Rejects as attention() does, and with
 * ShapeError or DTypeError for a logSumExp that does not fit.
 */
export function attentionMap(
  q: TensorLike,
  k: TensorLike,
  options: AttentionMapOptions = {},
): Promise<AttentionMap> {
  return mapOf(q, k, options, (message) => new OptionError(`attentionMap: ${message}`));
}

/** `error` makes what is thrown of a logSumExp that is another's. */
export async function mapOf(
  q: TensorLike,
  k: TensorLike,
  options: AttentionMapOptions,
  error: Doubt['error'],
): Promise<AttentionMap> {
  const { logSumExp, ...call } = options;
  const problem = validateAttention(q, k, k, call, 'attentionMap');
  const given = logSumExp === undefined ? undefined : rowsOf(logSumExp, problem.statistics.shape);
  const engine = await chooseEngine('attentionMap', problem, call);
  let known: Known;
  if (given !== undefined) known = fromLogSumExp(problem, given, error);
  else known = engine ? unknown(problem) : { ...attentionReference(problem) };
  const weights = engine ? new KernelWeights(engine, problem, known) : new ReferenceWeights(problem, known);
  return new AttentionMap(problem, weights);
}

/** The map of a q [H,Lq,D] and k [Hkv,Lk,D] that lie in a file, and what reads them into the engine. */
export async function streamedMap(
  [q, k]: readonly [q: readonly number[], k: readonly number[]],
  streams: Streams,
  options: AttentionMapOptions,
  error: Doubt['error'],
): Promise<{ map: AttentionMap; load: (watch: Watch) => Promise<void> }> {
  const { logSumExp, engine: given, ...call } = options;
  const rows = (shape: readonly number[]): HostTensor => ({
    dtype: 'float32',
    shape,
    data: new Float32Array(0),
  });
  const problem = validateProblem('attentionMap', [rows(q), rows(k), rows(k)], call);
  const known = logSumExp
    ? fromLogSumExp(problem, rowsOf(logSumExp, problem.statistics.shape), error)
    : unknown(problem);
  const engine = (await chooseEngine('attentionMap', problem, { engine: given }))!;
  const weights = new HeldWeights(engine, problem, known, streams);
  return { map: new AttentionMap(problem, weights), load: (watch) => weights.load(watch) };
}

function rowsOf(value: TensorLike, shape: readonly number[]): HostTensor {
  const tensor = floatOperand('attentionMap: logSumExp', value);
  if (formatShape(tensor.shape) !== formatShape(shape)) {
    throw new ShapeError(
      `attentionMap: logSumExp has shape ${formatShape(tensor.shape)}, expected ${formatShape(shape)}`,
    );
  }
  return tensor;
}
