// What heads do in a few numbers, against sums over the materialised weights.
import { describe, expect, test } from 'vitest';
import { type AttentionMap, attention, createTrace } from '../../dist/index.js';
import { firstTokenShare, headSummary, heavyHitters, traceSummary } from '../../dist/inspect/index.js';
import { smallTensors } from '../helpers/small-trace.js';

const tensor = smallTensors();
const mapOf = async (options = {}, [B, H, Lq, Lk] = [2, 3, 21, 21]): Promise<AttentionMap> =>
  (await attention(tensor(B, H, Lq, 8), tensor(B, H, Lk, 8), tensor(B, H, Lk, 8), options)).map;

/** Means over the rows of one pair; a row's own sum is 1 less what its sink took. */
function plain(weights: Float32Array, Lq: number, Lk: number, first: number, origin: number, sinks: boolean) {
  const sums = { entropy: 0, distance: 0, sinkShare: 0, previous: 0, same: 0, next: 0 };
  for (let i = 0; i < Lq; i++) {
    const row = weights.subarray(i * Lk, (i + 1) * Lk);
    const total = row.reduce((a, w) => a + w, 0);
    row.forEach((w, j) => {
      if (w > 0) sums.entropy -= w * Math.log(w);
      sums.distance += (w * Math.abs(i + origin - j)) / (total || 1);
      if (j < first) sums.sinkShare += w;
    });
    if (sinks) sums.sinkShare += 1 - total;
    sums.previous += row[i + origin - 1] ?? 0;
    sums.same += row[i + origin] ?? 0;
    sums.next += row[i + origin + 1] ?? 0;
  }
  return Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, sum / Lq]));
}

describe('head summary', () => {
  const cases: [string, object, number[], number, number][] = [
    ['of all keys', {}, [2, 3, 21, 21], 1, 0],
    ['of the past, lower-right', { causal: 'lower-right' }, [2, 3, 9, 21], 3, 12],
    ['with sinks', { sinks: { shape: [3], data: Float32Array.of(0.5, 2, -1) } }, [2, 3, 21, 21], 2, 0],
    ['with more first keys than keys', { causal: true }, [2, 3, 5, 5], 99, 0],
  ];
  test.each(cases)(
    '%s: means of the weights within 1e-5 of a float64 sum',
    async (_, options, shape, first, origin) => {
      const [B, H, Lq, Lk] = shape;
      const map = await mapOf(options, shape);
      const { data } = await map.toTensor();
      for (let batch = 0; batch < B; batch++) {
        const heads = await headSummary(map, { batch, first });
        expect(heads.map(({ head }) => head)).toEqual([0, 1, 2]);
        for (const { head, ...numbers } of heads) {
          const at = (batch * H + head) * Lq * Lk;
          const own = data.subarray(at, at + Lq * Lk) as Float32Array;
          const expected = plain(own, Lq, Lk, first, origin, 'sinks' in options);
          for (const [name, value] of Object.entries(numbers))
            expect(Math.abs(value - expected[name]) / (1 + Math.abs(expected[name])), name).toBeLessThan(
              1e-5,
            );
        }
      }
    },
  );

  test('packed: of a sequence of its own', async () => {
    const cuSeqlens = Int32Array.of(0, 4, 4, 11);
    const [q, k, v] = [tensor(11, 2, 8), tensor(11, 2, 8), tensor(11, 2, 8)];
    const { map } = await attention(q, k, v, {
      layout: 'blhd',
      causal: true,
      cuSeqlens: { q: cuSeqlens, k: cuSeqlens },
    });
    const part = (x: { data: Float32Array }) => ({ shape: [7, 2, 8], data: x.data.slice(4 * 16) });
    const alone = await attention(part(q), part(k), part(v), { layout: 'blhd', causal: true });
    expect(await headSummary(map, { batch: 2, first: 2 })).toEqual(
      await headSummary(alone.map, { first: 2 }),
    );
    expect(
      (await headSummary(map, { batch: 1 })).map(({ entropy, sinkShare }) => [entropy, sinkShare]),
    ).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test('tells its progress, ends at a signal, refuses places outside', async () => {
    const map = await mapOf();
    const told: number[] = [];
    await headSummary(map, { batch: 0, onProgress: (fraction) => told.push(fraction) });
    expect(told).toEqual(told.toSorted((a, b) => a - b));
    expect(told.at(-1)).toBe(1);
    await expect(
      headSummary(map, { batch: 0, signal: AbortSignal.abort(new Error('enough')) }),
    ).rejects.toThrow('enough');
    await expect(headSummary(map)).rejects.toThrow('batch is a whole number from 0 to below 2');
    await expect(headSummary(map, { batch: 0, first: -1 })).rejects.toThrow('first is a whole number from 0');
  });

  test('of a whole trace, by name', async () => {
    const entry = (name: string, H: number) => ({ name, q: tensor(H, 6, 4), k: tensor(H, 7, 4) });
    const trace = createTrace({ entries: [entry('a', 2), entry('b', 3)] });
    const told: number[] = [];
    const made = await traceSummary(trace, { onProgress: (fraction) => told.push(fraction) });
    expect(made.map(({ name, heads }) => [name, heads.length])).toEqual([
      ['a', 2],
      ['b', 3],
    ]);
    expect(made[1].heads).toEqual(await headSummary(await trace.entries[1].map()));
    expect(told.at(-1)).toBe(1);
    trace.dispose();
  });
});

describe('sinks and heavy hitters', () => {
  test('the first keys’ share of each query', async () => {
    const map = await mapOf();
    const { data } = await map.tile({ batch: 1, head: 2 });
    const shares = await firstTokenShare(map, { batch: 1, head: 2, first: 2 });
    for (let i = 0; i < 21; i++) expect(shares[i]).toBeCloseTo(data[i * 21] + data[i * 21 + 1], 6);
    expect(await firstTokenShare(map, { batch: 1, head: 2, first: 0 })).toEqual(new Float32Array(21));
    await expect(firstTokenShare(map, { batch: 1 })).rejects.toThrow('head');
  });

  test('keys by what they receive, a planted one first', async () => {
    const [q, k] = [tensor(1, 40, 8), tensor(1, 40, 8)];
    // Every query has 4 in its first number, and key 17 alone answers to it.
    for (let i = 0; i < 40; i++) {
      q.data[8 * i] = 4;
      k.data[8 * i] = i === 17 ? 8 : 0;
    }
    const { map } = await attention(q, k, k);
    const { keys, received } = await heavyHitters(map, { count: 3 });
    expect(keys[0]).toBe(17);
    const all = (await map.received()).data as Float32Array;
    expect([...received]).toEqual([...all].sort((a, b) => b - a).slice(0, 3));
    expect([...received]).toEqual([...keys].map((key) => all[key]));
    expect((await heavyHitters(map, { count: 0 })).keys).toHaveLength(0);
    await expect(heavyHitters(await mapOf(), { batch: 0, count: 1 })).rejects.toThrow('head');
    await expect(heavyHitters(map, { count: 1.5 })).rejects.toThrow('count');
  });
});
