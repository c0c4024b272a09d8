// The tensors of one attention in a trace: which there are, what shapes and dtypes they have, and what numbers.
// Legend: H query heads, Hkv key heads, Lq, Lk lengths, D, Dv widths, E the model's width.
import type { AttentionOptions } from '../attention/options.js';
import { alignCells, floatOperand, MAX_WIDTH } from '../attention/shapes.js';
import { validateProblem } from '../attention/validate.js';
import { type DType, isFloat } from '../tensor/dtype.js';
import { DTypeError, OptionError, ShapeError } from '../tensor/errors.js';
import { formatShape, type HostTensor, hostTensor } from '../tensor/host.js';
import type { Stream } from './held-weights.js';
import type { Progress } from './progress.js';
import type { EntryDescription, PlainOptions } from './trace-format.js';
import { MOST_SCALE, type Numbers } from './trace-numbers.js';

/**
 * A tensor that may still lie in its file. `read` rejects with FileFormatError where its numbers are not legal, and advances
 * by as many as there are.
 */
export interface TracePart {
  readonly dtype: DType;
  readonly shape: readonly number[];
  read(progress?: Progress): Promise<HostTensor>;
  /** Reads it in pieces that nobody keeps: of a float tensor in a file. */
  readonly stream?: Stream;
}

/** Each tensor's name, after its entry's and a dot, and the numbers it may hold. */
export const PARTS = {
  q: 'sized',
  k: 'sized',
  logSumExp: 'below',
  mask: 'any',
  bias: 'below',
  alibi: 'sized',
  sinks: 'below',
  v: 'sized',
  projection: 'sized',
} as const satisfies Record<string, Numbers>;

/** Heads without rows take no bytes: a short file could name so many that nobody comes to the end of them. */
const MOST_HEADS = 2 ** 16;

export type PartName = keyof typeof PARTS;
export type Parts = Partial<Record<PartName, TracePart>>;

/** Options that are tensors. */
export const TENSOR_OPTIONS = ['mask', 'bias', 'alibi', 'sinks'] as const satisfies readonly PartName[];

/** Splits a tensor's name; undefined where it names no part. */
export function splitName(name: string): { entry: string; part: PartName } | undefined {
  const dot = name.lastIndexOf('.');
  const part = name.slice(dot + 1);
  return dot > 0 && Object.hasOwn(PARTS, part)
    ? { entry: name.slice(0, dot), part: part as PartName }
    : undefined;
}

/** Plain options as attention() takes them. */
export function attentionOptions({ keyLengths, ...options }: PlainOptions): AttentionOptions {
  return keyLengths === undefined ? options : { ...options, keyLengths: Int32Array.from(keyLengths) };
}

/**
 * Checks shapes, dtypes and options of an entry by what is known of its tensors; returns [H,Lq,Lk] and D.
 * Throws ShapeError, DTypeError or OptionError.
 */
export function checkParts(
  { name, options }: EntryDescription,
  parts: Parts,
): { shape: [H: number, Lq: number, Lk: number]; D: number } {
  const what = `trace: ${name}`;
  for (const [part, { dtype }] of Object.entries(parts)) {
    if (part === 'mask' ? dtype !== 'bool' : !isFloat(dtype))
      throw new DTypeError(`${what}.${part}: expected ${part === 'mask' ? 'bool' : 'floats'}, got ${dtype}`);
  }
  const [q, k] = [required(what, parts, 'q'), required(what, parts, 'k')];
  const v = { shape: [k[0], k[1], 1] };
  const problem = validateProblem(
    what,
    [shapeOnly({ shape: q }), shapeOnly({ shape: k }), shapeOnly(v)],
    attentionOptions(options),
  );
  const { H, Hkv, Lq, Lk, D, scale } = problem;
  if (H > MOST_HEADS) throw new ShapeError(`${what}.q: expected at most ${MOST_HEADS} heads, got ${H}`);
  if (Math.abs(scale) > MOST_SCALE)
    throw new OptionError(`${what}: scale goes up to 2^32 either way in a trace, got ${scale}`);
  const expect = (part: PartName, shape: (number | string)[]) => {
    const own = parts[part]?.shape;
    if (own !== undefined && (own.length !== shape.length || shape.some((n, i) => n !== own[i] && n !== '')))
      throw new ShapeError(
        `${what}.${part}: expected shape [${shape.map((n) => (n === '' ? 'any' : n)).join(', ')}], got ${formatShape(own)}`,
      );
  };
  expect('logSumExp', [H, Lq]);
  expect('alibi', [H]);
  expect('sinks', [H]);
  expect('v', [Hkv, Lk, '']);
  for (const part of ['mask', 'bias'] as const)
    if (parts[part]) alignCells(what, part, shapeOnly(parts[part]), { ...problem, lead: [] });
  if ((parts.v === undefined) !== (parts.projection === undefined))
    throw new OptionError(`${what}: v and projection come together, got one of them`);
  if (parts.v) {
    const Dv = parts.v.shape[2];
    if (Dv < 1 || Dv > MAX_WIDTH)
      throw new ShapeError(`${what}.v: expected a width from 1 to ${MAX_WIDTH}, got ${Dv}`);
    expect('projection', ['', H * Dv]);
  }
  return { shape: [H, Lq, Lk], D };
}

function required(what: string, parts: Parts, part: 'q' | 'k'): readonly number[] {
  const shape = parts[part]?.shape;
  if (shape === undefined) throw new OptionError(`${what}: expected a tensor ${part}, found none`);
  if (shape.length !== 3)
    throw new ShapeError(
      `${what}.${part}: expected shape [${part === 'q' ? 'H, Lq' : 'Hkv, Lk'}, D], got ${formatShape(shape)}`,
    );
  return shape;
}

/** What stands for a tensor where shapes alone are read. */
const shapeOnly = ({ shape }: { shape: readonly number[] }): HostTensor => ({
  dtype: 'float32',
  shape,
  data: new Float32Array(0),
});

/** A tensor at hand. */
export function heldPart(what: string, value: unknown, mask = false): TracePart {
  const tensor = mask ? hostTensor(what, value) : floatOperand(what, value);
  const read = async (progress?: Progress) => {
    progress?.advance(tensor.data.length);
    return tensor;
  };
  return { dtype: tensor.dtype, shape: tensor.shape, read };
}
