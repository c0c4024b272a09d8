// Joins the results of attention over disjoint keys into that of one call over all of them, exactly: with the parts'
// logSumExp, output = Σ e^(lse_p − lse)·output_p. In float64; where the parts' maxima and sums are known apart
// (statistics.ts), from those.
import { DTypeError, OptionError, ShapeError } from '../tensor/errors.js';
import {
  checkOptions,
  describe,
  formatShape,
  fromFloats,
  type HostTensor,
  type TensorLike,
  toFloat64,
} from '../tensor/host.js';
import { floatOperand } from './shapes.js';
import { recallStatistics, rememberStatistics } from './statistics.js';

export interface AttentionPart {
  readonly output: TensorLike | HostTensor;
  readonly logSumExp: TensorLike | HostTensor;
}

export interface MergeOptions {
  /** [H]: added once, to the whole. The parts carry none. */
  readonly sinks?: TensorLike;
  /**
   * Of the outputs. Results of attention() tell it themselves; else it is read from the shapes, and needed where they
   * leave it open.
   */
  readonly layout?: 'bhld' | 'blhd' | 'packed';
}

export interface MergedAttention {
  /** Of the parts' shape and dtype. */
  readonly output: HostTensor<'float32' | 'float16' | 'float64'>;
  readonly logSumExp: HostTensor<'float32'>;
}

interface Part {
  output: HostTensor;
  logSumExp: HostTensor;
}

/** Throws OptionError for no parts, ShapeError or DTypeError for parts that differ. */
export function mergeResults(parts: readonly AttentionPart[], options: MergeOptions = {}): MergedAttention {
  checkOptions('mergeAttention', options, ['sinks', 'layout']);
  const read = readParts(parts);
  const { output: first, logSumExp } = read[0];
  const layout = readLayout(read, options);
  const sinks = readSinks(options, logSumExp.shape, layout);
  const Dv = first.shape.at(-1)!;
  const out = new Float64Array(first.data.length);
  const rows = logSumExp.data.length;
  const [lse, rowMax, rowSum] = [0, 0, 0].map(() => new Float64Array(rows));
  const numbers = read.map(readNumbers);
  const outputs = read.map(({ output }) => toFloat64(output));
  const place = rowPlaces(logSumExp.shape, layout);
  for (let r = 0; r < rows; r++) {
    const sink = sinks?.[headOf(r, logSumExp.shape, layout)];
    const [max, sum] = joinRow(numbers, r, sink);
    rowMax[r] = max;
    rowSum[r] = sum;
    lse[r] = max === Number.NEGATIVE_INFINITY ? max : max + Math.log(sum);
    numbers.forEach((part, n) => {
      // An empty part is left out rather than weighed by 0: whatever its output holds leaves no trace.
      if (part.max[r] === Number.NEGATIVE_INFINITY || part.sum[r] === 0) return;
      const weight = (Math.exp(part.max[r] - max) * part.sum[r]) / sum;
      for (let d = 0, at = place(r) * Dv; d < Dv; d++, at++) out[at] += weight * outputs[n][at];
    });
  }
  const dtype = first.dtype as 'float32' | 'float16' | 'float64';
  const data = new Float32Array(lse);
  rememberStatistics(data, { rowMax, rowSum, layout, merged: true });
  return {
    output: { dtype, shape: first.shape, data: fromFloats(dtype, out) },
    logSumExp: { dtype: 'float32', shape: logSumExp.shape, data },
  };
}

function readParts(parts: readonly AttentionPart[]): Part[] {
  if (!Array.isArray(parts)) {
    throw new OptionError(
      `mergeAttention: expected an array of { output, logSumExp }, got ${describe(parts)}`,
    );
  }
  if (parts.length === 0) throw new OptionError('mergeAttention: expected at least one part, got none');
  const read = parts.map((part: AttentionPart | undefined, n) => ({
    output: floatOperand(`mergeAttention: output of part ${n}`, part?.output),
    logSumExp: floatOperand(`mergeAttention: logSumExp of part ${n}`, part?.logSumExp),
  }));
  const [first] = read;
  if (first.output.shape.length === 0) throw new ShapeError('mergeAttention: output of part 0 has rank 0');
  read.forEach((part, n) => {
    for (const name of ['output', 'logSumExp'] as const) {
      if (formatShape(part[name].shape) !== formatShape(first[name].shape)) {
        const expected = formatShape(first[name].shape);
        throw new ShapeError(
          `mergeAttention: ${name} of part ${n} has shape ${formatShape(part[name].shape)}, expected part 0's ${expected}`,
        );
      }
    }
    if (part.output.dtype !== first.output.dtype) {
      throw new DTypeError(
        `mergeAttention: output of part ${n} is ${part.output.dtype}, expected part 0's ${first.output.dtype}`,
      );
    }
  });
  return read;
}

/** Per row: logSumExp = max + log(sum). */
function readNumbers({ logSumExp }: Part): { max: ArrayLike<number>; sum: ArrayLike<number> } {
  const known = recallStatistics(logSumExp.data);
  if (known) return { max: known.rowMax, sum: known.rowSum };
  return { max: toFloat64(logSumExp), sum: new Float64Array(logSumExp.data.length).fill(1) };
}

function joinRow(parts: { max: ArrayLike<number>; sum: ArrayLike<number> }[], r: number, sink?: number) {
  let max = sink ?? Number.NEGATIVE_INFINITY;
  for (const part of parts) if (part.sum[r] !== 0) max = Math.max(max, part.max[r]);
  if (max === Number.NEGATIVE_INFINITY) return [max, 0];
  let sum = sink === undefined ? 0 : Math.exp(sink - max);
  for (const part of parts) if (part.sum[r] !== 0) sum += Math.exp(part.max[r] - max) * part.sum[r];
  return [max, sum];
}

type Layout = 'bhld' | 'blhd' | 'packed';

function readLayout(parts: Part[], { layout, sinks }: MergeOptions): Layout {
  if (layout !== undefined && layout !== 'bhld' && layout !== 'blhd' && layout !== 'packed') {
    throw new OptionError(`mergeAttention: layout is 'bhld', 'blhd' or 'packed', got ${describe(layout)}`);
  }
  const [{ output, logSumExp }] = parts;
  const shape = logSumExp.shape;
  const known = layout ?? parts.map((part) => recallStatistics(part.logSumExp.data)?.layout).find(Boolean);
  const count = output.shape.slice(0, -3).reduce((a, n) => a * n, 1);
  const [rows, heads] = [output.shape.at(-3) ?? 1, output.shape.at(-2)!];
  const leading = output.shape.length > 3 ? [count] : [];
  const expected: Record<Layout, readonly number[]> = {
    bhld: [...leading, ...output.shape.slice(-3, -1)],
    blhd: [...leading, heads, rows],
    packed: output.shape.slice(0, -1),
  };
  const fits = (name: Layout) => formatShape(expected[name]) === formatShape(shape);
  let chosen = known;
  if (chosen === undefined) {
    // [Tq,H] and [H,Lq] differ only in where the sinks go.
    const packed = sinks !== undefined && shape.length === 2 && output.shape.length === 3;
    const length = (sinks as { data?: { length?: number } } | undefined)?.data?.length;
    chosen = fits('blhd') && !fits('bhld') ? 'blhd' : 'bhld';
    if (packed && fits('packed') && length !== shape[0] && length === shape[1]) chosen = 'packed';
  }
  if (!fits(chosen) || (chosen === 'packed' && output.shape.length !== 3)) {
    throw new ShapeError(
      `mergeAttention: logSumExp has shape ${formatShape(shape)}, expected ${formatShape(expected[chosen])} for an ` +
        `output of shape ${formatShape(output.shape)} in layout '${chosen}'`,
    );
  }
  return chosen;
}

function readSinks(
  { sinks }: MergeOptions,
  shape: readonly number[],
  layout: Layout,
): Float64Array | undefined {
  if (sinks === undefined) return undefined;
  const tensor = floatOperand('mergeAttention: sinks', sinks);
  const H = (layout === 'packed' ? shape[1] : shape.at(-2)) ?? 1;
  if (tensor.shape.length !== 1 || tensor.shape[0] !== H) {
    throw new ShapeError(`mergeAttention: sinks is [H] = [${H}], got ${formatShape(tensor.shape)}`);
  }
  return toFloat64(tensor);
}

function headOf(r: number, shape: readonly number[], layout: Layout): number {
  if (layout === 'packed') return r % shape[1];
  return Math.floor(r / shape.at(-1)!) % (shape.at(-2) ?? 1);
}

/** From a row of logSumExp to its row of the output. */
function rowPlaces(shape: readonly number[], layout: Layout): (r: number) => number {
  if (layout !== 'blhd') return (r) => r;
  const [H, L] = shape.slice(-2);
  return (r) => {
    const [i, h, b] = [r % L, Math.floor(r / L) % H, Math.floor(r / L / H)];
    return (b * L + i) * H + h;
  };
}
