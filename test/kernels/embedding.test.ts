// Rows by index and their gradient against float64; ids outside the table.
import { afterAll, describe, expect, test } from 'vitest';
import { embedding, embeddingBackward, gatherRows } from '../../dist/engine/ops/embedding.js';
import { anyEngine, disposeEngines, EPS, everywhere, expectClose, integers, normal } from './everywhere.js';

// [T, V, C]: parts of the gradient own 32 columns, parts of the forward about 32768 elements.
const SHAPES: [number, number, number][] = [
  [0, 3, 4],
  [1, 1, 1],
  [5, 3, 3],
  [17, 40, 31],
  [100, 7, 32],
  [300, 50, 33],
  [700, 90, 128],
  [70, 5, 67],
];

afterAll(disposeEngines);

describe('embedding', () => {
  test.each(SHAPES)(
    'T=%i V=%i C=%i: scale·row + position within 2 roundings; gathered rows exact',
    async (t, v, c) => {
      const [ids, index] = [integers(t, v, 1), integers(t, 9, 2)];
      const [table, places] = [normal(v * c, 3), normal(9 * c, 4)];
      const factor = Math.fround(Math.sqrt(c));
      const results = await everywhere((engine) => {
        const [i, w] = [engine.tensor(ids, [t]), engine.tensor(table, [v, c])];
        const positions = { table: engine.tensor(places, [9, c]), index: engine.tensor(index, [t]) };
        return [embedding(i, w, factor, positions), embedding(i, w, factor), gatherRows(w, i)];
      });
      const row = Array.from({ length: t * c }, (_, e) => table[ids[Math.floor(e / c)]! * c + (e % c)]!);
      const place = Array.from({ length: t * c }, (_, e) => places[index[Math.floor(e / c)]! * c + (e % c)]!);
      const bound = (e: number) => 2 * EPS * (Math.abs(factor * row[e]!) + Math.abs(place[e]!));
      for (const [placed, scaled, gathered] of results) {
        expectClose(
          placed!,
          row.map((x, e) => factor * x + place[e]!),
          bound,
          'placed',
        );
        expectClose(
          scaled!,
          row.map((x) => factor * x),
          bound,
          'scaled',
        );
        expectClose(gathered!, row, () => 0, 'gathered');
      }
    },
  );

  test.each(SHAPES)(
    'T=%i V=%i C=%i: gradient, added to what was there, within 2⁻²⁴·(n+2)·Σ|terms|',
    async (t, v, c) => {
      const ids = integers(t, v, 5);
      const [dy, before] = [normal(t * c, 6), normal(v * c, 7)];
      const results = await everywhere((engine) => {
        const dTable = engine.tensor(before, [v, c]);
        embeddingBackward(engine.tensor(ids, [t]), engine.tensor(dy, [t, c]), 1.5, dTable);
        return [dTable];
      });
      const want = Array.from(before);
      const [size, uses] = [want.map(Math.abs), new Float64Array(v)];
      ids.forEach((id, row) => {
        uses[id]!++;
        for (let k = 0; k < c; k++) {
          want[id * c + k]! += 1.5 * dy[row * c + k]!;
          size[id * c + k]! += Math.abs(1.5 * dy[row * c + k]!);
        }
      });
      const bound = (e: number) => EPS * (uses[Math.floor(e / c)]! + 2) * size[e]!;
      for (const [dTable] of results) expectClose(dTable!, want, bound);
    },
  );

  test('an id outside the table gives a row of NaN and no gradient', async () => {
    const [v, c] = [4, 6];
    const ids = Int32Array.of(0, -1, 3, 4, 2 ** 31 - 1);
    const index = Int32Array.of(0, 0, 2, 0, 0);
    const results = await everywhere((engine) => {
      const [i, w] = [engine.tensor(ids, [5]), engine.tensor(normal(v * c, 8), [v, c])];
      const positions = { table: engine.tensor(normal(2 * c, 9), [2, c]), index: engine.tensor(index, [5]) };
      const dTable = engine.zeros([v, c]);
      embeddingBackward(i, engine.tensor(new Float32Array(5 * c).fill(1), [5, c]), 1, dTable);
      return [embedding(i, w, 1), embedding(i, w, 1, positions), dTable];
    });
    const spoilt = (data: Float32Array) =>
      ids.reduce((list, _, r) => list + Number(data.subarray(r * c, (r + 1) * c).every(Number.isNaN)), '');
    for (const [plain, placed, dTable] of results) {
      expect(spoilt(plain!)).toBe('01011');
      expect(spoilt(placed!)).toBe('01111');
      expect([0, 1, 2, 3].map((r) => dTable![r * c])).toEqual([1, 0, 0, 1]);
    }
  });

  test('refusals', async () => {
    const engine = await anyEngine();
    const [ids, table, wide] = [engine.zeros([3], 'int32'), engine.zeros([4, 2]), engine.zeros([4, 3])];
    const square = engine.zeros([1, 3], 'int32');
    expect(() => embedding(table, table, 1)).toThrow(/ids has shape \[4, 2\], expected one dimension/);
    expect(() => embedding(square, table, 1)).toThrow(/ids has shape \[1, 3\]/);
    const positions = { table: wide, index: ids };
    expect(() => embedding(ids, table, 1, positions)).toThrow(
      /positions.table has shape \[4, 3\], expected \[4, 2\]/,
    );
    expect(() => embeddingBackward(ids, wide, 1, table)).toThrow(/dy has shape \[4, 3\], expected \[3, 2\]/);
    for (const t of [ids, table, wide, square]) t.dispose();
  });
});
