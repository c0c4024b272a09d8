// Readings that go beyond single weights, against plain matrix arithmetic over the materialised maps.
import { describe, expect, test } from 'vitest';
import { attention } from '../../dist/index.js';
import { rollout, valueWeightedNorms } from '../../dist/inspect/index.js';
import { expectWatched } from '../helpers/watched.js';

let seed = 1;
const random = () => {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed / 2 ** 31 - 1;
};
const tensor = (...shape: number[]) => ({
  shape,
  data: Float32Array.from({ length: shape.reduce((a, n) => a * n, 1) }, random),
});

async function layers(count: number, H: number, L: number, options = {}) {
  const made = [];
  for (let n = 0; n < count; n++)
    made.push((await attention(tensor(H, L, 8), tensor(H, L, 8), tensor(H, L, 8), options)).map);
  return made;
}

describe('rollout', () => {
  for (const options of [{}, { causal: true }, { sinks: { shape: [3], data: Float32Array.of(0.5, -1, 2) } }])
    test(`is a row of the product of mixed layers within 1e-6: ${Object.keys(options)}`, async () => {
      const [H, L, residual] = [3, 21, 0.3];
      const maps = await layers(3, H, L, options);
      let product: number[][] | undefined;
      for (const map of maps) {
        const { data } = await map.toTensor();
        const mixed = Array.from({ length: L }, (_, i) => {
          const row = Array.from({ length: L }, (_, j) => {
            let sum = 0;
            for (let h = 0; h < H; h++) sum += data[(h * L + i) * L + j];
            return sum;
          });
          const total = row.reduce((a, x) => a + x, 0);
          return row.map((x, j) => ((1 - residual) * x) / total + (i === j ? residual : 0));
        });
        const below: number[][] | undefined = product;
        product = below
          ? mixed.map((row) => row.map((_, j) => row.reduce((a, x, n) => a + x * below[n][j], 0)))
          : mixed;
      }
      for (const query of [0, 7, L - 1]) {
        const shares = await rollout(maps, { query, residual });
        expect(shares.reduce((a, x) => a + x, 0)).toBeCloseTo(1, 6);
        for (let j = 0; j < L; j++) expect(Math.abs(shares[j] - product![query][j])).toBeLessThan(1e-6);
      }
    });

  test('a row without weights passes its own position on', async () => {
    const keys = {
      mask: { shape: [4, 4], dtype: 'bool', data: Uint8Array.from({ length: 16 }, (_, n) => +(n >= 4)) },
    };
    const shares = await rollout(await layers(2, 1, 4, keys), { query: 0 });
    expect([...shares]).toEqual([1, 0, 0, 0]);
  });

  test('tells its progress, and ends at a signal', async () => {
    const maps = await layers(3, 2, 1200);
    await expectWatched(3, (watch) => rollout(maps, { query: 9, ...watch }));
  });

  test('refuses no layers, other lengths, places outside', async () => {
    const maps = await layers(1, 2, 5);
    await expect(rollout([], { query: 0 })).rejects.toThrow('at least one layer');
    await expect(rollout(maps, { query: 5 })).rejects.toThrow('below 5');
    await expect(rollout(maps, { query: 0, residual: 2 })).rejects.toThrow('0 to 1');
    const { map } = await attention(tensor(2, 4, 8), tensor(2, 5, 8), tensor(2, 5, 8));
    await expect(rollout([map], { query: 0 })).rejects.toThrow('4 to 5 positions');
  });
});

describe('value-weighted norms', () => {
  test('are the lengths of what keys add to the projected output within 1e-5', async () => {
    const [H, Lq, Lk, Dv, E] = [2, 6, 9, 4, 5];
    const v = tensor(H, Lk, Dv);
    const projection = tensor(E, H * Dv);
    const { map } = await attention(tensor(H, Lq, 8), tensor(H, Lk, 8), v);
    const all = (await map.toTensor()).data;
    const part = (h: number, i: number, j: number, e: number) => {
      let sum = 0;
      for (let d = 0; d < Dv; d++)
        sum += v.data[(h * Lk + j) * Dv + d] * projection.data[e * H * Dv + h * Dv + d];
      return sum * all[(h * Lq + i) * Lk + j];
    };
    for (const heads of [[0], [1], [0, 1]]) {
      const head = heads.length === 1 ? heads[0] : undefined;
      const { shape, data } = await valueWeightedNorms(map, { v, projection, head, queries: [2, 5] });
      expect(shape).toEqual([3, Lk]);
      for (let i = 2; i < 5; i++)
        for (let j = 0; j < Lk; j++) {
          const vector = Array.from({ length: E }, (_, e) => heads.reduce((a, h) => a + part(h, i, j, e), 0));
          expect(Math.abs(data[(i - 2) * Lk + j] - Math.hypot(...vector))).toBeLessThan(1e-5);
        }
    }
  });

  test('tells its progress, and ends at a signal', async () => {
    const v = tensor(2, 700, 16);
    const projection = tensor(32, 32);
    const { map } = await attention(tensor(2, 900, 8), tensor(2, 700, 8), v);
    await expectWatched(3, (watch) => valueWeightedNorms(map, { v, projection, ...watch }));
  });

  test('refuses values and projections that do not fit', async () => {
    const { map } = await attention(tensor(2, 3, 8), tensor(2, 4, 8), tensor(2, 4, 8));
    const fits = { v: tensor(2, 4, 8), projection: tensor(6, 16) };
    await expect(valueWeightedNorms(map, { ...fits, v: tensor(2, 5, 8) })).rejects.toThrow('[2, 4, Dv]');
    await expect(valueWeightedNorms(map, { ...fits, projection: tensor(6, 8) })).rejects.toThrow('[E, 16]');
    await expect(valueWeightedNorms(map, { ...fits, head: 2 })).rejects.toThrow('below 2');
  });
});
