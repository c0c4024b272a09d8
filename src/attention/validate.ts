// Turns any legal call of attention into one AttentionProblem, and refuses every other with a typed error that names
// the operand, what was expected and what came.
import { arrayTag } from '../tensor/dtype.js';
import { DTypeError, OptionError, ShapeError } from '../tensor/errors.js';
import { checkOptions, describe, formatShape, type HostTensor, hostTensor } from '../tensor/host.js';
import { type AttentionOptions, OPTION_NAMES } from './options.js';
import { seedWords } from './philox.js';
import type { AttentionProblem, CellTensor, Dropout } from './problem.js';
import { alignCells, floatOperand, readPackedShapes, readShapes, type Shapes } from './shapes.js';

const INT32_MAX = 2 ** 31 - 1;
/** The last two are read by the callers of attention, not by its contract. */
const KNOWN_OPTIONS: readonly string[] = [...OPTION_NAMES, 'engine', 'allowReference'];

/**
 * Checks a call; `op` names it in messages. Tensors are referred to, not copied.
 * Throws ShapeError, DTypeError, OptionError or LimitError.
 */
export function validateAttention(
  q: unknown,
  k: unknown,
  v: unknown,
  options: AttentionOptions = {},
  op = 'attention',
): AttentionProblem {
  checkOptions(op, options, KNOWN_OPTIONS);
  const tensors = [
    floatOperand(`${op}: q`, q),
    floatOperand(`${op}: k`, k),
    floatOperand(`${op}: v`, v),
  ] as const;
  return validateProblem(op, tensors, options);
}

/** The same for q, k and v that are checked, or of which there is but a shape. */
export function validateProblem(
  op: string,
  tensors: readonly [q: HostTensor, k: HostTensor, v: HostTensor],
  options: AttentionOptions,
): AttentionProblem {
  checkOptions(op, options, KNOWN_OPTIONS);
  const layout = readLayout(op, options);
  const packed = readPacked(op, options, tensors[0], tensors[1]);
  const shapes = packed ? readPackedShapes(op, ...tensors, packed) : readShapes(op, layout, ...tensors);
  const keyLengths = readKeyLengths(op, options.keyLengths, shapes);
  const queryCounts = packed ? differences(packed.q) : same(shapes.B, shapes.Lq);
  const keyCounts = packed
    ? differences(packed.k)
    : keyLengths
      ? Array.from(keyLengths)
      : same(shapes.B, shapes.Lk);
  const causal = options.causal !== undefined && options.causal !== false;
  const window = readWindow(op, options.window);
  const alibi = readAlibi(op, options.alibi, shapes);
  return {
    ...shapes,
    scale: readScale(op, options.scale, shapes.D),
    softcap: readSoftcap(op, options.softcap),
    causal,
    window,
    diagonal: readDiagonal(op, options.causal, queryCounts, keyCounts, shapes),
    usesDiagonal: causal || window[0] >= 0 || window[1] >= 0 || alibi !== undefined,
    queryCounts,
    keyCounts,
    keyLengths,
    mask: readMask(op, 'mask', options.mask, shapes),
    bias: readBias(op, options.bias, shapes),
    alibi,
    sinks: readSinks(op, options.sinks, shapes),
    dropout: readDropout(op, options.dropout, shapes),
    packed,
  };
}

function readLayout(op: string, options: AttentionOptions): 'bhld' | 'blhd' {
  const { layout = 'bhld' } = options;
  if (layout !== 'bhld' && layout !== 'blhd') {
    throw new OptionError(`${op}: layout is 'bhld' or 'blhd', got ${describe(layout)}`);
  }
  if (options.cuSeqlens !== undefined && options.layout === 'bhld') {
    throw new OptionError(`${op}: packed sequences are [T,H,D], layout 'bhld' contradicts cuSeqlens`);
  }
  return layout;
}

function readPacked(op: string, options: AttentionOptions, q: HostTensor, k: HostTensor) {
  const cu = options.cuSeqlens;
  if (cu === undefined) return undefined;
  if (typeof cu !== 'object' || cu === null) {
    throw new OptionError(`${op}: cuSeqlens is { q, k }, got ${describe(cu)}`);
  }
  for (const name of ['mask', 'bias', 'keyLengths'] as const) {
    if (options[name] !== undefined) throw new OptionError(`${op}: ${name} does not go with cuSeqlens`);
  }
  const ends = { q: readStarts(op, 'q', cu.q, q), k: readStarts(op, 'k', cu.k, k) };
  if (ends.q.length !== ends.k.length) {
    throw new ShapeError(
      `${op}: cuSeqlens.k has ${ends.k.length - 1} sequences, expected cuSeqlens.q's ${ends.q.length - 1}`,
    );
  }
  return ends;
}

function readStarts(op: string, name: 'q' | 'k', value: unknown, tensor: HostTensor): Int32Array {
  const what = `${op}: cuSeqlens.${name}`;
  const starts = int32Vector(what, value);
  if (starts.length === 0) throw new ShapeError(`${what} has B+1 entries, at least 1, got 0`);
  if (starts[0] !== 0) throw new OptionError(`${what} starts at 0, got ${starts[0]}`);
  for (let b = 1; b < starts.length; b++) {
    if (starts[b] < starts[b - 1]) {
      throw new OptionError(`${what} is non-decreasing, got ${starts[b]} after ${starts[b - 1]} at ${b}`);
    }
  }
  const rows = tensor.shape.length === 3 ? tensor.shape[0] : undefined;
  const end = starts[starts.length - 1];
  if (rows !== undefined && end !== rows)
    throw new OptionError(`${what} ends at ${name}'s ${rows} rows, got ${end}`);
  return starts;
}

/** An Int32Array, or an int32 tensor of rank 1. */
function int32Vector(what: string, value: unknown): Int32Array {
  if (arrayTag(value) === 'Int32Array') return value as Int32Array;
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    throw new DTypeError(`${what}: expected an Int32Array, got ${describe(value)}`);
  }
  const tensor = hostTensor(what, value);
  if (tensor.dtype !== 'int32') throw new DTypeError(`${what}: expected int32, got ${tensor.dtype}`);
  if (tensor.shape.length !== 1) {
    throw new ShapeError(`${what}: expected rank 1, got shape ${formatShape(tensor.shape)}`);
  }
  return tensor.data as Int32Array;
}

// Plain arrays: a typed one of more than 64 bytes costs 3 µs, much of a short call.
const same = (count: number, n: number) => new Array<number>(count).fill(n);

function differences(starts: Int32Array): number[] {
  return Array.from(starts.subarray(1), (next, b) => next - starts[b]);
}

function readKeyLengths(op: string, value: unknown, { B, Lk }: Shapes): Int32Array | undefined {
  if (value === undefined) return undefined;
  const lengths = int32Vector(`${op}: keyLengths`, value);
  if (lengths.length !== B) {
    throw new ShapeError(
      `${op}: keyLengths has ${lengths.length} entries, expected one per batch entry, ${B}`,
    );
  }
  for (let b = 0; b < B; b++) {
    if (lengths[b] < 0 || lengths[b] > Lk) {
      throw new OptionError(`${op}: keyLengths[${b}] is ${lengths[b]}, expected 0 to Lk = ${Lk}`);
    }
  }
  return lengths;
}

function readDiagonal(
  op: string,
  causal: AttentionOptions['causal'],
  queryCounts: readonly number[],
  keyCounts: readonly number[],
  { B, Lq, Lk, layout }: Shapes,
): number[] {
  if (causal === true) {
    for (let b = 0; b < (layout === 'packed' ? B : 1); b++) {
      const [rows, keys] = layout === 'packed' ? [queryCounts[b], keyCounts[b]] : [Lq, Lk];
      if (rows === keys) continue;
      const where = layout === 'packed' ? ` in sequence ${b}` : '';
      throw new OptionError(
        `${op}: causal: true needs Lq = Lk, got Lq = ${rows} and Lk = ${keys}${where}; say 'upper-left' (row i may ` +
          "attend to keys j ≤ i) or 'lower-right' (j ≤ i + Lk − Lq)",
      );
    }
  }
  if (causal === true || causal === 'upper-left') return same(B, 0);
  if (causal === undefined || causal === false || causal === 'lower-right') {
    return queryCounts.map((rows, b) => keyCounts[b] - rows);
  }
  if (typeof causal !== 'object' || causal === null || !('offset' in causal)) {
    throw new OptionError(
      `${op}: causal is true, 'upper-left', 'lower-right' or { offset }, got ${describe(causal)}`,
    );
  }
  const offset: unknown = causal.offset;
  if (typeof offset === 'number') {
    if (!Number.isInteger(offset) || Math.abs(offset) > INT32_MAX) {
      throw new OptionError(`${op}: causal.offset is a whole number of 32 bits, got ${offset}`);
    }
    return same(B, offset);
  }
  const offsets = int32Vector(`${op}: causal.offset`, offset);
  if (offsets.length !== B) {
    throw new ShapeError(
      `${op}: causal.offset has ${offsets.length} entries, expected one per batch entry, ${B}`,
    );
  }
  return Array.from(offsets);
}

function readWindow(op: string, value: unknown): readonly [number, number] {
  if (value === undefined) return [-1, -1];
  const sides = Array.isArray(value) || arrayTag(value) === 'Int32Array' ? (value as ArrayLike<unknown>) : [];
  const valid = (n: unknown) => typeof n === 'number' && Number.isInteger(n) && n >= -1 && n <= INT32_MAX;
  if (sides.length !== 2 || !valid(sides[0]) || !valid(sides[1])) {
    const got = sides.length > 0 ? `[${Array.from(sides, describe).join(', ')}]` : describe(value);
    throw new OptionError(`${op}: window is [left, right], whole numbers from 0 or −1 for open, got ${got}`);
  }
  return [sides[0] as number, sides[1] as number];
}

function readScale(op: string, value: unknown, D: number): number {
  if (value === undefined) return 1 / Math.sqrt(D);
  if (typeof value !== 'number' || !Number.isFinite(value)) {
    throw new OptionError(`${op}: scale is a finite number, got ${describe(value)}`);
  }
  return value;
}

function readSoftcap(op: string, value: unknown): number {
  if (value === undefined) return 0;
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new OptionError(`${op}: softcap is a finite number from 0 (off), got ${describe(value)}`);
  }
  return value;
}

function readMask(op: string, name: string, value: unknown, shapes: Shapes): CellTensor | undefined {
  if (value === undefined) return undefined;
  const tensor = hostTensor(`${op}: ${name}`, value);
  if (tensor.dtype !== 'bool') {
    const float = tensor.dtype.includes('float');
    let hint = '';
    if (tensor.dtype === 'uint8') hint = "; say dtype: 'bool'";
    else if (float && name === 'mask') hint = '; numbers to add to the scores go in bias';
    throw new DTypeError(`${op}: ${name}: expected bool, got ${tensor.dtype}${hint}`);
  }
  return alignCells(op, name, tensor, shapes);
}

function readBias(op: string, value: unknown, shapes: Shapes): CellTensor | undefined {
  if (value === undefined) return undefined;
  const dtype = (value as { dtype?: unknown } | null)?.dtype;
  const hint = dtype === 'bool' ? '; what may attend goes in mask' : '';
  return alignCells(op, 'bias', floatOperand(`${op}: bias`, value, hint), shapes);
}

function readAlibi(op: string, value: unknown, { B, H }: Shapes): AttentionProblem['alibi'] {
  if (value === undefined) return undefined;
  const tensor = floatOperand(`${op}: alibi`, value);
  const { shape } = tensor;
  if (shape.length === 1 && shape[0] === H) return { tensor, batch: 0 };
  if (shape.length === 2 && shape[0] === B && shape[1] === H) return { tensor, batch: H };
  throw new ShapeError(`${op}: alibi is [H] = [${H}] or [B,H] = [${B}, ${H}], got ${formatShape(shape)}`);
}

function readSinks(op: string, value: unknown, { H }: Shapes): HostTensor | undefined {
  if (value === undefined) return undefined;
  const tensor = floatOperand(`${op}: sinks`, value);
  if (tensor.shape.length !== 1 || tensor.shape[0] !== H) {
    throw new ShapeError(`${op}: sinks is [H] = [${H}], got ${formatShape(tensor.shape)}`);
  }
  return tensor;
}

function readDropout(op: string, value: unknown, shapes: Shapes): Dropout | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null) {
    throw new OptionError(`${op}: dropout is { rate, seed } or { rate, keep }, got ${describe(value)}`);
  }
  const { rate, seed, keep, keyOffset } = value as Record<string, unknown>;
  for (const name of Object.keys(value)) {
    if (!['rate', 'seed', 'keep', 'keyOffset'].includes(name)) {
      throw new OptionError(`${op}: unknown option dropout.${name}, expected rate, seed, keyOffset or keep`);
    }
  }
  if (typeof rate !== 'number' || !(rate >= 0 && rate < 1)) {
    throw new OptionError(`${op}: dropout.rate is a number from 0 to below 1, got ${describe(rate)}`);
  }
  if ((seed === undefined) === (keep === undefined)) {
    throw new OptionError(
      `${op}: dropout has either seed or keep, got ${seed === undefined ? 'neither' : 'both'}`,
    );
  }
  if (keep !== undefined) {
    if (keyOffset !== undefined)
      throw new OptionError(`${op}: dropout.keyOffset goes with seed, not with keep`);
    return { rate, keep: readMask(op, 'dropout.keep', keep, shapes)! };
  }
  const whole = typeof seed === 'bigint' || (typeof seed === 'number' && Number.isSafeInteger(seed));
  if (!whole || (seed as number | bigint) < 0 || BigInt(seed as number) >= 2n ** 64n) {
    throw new OptionError(
      `${op}: dropout.seed is a whole number from 0 (a bigint below 2^64), got ${describe(seed)}`,
    );
  }
  const offset = keyOffset ?? 0;
  const most = INT32_MAX - shapes.Lk;
  if (typeof offset !== 'number' || !Number.isInteger(offset) || offset < 0 || offset > most) {
    throw new OptionError(
      `${op}: dropout.keyOffset is a whole number from 0 to ${most}, got ${describe(offset)}`,
    );
  }
  return rate === 0 ? undefined : { rate, seed: seedWords(seed as number | bigint), keyOffset: offset };
}
