// Masks as the attention kernels read them: strides over [B,H,Lq,Lk], broadcast where a stride is 0.
import { DTypeError, ShapeError } from '../../tensor/errors.js';
import type { Tensor } from '../types.js';

/** A bool or float32 tensor seen as [B,H,Lq,Lk]; strides in elements. */
export interface StridedMask {
  readonly tensor: Tensor;
  readonly strides: readonly [number, number, number, number];
}

/**
 * Aligns a mask of rank ≤ 4 to the right of `sizes` = [B,H,Lq,Lk]; dimensions of 1 broadcast.
 * @throws ShapeError, naming the operand, where a dimension is neither 1 nor the expected size.
 */
export function broadcastMask(name: string, tensor: Tensor, sizes: readonly number[]): StridedMask {
  const { shape } = tensor;
  const strides: [number, number, number, number] = [0, 0, 0, 0];
  let stride = 1;
  for (let i = 1; i <= shape.length; i++) {
    const n = shape[shape.length - i];
    if (i > 4 || (n !== 1 && n !== sizes[4 - i])) {
      throw new ShapeError(`${name}: has shape [${shape}], expected one that broadcasts to [${sizes}]`);
    }
    if (n !== 1) strides[4 - i] = stride;
    stride *= n;
  }
  return { tensor, strides };
}

/**
 * a AND b of bool masks, a + b of float masks → contiguous mask over `keys` ≥ sizes[3] keys; the appended ones
 * are allowed (bool) or get 0 (float).
 */
export function combineMasks(
  a: StridedMask,
  b: StridedMask | undefined,
  sizes: readonly [number, number, number, number],
  keys: number = sizes[3],
): StridedMask {
  const { engine, dtype } = a.tensor;
  if (b && b.tensor.dtype !== dtype) {
    throw new DTypeError(`combineMasks: expected two masks of ${dtype}, got ${dtype} and ${b.tensor.dtype}`);
  }
  const full = (dimension: number) =>
    a.strides[dimension] !== 0 || (b?.strides[dimension] ?? 0) !== 0 ? sizes[dimension] : 1;
  const shape: [number, number, number, number] = [full(0), full(1), full(2), keys];
  const out = engine.empty(shape, dtype);
  const [aBatch, aHead, aRow, aColumn] = a.strides;
  const [bBatch, bHead, bRow, bColumn] = b?.strides ?? [0, 0, 0, 0];
  if (out.size > 0) {
    engine.run(
      'maskCombine',
      {
        float: dtype === 'float32' ? 1 : 0,
        out: out.pointer,
        H: shape[1],
        I: shape[2],
        J: keys,
        width: sizes[3],
        a: a.tensor.pointer,
        aBatch,
        aHead,
        aRow,
        aColumn,
        b: b?.tensor.pointer ?? 0,
        bBatch,
        bHead,
        bRow,
        bColumn,
      },
      shape[0] * shape[1],
    );
  }
  return broadcastMask('mask', out, [sizes[0], sizes[1], sizes[2], keys]);
}
