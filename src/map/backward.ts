// attentionBackward() and mergeAttention() for host tensors.
import {
  type AttentionPart,
  type MergedAttention,
  type MergeOptions,
  mergeResults,
} from '../attention/merge.js';
import type { AttentionProblem } from '../attention/problem.js';
import { attentionBackwardReference } from '../attention/reference-backward.js';
import { floatOperand } from '../attention/shapes.js';
import { belongs, recallStatistics } from '../attention/statistics.js';
import { validateAttention } from '../attention/validate.js';
import type { Engine } from '../engine/types.js';
import { OptionError, ShapeError } from '../tensor/errors.js';
import {
  describe,
  formatShape,
  fromFloats,
  type HostTensor,
  heldAs,
  type TensorLike,
  toFloat32,
  toFloat64,
} from '../tensor/host.js';
import { type AttentionCallOptions, type AttentionFloat, chooseEngine } from './attention.js';
import { type GradientNumbers, runBackward } from './backward-parts.js';
import { runForward } from './forward.js';

export interface AttentionBackwardInputs {
  readonly q: TensorLike;
  readonly k: TensorLike;
  readonly v: TensorLike;
  /** Those of the forward call. */
  readonly options?: AttentionCallOptions;
  /** What the forward call gave; or the merged results, where this call is one part of several. */
  readonly output: TensorLike | HostTensor;
  readonly logSumExp: TensorLike | HostTensor;
  /** Gradient of output, of its shape. */
  readonly dOutput: TensorLike | HostTensor;
  /** Gradient of logSumExp, of its shape. */
  readonly dLogSumExp?: TensorLike | HostTensor;
}

/** Each of its operand's own shape and dtype, summed over what was broadcast. */
export interface AttentionGradients {
  readonly dq: HostTensor<AttentionFloat>;
  readonly dk: HostTensor<AttentionFloat>;
  readonly dv: HostTensor<AttentionFloat>;
  readonly dBias?: HostTensor<AttentionFloat>;
  readonly dSinks?: HostTensor<AttentionFloat>;
  readonly backend: string;
}

/**
 * Gradients of attention(). Weights are computed again from q, k and the row statistics, which results of attention()
 * and mergeAttention() bring along by their logSumExp array; for any other logSumExp the forward pass runs once more.
 *
 * Rejects as attention() does, and with ShapeError or DTypeError for results and gradients that do not fit the call.
 */
export async function attentionBackward(inputs: AttentionBackwardInputs): Promise<AttentionGradients> {
  const op = 'attentionBackward';
  if (typeof inputs !== 'object' || inputs === null) {
    throw new OptionError(`${op}: expected { q, k, v, output, logSumExp, dOutput }, got ${describe(inputs)}`);
  }
  const { options = {} } = inputs;
  const problem = validateAttention(inputs.q, inputs.k, inputs.v, options, op);
  const expect = (name: 'output' | 'logSumExp' | 'dOutput' | 'dLogSumExp', shape: readonly number[]) => {
    const tensor = floatOperand(`${op}: ${name}`, inputs[name]);
    if (formatShape(tensor.shape) === formatShape(shape)) return tensor;
    throw new ShapeError(
      `${op}: ${name} has shape ${formatShape(tensor.shape)}, expected ${formatShape(shape)}`,
    );
  };
  const given: Given = {
    output: expect('output', problem.output.shape),
    logSumExp: expect('logSumExp', problem.statistics.shape),
    dOutput: expect('dOutput', problem.output.shape),
    dLogSumExp: inputs.dLogSumExp === undefined ? undefined : expect('dLogSumExp', problem.statistics.shape),
  };
  const engine = await chooseEngine(op, problem, options);
  const made = engine ? await backwardOnEngine(engine, problem, given) : backwardByReference(problem, given);
  const { dq, dk, dv, dBias, dSinks } = made;
  return {
    ...made,
    ...{ dq: heldAs(inputs.q, dq), dk: heldAs(inputs.k, dk), dv: heldAs(inputs.v, dv) },
    ...(dBias && { dBias: heldAs(options.bias, dBias) }),
    ...(dSinks && { dSinks: heldAs(options.sinks, dSinks) }),
  };
}

interface Given {
  output: HostTensor;
  logSumExp: HostTensor;
  dOutput: HostTensor;
  dLogSumExp?: HostTensor;
}

async function backwardOnEngine(
  engine: Engine,
  p: AttentionProblem,
  given: Given,
): Promise<AttentionGradients> {
  const statistics = await findStatistics(engine, p, given.logSumExp);
  return shaped(p, engine.backend, await runBackward(engine, p, { ...given, statistics }));
}

/**
 * Row maxima and sums that make e^(score − max)/sum the weights which `logSumExp` stands for, and whether they are of more
 * keys than the call's.
 */
async function findStatistics(engine: Engine, p: AttentionProblem, logSumExp: HostTensor) {
  const known = recallStatistics(logSumExp.data);
  if (known) return known;
  const { rowMax, rowSum, logSumExp: own } = await runForward(engine, p);
  const whole = toFloat32(logSumExp);
  let merged = false;
  for (let r = 0; r < own.length; r++) {
    if (belongs(whole[r], own[r])) continue;
    merged = true;
    rowMax[r] = whole[r];
    rowSum[r] = whole[r] === Number.NEGATIVE_INFINITY ? 0 : 1;
  }
  return { rowMax, rowSum, merged };
}

function backwardByReference(p: AttentionProblem, given: Given): AttentionGradients {
  const gradients = attentionBackwardReference(p, {
    dOutput: toFloat64(given.dOutput),
    dLogSumExp: given.dLogSumExp && toFloat64(given.dLogSumExp),
    whole: { output: toFloat64(given.output), logSumExp: toFloat64(given.logSumExp) },
  });
  return shaped(p, 'reference', gradients);
}

function shaped(p: AttentionProblem, backend: string, gradients: GradientNumbers): AttentionGradients {
  const like = (tensor: HostTensor, numbers: Float32Array | Float64Array): HostTensor<AttentionFloat> => {
    const dtype = tensor.dtype as AttentionFloat;
    return { dtype, shape: tensor.shape, data: fromFloats(dtype, numbers) };
  };
  const { dq, dk, dv, dBias, dSinks } = gradients;
  return {
    dq: like(p.q.tensor, dq),
    dk: like(p.k.tensor, dk),
    dv: like(p.v.tensor, dv),
    ...(p.bias && dBias && { dBias: like(p.bias.tensor, dBias) }),
    ...(p.sinks && dSinks && { dSinks: like(p.sinks, dSinks) }),
    backend,
  };
}

/**
 * Joins results over disjoint keys into that of one call over all of them. The parts carry no sink: `sinks` adds it
 * once, to the whole. Rejects with OptionError for no parts, ShapeError or DTypeError for parts that differ.
 */
export async function mergeAttention(
  parts: readonly AttentionPart[],
  options: MergeOptions = {},
): Promise<MergedAttention> {
  const merged = mergeResults(parts, options);
  return { ...merged, output: heldAs(parts[0].output, merged.output) };
}
