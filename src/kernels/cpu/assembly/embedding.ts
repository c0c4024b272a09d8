// Rows of a table chosen by int32 indices, and the gradient that flows back into the table.
// An index outside the table cannot be refused here: its row becomes NaN, which no loss overlooks; the gradient skips it.
import { loadLanes, storeLanes } from './lanes';
import { argF, argU } from './runtime';
import { fma4 } from './simd';

/** Columns that one part of `embeddingBackward` owns; engine/ops/embedding.ts says the same. */
const OWNED_COLUMNS: u32 = 32;

function fillNaN(out: usize, columns: u32): void {
  for (let i: u32 = 0; i < columns; i++) store<f32>(out + (<usize>i << 2), NaN);
}

/**
 * out[t] = scale·table[ids[t]] + positions[index[t]].
 * Slots ids, table, index, positions (0: none), out, rows, columns, vocabulary, places, rowsPerPart, scale.
 */
export function embedding(args: usize, part: u32): void {
  const positions = <usize>argU(args, 3), columns = argU(args, 6), bytes = <usize>columns << 2;
  const first = <usize>part * argU(args, 9), last = min<usize>(first + argU(args, 9), argU(args, 5)), factor = f32x4.splat(argF(args, 10));
  const whole = (<usize>columns >> 2) << 4, rest = columns & 3;
  for (let row = first; row < last; row++) {
    const id = load<u32>(<usize>argU(args, 0) + (row << 2)), out = <usize>argU(args, 4) + row * bytes;
    const place = positions ? load<u32>(<usize>argU(args, 2) + (row << 2)) : 0;
    if (id >= argU(args, 7) || (positions && place >= argU(args, 8))) {
      fillNaN(out, columns);
      continue;
    }
    const x = <usize>argU(args, 1) + <usize>id * bytes, p = positions + <usize>place * bytes;
    if (positions) {
      for (let i: usize = 0; i < whole; i += 16) v128.store(out + i, fma4(factor, v128.load(x + i), v128.load(p + i)));
      if (rest) storeLanes(out + whole, fma4(factor, loadLanes(x + whole, rest, 0), loadLanes(p + whole, rest, 0)), rest);
    } else {
      for (let i: usize = 0; i < whole; i += 16) v128.store(out + i, f32x4.mul(factor, v128.load(x + i)));
      if (rest) storeLanes(out + whole, f32x4.mul(factor, loadLanes(x + whole, rest, 0)), rest);
    }
  }
}

/**
 * dTable[ids[t]] += scale·dy[t], t ascending. Slots ids, dy, dTable, rows, columns, vocabulary, scale.
 * A part owns OWNED_COLUMNS columns and walks all ids: no two parts write one number, and the order never changes.
 */
export function embeddingBackward(args: usize, part: u32): void {
  const rows: usize = argU(args, 3), columns = argU(args, 4), bytes = <usize>columns << 2, factor = f32x4.splat(argF(args, 6));
  const first = part * OWNED_COLUMNS, owned = min(columns - first, OWNED_COLUMNS);
  const whole = (<usize>owned >> 2) << 4, rest = owned & 3, offset = <usize>first << 2;
  for (let row: usize = 0; row < rows; row++) {
    const id = load<u32>(<usize>argU(args, 0) + (row << 2));
    if (id >= argU(args, 5)) continue;
    const dy = <usize>argU(args, 1) + row * bytes + offset, to = <usize>argU(args, 2) + <usize>id * bytes + offset;
    for (let i: usize = 0; i < whole; i += 16) v128.store(to + i, fma4(factor, v128.load(dy + i), v128.load(to + i)));
    if (rest) storeLanes(to + whole, fma4(factor, loadLanes(dy + whole, rest, 0), loadLanes(to + whole, rest, 0)), rest);
  }
}
