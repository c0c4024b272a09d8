// Rows of a key/value cache: copies [B,H,rows,D] of keys and [B,H,rows,Dv] of values from one place to another, each by
// its batch, head and row strides in bytes; batch entry b comes from entry index[b] of the source where there is an index.
// Part: `perPart` of the B·H pairs.
import { argU } from './runtime';

/** Slots from, to (pointer, batch, head, row) of k, then of v; B, H, rows, D, Dv, index, perPart. A pointer of 0 is left out. */
export function cacheRows(args: usize, part: u32): void {
  const H = argU(args, 17), perPart = argU(args, 22), index = <usize>argU(args, 21);
  const end = min((part + 1) * perPart, argU(args, 16) * H);
  for (let pair = part * perPart; pair < end; pair++) {
    const b = pair / H, h = pair % H;
    const source = index ? load<u32>(index + (<usize>b << 2)) : b;
    copyPair(args, 0, source, b, h, argU(args, 19) << 2);
    copyPair(args, 8, source, b, h, argU(args, 20) << 2);
  }
}

function copyPair(args: usize, slot: usize, source: u32, b: u32, h: u32, bytes: usize): void {
  if (argU(args, slot) == 0) return;
  let from: usize = argU(args, slot) + source * argU(args, slot + 1) + h * argU(args, slot + 2);
  let to: usize = argU(args, slot + 4) + b * argU(args, slot + 5) + h * argU(args, slot + 6);
  const fromRow: usize = argU(args, slot + 3), toRow: usize = argU(args, slot + 7);
  const rows = argU(args, 18);
  if (fromRow == bytes && toRow == bytes) {
    memory.copy(to, from, rows * bytes);
    return;
  }
  for (let r: u32 = 0; r < rows; r++) {
    memory.copy(to, from, bytes);
    from += fromRow;
    to += toRow;
  }
}
