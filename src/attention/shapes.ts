// Reads the shapes of q, k and v: which dimension is which, and where each row lies. Refuses what does not fit.
import { isFloat } from '../tensor/dtype.js';
import { DTypeError, LimitError, ShapeError } from '../tensor/errors.js';
import { formatShape, type HostTensor, hostTensor, sizeOf } from '../tensor/host.js';
import type { AttentionProblem, CellTensor, Operand, RowLayout } from './problem.js';

export type LayoutName = 'bhld' | 'blhd' | 'packed';

/** Widths beyond it are refused: kernels keep a row in their registers and first-level cache. */
export const MAX_WIDTH = 512;
/** Counts of batch entries, heads, rows and keys fit an int32. */
const MAX_COUNT = 2 ** 31 - 1;
const MAX_BATCH = 2 ** 28;

/** A tensor's dimensions, named. */
interface Dimensions {
  readonly lead: readonly number[];
  readonly heads: number;
  readonly length: number;
  readonly width: number;
}

/** What the shapes of q, k and v alone decide about a problem. */
export interface Shapes
  extends Pick<
    AttentionProblem,
    'B' | 'H' | 'Hkv' | 'Lq' | 'Lk' | 'D' | 'Dv' | 'q' | 'k' | 'v' | 'output' | 'statistics'
  > {
  readonly layout: LayoutName;
  readonly lead: readonly number[];
}

/** A tensor of one of attention's float dtypes. Throws DTypeError or ShapeError. */
export function floatOperand(what: string, value: unknown, hint = ''): HostTensor {
  const tensor = hostTensor(what, value);
  if (!isFloat(tensor.dtype) || tensor.dtype === 'bfloat16') {
    throw new DTypeError(`${what}: expected float32, float16 or float64, got ${tensor.dtype}${hint}`);
  }
  return tensor;
}

/** Shapes of an unpacked call. */
export function readShapes(
  op: string,
  layout: 'bhld' | 'blhd',
  q: HostTensor,
  k: HostTensor,
  v: HostTensor,
): Shapes {
  checkRanks(op, layout, q, k, v);
  const dq = dimensions(layout, q.shape);
  const dk = dimensions(layout, k.shape);
  const dv = dimensions(layout, v.shape);
  checkTogether(op, dq, dk, dv);
  checkLead(op, 'k', dq.lead, dk.lead);
  checkLead(op, 'v', dq.lead, dv.lead);
  const B = sizeOf(`${op}: q`, dq.lead);
  if (B > MAX_BATCH) throw new LimitError(`${op}: q has ${B} batch entries, at most ${MAX_BATCH} are served`);
  const H = dq.heads;
  const Lq = dq.length;
  const outputShape = [...q.shape.slice(0, -1), dv.width];
  sizeOf(`${op}: output`, outputShape);
  const statisticShape = [[Lq], [H, Lq]][q.shape.length - 2] ?? [B, H, Lq];
  const queries = rowLayout(layout, q.shape, dq.lead);
  const keys = layoutLike(queries, layout, k.shape, dq.lead);
  return {
    layout,
    lead: dq.lead,
    B,
    H,
    Hkv: dk.heads,
    Lq,
    Lk: dk.length,
    D: dq.width,
    Dv: dv.width,
    q: { tensor: q, ...queries },
    k: { tensor: k, ...keys },
    v: { tensor: v, ...layoutLike(keys, layout, v.shape, dq.lead) },
    output: layoutLike(queries, layout, outputShape, dq.lead),
    statistics: { shape: statisticShape, offsets: multiples(B, H * Lq), head: Lq, row: 1 },
  };
}

/** Shapes of a packed call: q [Tq,H,D], k [Tk,Hkv,D], v [Tk,Hkv,Dv]; sequences start at cu.q[b] and cu.k[b]. */
export function readPackedShapes(
  op: string,
  q: HostTensor,
  k: HostTensor,
  v: HostTensor,
  cu: { q: Int32Array; k: Int32Array },
): Shapes {
  for (const [name, tensor] of [
    ['q', q],
    ['k', k],
    ['v', v],
  ] as const) {
    if (tensor.shape.length !== 3) {
      throw new ShapeError(
        `${op}: with cuSeqlens ${name} is [T,H,D], of rank 3, got shape ${formatShape(tensor.shape)}`,
      );
    }
  }
  const [dq, dk, dv] = [q, k, v].map((tensor) => dimensions('blhd', tensor.shape));
  checkTogether(op, dq, dk, dv);
  const H = dq.heads;
  const starts = (tensor: HostTensor, cuSeqlens: Int32Array): Operand => ({
    tensor,
    ...packedLayout(tensor.shape, cuSeqlens),
  });
  const outputShape = [...q.shape.slice(0, -1), dv.width];
  sizeOf(`${op}: output`, outputShape);
  return {
    layout: 'packed',
    lead: [cu.q.length - 1],
    B: cu.q.length - 1,
    H,
    Hkv: dk.heads,
    Lq: longest(cu.q),
    Lk: longest(cu.k),
    D: dq.width,
    Dv: dv.width,
    q: starts(q, cu.q),
    k: starts(k, cu.k),
    v: starts(v, cu.k),
    output: packedLayout(outputShape, cu.q),
    statistics: { shape: [q.shape[0], H], offsets: scaled(cu.q, H), head: 1, row: H },
  };
}

function checkRanks(op: string, layout: 'bhld' | 'blhd', q: HostTensor, k: HostTensor, v: HostTensor): void {
  const rank = q.shape.length;
  const least = layout === 'bhld' ? 2 : 3;
  if (rank < least) {
    const expected = layout === 'bhld' ? '[Lq,D] or more dimensions' : '[L,H,D] or more dimensions';
    throw new ShapeError(`${op}: q in layout '${layout}' is ${expected}, got shape ${formatShape(q.shape)}`);
  }
  checkRank(op, 'k', k.shape, rank);
  checkRank(op, 'v', v.shape, rank);
}

function checkRank(op: string, name: string, shape: readonly number[], rank: number): void {
  if (shape.length === rank) return;
  throw new ShapeError(
    `${op}: ${name} has rank ${shape.length}, expected q's ${rank} (shape ${formatShape(shape)})`,
  );
}

function dimensions(layout: 'bhld' | 'blhd', shape: readonly number[]): Dimensions {
  const lead = shape.slice(0, -3);
  const width = shape.at(-1)!;
  if (layout === 'blhd') return { lead, heads: shape.at(-2)!, length: shape.at(-3)!, width };
  return { lead, heads: shape.at(-3) ?? 1, length: shape.at(-2)!, width };
}

/** What holds in every layout: widths, lengths, heads. */
function checkTogether(op: string, q: Dimensions, k: Dimensions, v: Dimensions): void {
  checkWidth(op, 'q', q.width);
  checkWidth(op, 'k', k.width);
  checkWidth(op, 'v', v.width);
  if (k.width !== q.width) throw new ShapeError(`${op}: k has width ${k.width}, expected q's ${q.width}`);
  if (v.length !== k.length) throw new ShapeError(`${op}: v has ${v.length} rows, expected k's ${k.length}`);
  if (v.heads !== k.heads) throw new ShapeError(`${op}: v has ${v.heads} heads, expected k's ${k.heads}`);
  if (k.heads === 0 ? q.heads !== 0 : q.heads % k.heads !== 0) {
    throw new ShapeError(`${op}: q has ${q.heads} heads, not a multiple of k's ${k.heads}`);
  }
  checkCount(op, 'q', 'heads', q.heads);
  checkCount(op, 'q', 'rows', q.length);
  checkCount(op, 'k', 'rows', k.length);
}

function checkWidth(op: string, name: string, width: number): void {
  if (width >= 1 && width <= MAX_WIDTH) return;
  throw new ShapeError(`${op}: ${name} has width ${width}, expected 1 to ${MAX_WIDTH}`);
}

function checkCount(op: string, name: string, kind: string, count: number): void {
  if (count <= MAX_COUNT) return;
  throw new LimitError(`${op}: ${name} has ${count} ${kind}, at most ${MAX_COUNT} are served`);
}

function checkLead(op: string, name: string, lead: readonly number[], own: readonly number[]): void {
  for (let i = 0; i < lead.length; i++) {
    if (own[i] !== lead[i] && own[i] !== 1) {
      throw new ShapeError(
        `${op}: ${name} has batch ${formatShape(own)}, expected q's ${formatShape(lead)} or 1 in its place`,
      );
    }
  }
}

function rowLayout(layout: 'bhld' | 'blhd', shape: readonly number[], lead: readonly number[]): RowLayout {
  const { lead: own, heads, length, width } = dimensions(layout, shape);
  const offsets = broadcastOffsets(lead, own, heads * length * width);
  const strides =
    layout === 'bhld' ? { head: length * width, row: width } : { head: width, row: heads * width };
  return { shape, offsets, batch: commonStride(offsets), ...strides };
}

/** The same; that of another operand where the shapes agree: many small arrays would be much of a short call. */
function layoutLike(
  other: RowLayout,
  layout: 'bhld' | 'blhd',
  shape: readonly number[],
  lead: readonly number[],
): RowLayout {
  return shape.every((n, i) => n === other.shape[i]) ? other : rowLayout(layout, shape, lead);
}

function packedLayout(shape: readonly number[], cuSeqlens: Int32Array): RowLayout {
  const row = shape[1] * shape[2];
  const offsets = scaled(cuSeqlens, row);
  return { shape, offsets, batch: commonStride(offsets), head: shape[2], row };
}

function longest(cuSeqlens: Int32Array): number {
  let most = 0;
  for (let b = 1; b < cuSeqlens.length; b++) most = Math.max(most, cuSeqlens[b] - cuSeqlens[b - 1]);
  return most;
}

/** cuSeqlens without its end, times a stride. */
function scaled(cuSeqlens: Int32Array, stride: number): number[] {
  return Array.from(cuSeqlens.subarray(0, -1), (start) => start * stride);
}

function multiples(count: number, stride: number): number[] {
  const out = new Array<number>(count);
  for (let b = 0; b < count; b++) out[b] = b * stride;
  return out;
}

/** For every entry of the batch dimensions `lead`, where an operand with batch dimensions `own` (equal or 1) has it. */
function broadcastOffsets(lead: readonly number[], own: readonly number[], stride: number): number[] {
  let offsets = [0];
  for (let axis = lead.length - 1, step = stride; axis >= 0; step *= own[axis], axis--) {
    const next = new Array<number>(offsets.length * lead[axis]);
    const by = own[axis] === 1 ? 0 : step;
    for (let i = 0; i < lead[axis]; i++) {
      for (let n = 0; n < offsets.length; n++) next[i * offsets.length + n] = i * by + offsets[n];
    }
    offsets = next;
  }
  return offsets;
}

function commonStride(offsets: readonly number[]): number | undefined {
  const stride = offsets.length > 1 ? offsets[1] - offsets[0] : 0;
  for (let b = 0; b < offsets.length; b++) if (offsets[b] !== b * stride) return undefined;
  return stride;
}

/**
 * Aligns a tensor to the right of [B,H,Lq,Lk]. One of more dimensions than four aligns to q's own leading dimensions
 * instead of B. Throws ShapeError.
 */
export function alignCells(op: string, name: string, tensor: HostTensor, shapes: Shapes): CellTensor {
  const own = tensor.shape;
  const lead = own.length > 4 ? shapes.lead : [shapes.B];
  const target = [...lead, shapes.H, shapes.Lq, shapes.Lk];
  const missing = target.length - own.length;
  if (missing < 0 || own.some((n, i) => n !== 1 && n !== target[missing + i])) {
    const letters = own.length > 4 ? '[…,H,Lq,Lk]' : '[B,H,Lq,Lk]';
    throw new ShapeError(
      `${op}: ${name} of shape ${formatShape(own)} does not broadcast to ${letters} = ${formatShape(target)}`,
    );
  }
  const padded = [...new Array<number>(missing).fill(1), ...own];
  const [heads, rows, keys] = padded.slice(-3);
  const offsets = broadcastOffsets(lead, padded.slice(0, -3), heads * rows * keys);
  return {
    tensor,
    offsets,
    batch: commonStride(offsets),
    head: heads === 1 ? 0 : rows * keys,
    query: rows === 1 ? 0 : keys,
    key: keys === 1 ? 0 : 1,
  };
}
