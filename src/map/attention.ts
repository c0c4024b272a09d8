// attention() for host tensors: validates, lets an engine compute, and returns the output with the map of its weights.
import type { AttentionOptions } from '../attention/options.js';
import type { AttentionProblem } from '../attention/problem.js';
import { attentionReference } from '../attention/reference.js';
import { type RowStatistics, rememberStatistics } from '../attention/statistics.js';
import { validateAttention } from '../attention/validate.js';
import { defaultEngine } from '../engine/engine.js';
import type { Engine } from '../engine/types.js';
import { EngineError, OptionError, UnsupportedError } from '../tensor/errors.js';
import { describe, fromFloats, type HostTensor, heldAs, type TensorLike } from '../tensor/host.js';
import { AttentionMap } from './attention-map.js';
import { unservedReason } from './call.js';
import { runForward } from './forward.js';
import { ReferenceWeights } from './reference-weights.js';
import { KernelWeights } from './weights.js';

/** What an attention call may be told beside the operator's own options. */
export interface AttentionCallOptions extends AttentionOptions {
  /** Computes; default: the one shared engine. */
  readonly engine?: Engine;
  /** Lets the float64 reference compute what no kernel serves, instead of an UnsupportedError. It is slow. */
  readonly allowReference?: boolean;
}

export type AttentionFloat = 'float32' | 'float16' | 'float64';

export interface AttentionOutput {
  /**
   * In q's layout, rank and float dtype, with width Dv. float16 is held as bits, or in a Float16Array where q's is.
   */
  readonly output: HostTensor<AttentionFloat>;
  /** Natural, sink included, before dropout: [B,H,Lq] ([H,Lq], [Lq]; packed [Tq,H]) whatever the layout. */
  readonly logSumExp: HostTensor<'float32'>;
  /** Any part of the weights, computed on demand. */
  readonly map: AttentionMap;
  /** What computed the result: an engine's backend, such as 'wasm-relaxed', or 'reference'. */
  readonly backend: string;
}

/**
 * Exact attention: softmax(scale·q·kᵀ …)·v, in memory linear in the lengths.
 *
 * q `[…,H,Lq,D]`, k `[…,Hkv,Lk,D]`, v `[…,Hkv,Lk,Dv]` (or as `layout` says), float32, float16 or float64; anything with
 * `data` and `shape` (or `dims`), such as the tensors of onnxruntime. Kernels compute in float32: float16 is widened
 * exactly, float64 rounded to the nearest float32, and the output rounded to q's dtype. A row that may attend to
 * nothing gives output 0 and logSumExp −∞ (or its sink).
 *
 * Arrays go through the engine in parts of a bounded size, so their length is limited by the caller's memory alone.
 * They must not change before the promise resolves.
 *
 * Rejects with ShapeError, DTypeError or OptionError for a call that is not legal, UnsupportedError for one that no
 * kernel serves, LimitError where memory does not suffice.
 */
export async function attention(
  q: TensorLike,
  k: TensorLike,
  v: TensorLike,
  options: AttentionCallOptions = {},
): Promise<AttentionOutput> {
  const problem = validateAttention(q, k, v, options);
  const engine = await chooseEngine('attention', problem, options);
  const made = engine ? await forwardOnEngine(engine, problem) : forwardByReference(problem);
  return { ...made, output: heldAs(q, made.output) };
}

/** The engine that computes, or undefined for the reference. */
export async function chooseEngine(
  op: string,
  problem: AttentionProblem,
  options: AttentionCallOptions,
): Promise<Engine | undefined> {
  const { engine, allowReference = false } = options;
  if (typeof allowReference !== 'boolean') {
    throw new OptionError(`${op}: allowReference is true or false, got ${describe(allowReference)}`);
  }
  if (engine !== undefined && typeof (engine as Partial<Engine> | null)?.run !== 'function') {
    throw new OptionError(`${op}: engine is what createEngine makes, got ${describe(engine)}`);
  }
  const reason = unservedReason(problem);
  if (reason !== undefined) {
    // Nothing is issued in the caller's own turn, where an engine's scope may be open.
    await undefined;
    if (allowReference) return undefined;
    throw new UnsupportedError(`${op}: no kernel serves ${reason}; allowReference: true computes it slowly`);
  }
  try {
    return await (engine ?? defaultEngine());
  } catch (error) {
    // Where no build of the kernels runs at all.
    if (allowReference && (error instanceof UnsupportedError || error instanceof EngineError))
      return undefined;
    throw error;
  }
}

async function forwardOnEngine(engine: Engine, problem: AttentionProblem): Promise<AttentionOutput> {
  const { output, rowMax, rowSum, logSumExp } = await runForward(engine, problem);
  const statistics: RowStatistics = { rowMax, rowSum, layout: problem.layout };
  const weights = new KernelWeights(engine, problem, statistics);
  return resultOf(problem, output, logSumExp, statistics, new AttentionMap(problem, weights), engine.backend);
}

function forwardByReference(problem: AttentionProblem): AttentionOutput {
  const { output, logSumExp, rowMax, rowSum } = attentionReference(problem);
  const statistics: RowStatistics = { rowMax, rowSum, layout: problem.layout };
  const map = new AttentionMap(problem, new ReferenceWeights(problem, statistics));
  return resultOf(problem, output, new Float32Array(logSumExp), statistics, map, 'reference');
}

/** A result in its own dtype; its logSumExp remembers the statistics. */
export function resultOf(
  problem: AttentionProblem,
  output: Float32Array | Float64Array,
  logSumExp: Float32Array,
  statistics: RowStatistics,
  map: AttentionMap,
  backend: string,
): AttentionOutput {
  rememberStatistics(logSumExp, statistics);
  const dtype = problem.q.tensor.dtype as AttentionFloat;
  return {
    output: { dtype, shape: problem.output.shape, data: fromFloats(dtype, output) },
    logSumExp: { dtype: 'float32', shape: problem.statistics.shape, data: logSumExp },
    map,
    backend,
  };
}
