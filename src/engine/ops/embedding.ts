// Raw ops that choose rows of a table by int32 indices, and the gradient into the table. Not differentiable.
// An index outside the table gives a row of NaN (it cannot be checked before it is read); the gradient skips it.
import { ShapeError } from '../../tensor/errors.js';
import type { Tensor } from '../types.js';
import { expectEngine, expectShape, expectTensors, matrixShape, rowParts } from './checks.js';

/** Columns that one part of the gradient owns; the kernel says the same. */
const OWNED_COLUMNS = 32;

/** scale·table[ids[t]] (+ positions.table[positions.index[t]]): ids int32 [T], table [V,C] → [T,C]. */
export function embedding(
  ids: Tensor,
  table: Tensor,
  scale: number,
  positions?: { table: Tensor; index: Tensor },
): Tensor {
  const rows = idsOf('embedding', ids);
  const [vocabulary, columns] = matrixShape('embedding', 'table', table);
  expectTensors('embedding', 'int32', { ids, 'positions.index': positions?.index });
  expectTensors('embedding', 'float32', { table, 'positions.table': positions?.table });
  expectEngine('embedding', ['table', table], ['ids', ids]);
  let places = 0;
  if (positions) {
    const [count, width] = matrixShape('embedding', 'positions.table', positions.table);
    expectShape('embedding', 'positions.table', positions.table, [count, columns]);
    expectShape('embedding', 'positions.index', positions.index, [rows]);
    places = width === columns ? count : 0;
  }
  const out = table.engine.empty([rows, columns]);
  const { rowsPerPart, parts } = rowParts(rows, columns);
  const from = { ids: ids.pointer, table: table.pointer };
  const place = { index: positions?.index.pointer ?? 0, positions: positions?.table.pointer ?? 0, places };
  const shape = { rows, columns, vocabulary, rowsPerPart, scale };
  table.engine.run('embedding', { ...from, ...place, out: out.pointer, ...shape }, columns > 0 ? parts : 0);
  return out;
}

/** dTable[ids[t]] += scale·dy[t]: ids int32 [T], dy [T,C], dTable [V,C]. */
export function embeddingBackward(ids: Tensor, dy: Tensor, scale: number, dTable: Tensor): void {
  const rows = idsOf('embeddingBackward', ids);
  const [vocabulary, columns] = matrixShape('embeddingBackward', 'dTable', dTable);
  expectTensors('embeddingBackward', 'int32', { ids });
  expectTensors('embeddingBackward', 'float32', { dTable, dy });
  expectEngine('embeddingBackward', ['dTable', dTable], ['ids', ids]);
  expectShape('embeddingBackward', 'dy', dy, [rows, columns]);
  const pointers = { ids: ids.pointer, dy: dy.pointer, dTable: dTable.pointer };
  const slots = { ...pointers, rows, columns, vocabulary, scale };
  dTable.engine.run('embeddingBackward', slots, Math.ceil(columns / OWNED_COLUMNS));
}

/** x[index[t]]: x [R,C], index int32 [T] → [T,C]. */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  return embedding(index, x, 1);
}

function idsOf(op: string, ids: Tensor): number {
  if (ids.shape.length !== 1) {
    throw new ShapeError(`${op}: ids has shape [${ids.shape.join(', ')}], expected one dimension`);
  }
  return ids.size;
}
