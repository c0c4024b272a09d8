// What multi-head attention is called with: shapes of its operands, and all ways to forbid cells made into one
// mask, one bias and one diagonal.
import type { AttentionCall, Operand } from '../autograd/ops.js';
import { broadcastMask, combineMasks, type StridedMask } from '../engine/ops/mask.js';
import type { Engine, Tensor } from '../engine/types.js';
import { DTypeError, OptionError, ShapeError, UnsupportedError } from '../tensor/errors.js';
import type { PackedSequences } from './packed.js';

/** `true` needs as many queries as keys; else the diagonal must be named (see docs/decisions/1). */
export type Causal = boolean | 'upper-left' | 'lower-right' | { offset: number };

/** Which cells may attend. All given ones must allow a cell. */
export interface AttentionLimits {
  /**
   * Broadcasts to [B,H,Lq,Lk], aligned to the right ([Lq,Lk], [H,Lq,Lk], …). bool: nonzero = may attend (PyTorch's
   * modules mean the opposite); float32: added to the scores.
   */
  mask?: Tensor;
  /** [B,Lk] ([Lk] unbatched), the same for all queries: bool, nonzero = a real key; or float32, added. */
  keyMask?: Tensor;
  /** [B]: keys at and after it are padding. Cheaper than `keyMask`: the kernel does not visit them. */
  keyLengths?: ArrayLike<number>;
  causal?: Causal;
}

/** Sizes, and the distance of consecutive batch entries and positions in rows of the operands. */
export interface Geometry {
  B: number;
  Lq: number;
  Lk: number;
  query: { batch: number; row: number };
  key: { batch: number; row: number };
  packed?: { query: PackedSequences; key: PackedSequences };
}

const NAME = 'multiHeadAttention';

/** Batch and length of x [B,L,…], [L,B,…] or [L,…]. */
function batchAndLength(x: Tensor, batchFirst: boolean): [number, number] {
  const [first, second] = x.shape;
  if (x.shape.length === 2) return [1, first];
  return batchFirst ? [first, second] : [second, first];
}

const strides = (B: number, L: number, batchFirst: boolean) =>
  batchFirst ? { batch: L, row: 1 } : { batch: 1, row: B };

/** @throws ShapeError where query and key do not fit each other or the packed lengths. */
export function readGeometry(
  query: Tensor,
  key: Tensor,
  batchFirst: boolean,
  packed?: { query: PackedSequences; key: PackedSequences },
): Geometry {
  if (packed) {
    for (const [name, tensor, { total }] of [
      ['query', query, packed.query],
      ['key', key, packed.key],
    ] as const) {
      if (tensor.shape.length !== 2 || tensor.shape[0] !== total) {
        throw new ShapeError(
          `${NAME}: packed ${name} has shape [${tensor.shape}], expected [${total}, width]`,
        );
      }
    }
    if (packed.query.count !== packed.key.count) {
      throw new ShapeError(
        `${NAME}: ${packed.query.count} packed query sequences, but ${packed.key.count} of keys`,
      );
    }
    const inPacked = { batch: 0, row: 1 };
    const [Lq, Lk] = [packed.query.longest, packed.key.longest];
    return { B: packed.query.count, Lq, Lk, query: inPacked, key: inPacked, packed };
  }
  const rank = query.shape.length;
  if (rank !== 3 && rank !== 2) {
    throw new ShapeError(`${NAME}: query has shape [${query.shape}], expected rank 3, or 2 for one sequence`);
  }
  const [B, Lq] = batchAndLength(query, batchFirst);
  const [keyBatch, Lk] = batchAndLength(key, batchFirst);
  if (key.shape.length !== rank || keyBatch !== B) {
    throw new ShapeError(`${NAME}: key has shape [${key.shape}], but query has [${query.shape}]`);
  }
  return { B, Lq, Lk, query: strides(B, Lq, batchFirst), key: strides(B, Lk, batchFirst) };
}

/** Columns of a projection as the kernel's operand. */
export function operand(
  tensor: Tensor,
  column: number,
  headWidth: number,
  side: { batch: number; row: number },
): Operand {
  const width = tensor.shape[tensor.shape.length - 1];
  return { tensor, offset: column, batch: side.batch * width, head: headWidth, row: side.row * width };
}

type Limits = Pick<AttentionCall, 'causal' | 'offset' | 'keyLengths' | 'mask' | 'bias' | 'packed'>;

/**
 * The limits as the kernel takes them. `extra` keys have been appended to each sequence (learned or zero):
 * every query may attend to those, so that lengths and the diagonal become part of the mask.
 */
export function readLimits(
  engine: Engine,
  geometry: Geometry,
  heads: number,
  limits: AttentionLimits,
  extra: number,
): Limits {
  const { B, Lq, Lk, packed } = geometry;
  if (packed) return readPackedLimits(packed, limits, extra);
  const sizes = [B, heads, Lq, Lk] as const;
  const causal = (limits.causal ?? false) !== false;
  const offset = causal ? diagonal(limits.causal, Lq, Lk) : 0;
  const masks: Record<'bool' | 'float32', StridedMask[]> = { bool: [], float32: [] };
  const insert = (name: string, tensor: Tensor, shape?: readonly number[]) => {
    if (tensor.dtype !== 'bool' && tensor.dtype !== 'float32') {
      throw new DTypeError(`${NAME}: ${name} is ${tensor.dtype}, expected bool or float32`);
    }
    const aligned = shape ? tensor.reshape(shape) : tensor;
    masks[tensor.dtype].push(broadcastMask(`${NAME}: ${name}`, aligned, sizes));
  };
  if (limits.mask) insert('mask', limits.mask);
  if (limits.keyMask) insert('keyMask', limits.keyMask, keyMaskShape(limits.keyMask, B, Lk));
  const lengths = limits.keyLengths ? checkLengths(limits.keyLengths, B, Lk) : undefined;
  if (extra > 0 && (causal || lengths)) {
    const end = (b: number) => lengths?.[b] ?? Lk;
    const o = (b: number) => (offset === 'lower-right' ? end(b) - Lq : offset);
    const mask = hostMask(engine, [B, 1, Lq, Lk], (b, i, j) => j < end(b) && (!causal || j <= i + o(b)));
    insert('causal', mask);
  }
  return {
    causal: causal && extra === 0,
    offset,
    keyLengths: lengths && extra === 0 ? engine.tensor(lengths, [B]) : undefined,
    mask: merge(masks.bool, sizes, extra),
    bias: merge(masks.float32, sizes, extra),
  };
}

function readPackedLimits(
  packed: { query: PackedSequences; key: PackedSequences },
  limits: AttentionLimits,
  extra: number,
): Limits {
  if (limits.mask || limits.keyMask || limits.keyLengths) {
    throw new OptionError(`${NAME}: mask, keyMask and keyLengths do not go with packed sequences`);
  }
  const kind = limits.causal ?? false;
  const causal = kind !== false;
  if (causal && extra > 0) {
    throw new UnsupportedError(`${NAME}: causal packed sequences with appended keys have no kernel`);
  }
  const { lengths: q, cuSeqlens } = packed.query;
  const { lengths: k } = packed.key;
  if (kind === true && k.some((n, i) => n !== q[i])) refuseSilentDiagonal();
  return {
    causal,
    offset: typeof kind === 'object' ? kind.offset : kind === 'lower-right' ? kind : 0,
    packed: { q: cuSeqlens, k: packed.key.cuSeqlens },
  };
}

function refuseSilentDiagonal(): never {
  throw new OptionError(
    `${NAME}: causal: true with unequal numbers of queries and keys is ambiguous; say 'upper-left' or 'lower-right'`,
  );
}

function diagonal(causal: Causal | undefined, Lq: number, Lk: number): number | 'lower-right' {
  if (typeof causal === 'object') return causal.offset;
  if (causal === true && Lq !== Lk) refuseSilentDiagonal();
  return causal === 'lower-right' ? causal : 0;
}

function keyMaskShape(tensor: Tensor, B: number, Lk: number): readonly number[] {
  const expected = tensor.shape.length === 1 && B === 1 ? [Lk] : [B, Lk];
  if (tensor.shape.length !== expected.length || tensor.shape.some((n, i) => n !== expected[i])) {
    throw new ShapeError(`${NAME}: keyMask has shape [${tensor.shape}], expected [${expected}]`);
  }
  return [B, 1, 1, Lk];
}

function checkLengths(lengths: ArrayLike<number>, B: number, Lk: number): Int32Array<ArrayBuffer> {
  if (lengths.length !== B) throw new ShapeError(`${NAME}: ${lengths.length} keyLengths, expected ${B}`);
  return Int32Array.from(lengths, (n, b) => {
    if (Number.isInteger(n) && n >= 0 && n <= Lk) return n;
    throw new OptionError(`${NAME}: keyLengths[${b}] must be a whole number from 0 to ${Lk}, got ${n}`);
  });
}

function hostMask(
  engine: Engine,
  shape: readonly [number, 1, number, number],
  allowed: (b: number, i: number, j: number) => boolean,
): Tensor {
  const [B, , rows, columns] = shape;
  const data = new Uint8Array(B * rows * columns);
  let at = 0;
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) data[at++] = +allowed(b, i, j);
  }
  return engine.tensor(data, shape);
}

function merge(
  masks: StridedMask[],
  sizes: readonly [number, number, number, number],
  extra: number,
): StridedMask | undefined {
  if (masks.length === 0) return undefined;
  const [first, ...rest] = masks;
  const merged = rest.reduce((a, b) => combineMasks(a, b, sizes), first);
  return extra === 0 ? merged : combineMasks(merged, undefined, sizes, sizes[3] + extra);
}
