// Views without copies, and the ops that only move rows: reshape, gather, concatenation.

import { addInto, copy2d } from '../../engine/ops/elementwise.js';
import { embeddingBackward, gatherRows as gatherRowsRaw } from '../../engine/ops/embedding.js';
import type { Tensor } from '../../engine/types.js';
import { ShapeError } from '../../tensor/errors.js';
import { Parameter, ParameterRows, type Weight } from '../parameter.js';
import type { Tape } from '../tape.js';

export const sameShape = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((n, i) => n === b[i]);

/** Calls fn with x as a matrix [rows, last dimension]; the view is gone afterwards. */
export function withMatrix<T>(x: Tensor, fn: (matrix: Tensor) => T): T {
  if (x.shape.length === 2) return fn(x);
  const width = x.shape[x.shape.length - 1] ?? 1;
  const view = x.reshape([width === 0 ? 0 : x.size / width, width]);
  try {
    return fn(view);
  } finally {
    view.dispose();
  }
}

/** The same storage under another shape; takes over the given handle. */
export function reshaped(x: Tensor, shape: readonly number[]): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const view = x.reshape(shape);
  x.dispose();
  return view;
}

/** Frees what inference no longer needs; with a tape the tape decides. */
export function discard(tape: Tape | null, ...tensors: Tensor[]): void {
  if (tape === null) for (const tensor of tensors) tensor.dispose();
}

/** x [any] → the same numbers with another shape; no copy. */
export function reshape(tape: Tape | null, x: Tensor, shape: readonly number[]): Tensor {
  const y = x.reshape(shape);
  if (tape?.tracks(x)) tape.record(y, (dy) => tape.accumulate(x, dy));
  return y;
}

/** x [R,C], index int32 [T] → [T,C]: row t is x's row index[t]; rows may repeat. */
export function gatherRows(tape: Tape | null, x: Tensor, index: Tensor): Tensor {
  const y = gatherRowsRaw(x, index);
  if (tape?.tracks(x)) {
    tape.record(y, (dy) => {
      const dx = tape.engine.zeros(x.shape);
      embeddingBackward(index, dy, 1, dx);
      tape.accumulate(x, dx);
    });
  }
  return y;
}

const isWeight = (piece: Tensor | Weight): piece is Weight =>
  piece instanceof Parameter || piece instanceof ParameterRows;

/** Pieces [Ri,C] or weights of rows of width C, one below the other → [ΣRi, C]. */
export function concatRows(tape: Tape | null, pieces: readonly (Tensor | Weight)[]): Tensor {
  const values = pieces.map((piece) => (isWeight(piece) ? piece.value : piece));
  const width = values[0].shape[values[0].shape.length - 1];
  const starts = [0];
  for (const value of values) {
    if (value.shape[value.shape.length - 1] !== width) {
      throw new ShapeError(`concatRows: expected rows of width ${width}, got shape [${value.shape}]`);
    }
    starts.push(starts[starts.length - 1] + value.size / width);
  }
  const y = values[0].engine.empty([starts[values.length], width]);
  values.forEach((value, i) => {
    const count = starts[i + 1] - starts[i];
    copy2d(
      { tensor: value, stride: width },
      { tensor: y, offset: starts[i] * width, stride: width },
      count,
      width,
    );
  });
  tape?.record(y, (dy) => {
    pieces.forEach((piece, i) => {
      if (!isWeight(piece) && !tape.tracks(piece)) return;
      const rows = dy.rows(starts[i], starts[i + 1]);
      if (isWeight(piece)) {
        addInto(piece.grad, rows);
      } else {
        const copy = tape.engine.empty(rows.shape);
        copy2d({ tensor: rows, stride: width }, { tensor: copy, stride: width }, rows.shape[0], width);
        tape.accumulate(piece, copy);
      }
      rows.dispose();
    });
  });
  return y;
}
