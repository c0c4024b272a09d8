// What a map reads beside weights, against float64's materialised softmax: pictures, sums, entropies, distances, sinks
// and diagonals, for every option, whole and in parts, with and without statistics.
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';
import { validateAttention } from '../../dist/attention/validate.js';
import * as fovea from '../../dist/index.js';
import { budget } from '../../dist/map/parts.js';
import { largest } from '../../dist/map/top-keys.js';
import { randomCall, randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';
import { exactReadings, exactWeights } from '../attention/readings.js';

const { attention, attentionMap, createEngine } = fovea;
const engines = await Promise.all([1, 2, 3].map((threads) => createEngine({ threads })));
const strict = await createEngine({ threads: 2, simd: 'strict' });
const engine = engines[1];
const whole = budget.bytes;
afterEach(() => {
  budget.bytes = whole;
});
afterAll(() => Promise.all([...engines, strict].map((own) => own.dispose())));

type Problem = ReturnType<typeof validateAttention>;
type Map = fovea.AttentionMap;

/** Bins of [from, to), as pool() documents them. */
function bins([from, to]: readonly [number, number], count: number): (readonly [number, number])[] {
  const n = to - from;
  const edge = (r: number) => from + Math.floor((r * n) / count);
  return Array.from({ length: count }, (_, r) => [edge(r), Math.max(edge(r) + 1, edge(r + 1))] as const);
}

function pooled(
  w: Float64Array,
  m: number,
  rows: readonly (readonly [number, number])[],
  columns: readonly (readonly [number, number])[],
  reduce: string,
): number[] {
  return rows.flatMap(([a, b]) =>
    columns.map(([c, d]) => {
      const all: number[] = [];
      for (let i = a; i < b; i++) for (let j = c; j < d; j++) all.push(w[i * m + j]);
      const sum = all.reduce((x, y) => x + y, 0);
      return reduce === 'max' ? Math.max(...all) : reduce === 'sum' ? sum : sum / all.length;
    }),
  );
}

/** Everything there is to read of the last pair, and of all pairs. */
async function compare(map: Map, p: Problem, random: () => number): Promise<void> {
  const [b, h] = [p.B - 1, p.H - 1];
  const weights = exactWeights(p, b, h);
  const { n, m, w } = weights;
  const pair = { batch: b, head: h };
  const upTo = (most: number) => Math.floor(random() * (most + 1));
  const region = (most: number) => [upTo(most), upTo(most)].sort((x, y) => x - y) as [number, number];
  for (const reduce of ['sum', 'mean', 'max'] as const) {
    const [queries, keys] = random() < 0.3 ? [undefined, undefined] : [region(n), region(m)];
    const [rows, columns] = [1 + upTo(n), 1 + upTo(m)];
    const made = await map.pool({ ...pair, queries, keys, rows, columns, reduce });
    expect([made.shape, made.fraction, made.lowerBound]).toEqual([[rows, columns], 1, false]);
    const [r, c] = [queries ?? [0, n], keys ?? [0, m]];
    if (r[0] === r[1] || c[0] === c[1]) expect(made.data.every((x) => x === 0)).toBe(true);
    else {
      const expected = pooled(
        w,
        m,
        bins(r as [number, number], rows),
        bins(c as [number, number], columns),
        reduce,
      );
      expect(maxError(made.data, expected), `pool ${reduce}`).toBeLessThanOrEqual(1e-5);
    }
  }
  const offset = upTo(6) - 3;
  const { received, entropy, distance, sinkWeight, diagonal, logSumExp } = exactReadings(
    p,
    b,
    h,
    weights,
    offset,
  );
  if (n > 0) {
    const got = await map.logSumExp({ ...pair, query: n - 1 });
    const expected = logSumExp[n - 1];
    if (Number.isFinite(expected)) expect(Math.abs(got - expected)).toBeLessThanOrEqual(2e-5);
    else expect(got).toBe(expected);
  }
  const made = {
    received: await map.received(pair),
    entropy: await map.entropy(pair),
    distance: await map.distance(pair),
    sinkWeight: await map.sinkWeight(pair),
    diagonal: await map.diagonal(offset, pair),
  };
  const expected = { received, entropy, distance, sinkWeight, diagonal };
  for (const [name, numbers] of Object.entries(expected)) {
    const got = made[name as keyof typeof made];
    expect(got.shape, name).toEqual([numbers.length]);
    const bound = name === 'distance' ? 1e-5 * Math.max(1, ...numbers) : 1e-5;
    expect(maxError(got.data, numbers), name).toBeLessThanOrEqual(bound);
  }
  const all = await map.received();
  expect(all.shape).toEqual([p.B, p.H, p.Lk]);
  expect(all.data.slice((b * p.H + h) * p.Lk, (b * p.H + h) * p.Lk + m)).toEqual(made.received.data);
  expect((await map.entropy()).shape).toEqual([p.B, p.H, p.Lq]);
}

describe('random calls: every number within 1e-5 of float64 (a distance, of the largest)', () => {
  const cases = Array.from({ length: 90 }, (_, n) => ({
    seed: 500 + n,
    most: [12, 70, 300][n % 3],
    bytes: [whole, 1 << 12, 1 << 15][Math.floor(n / 3) % 3],
    own: [engine, engine, strict][n % 3],
  }));
  test.each(cases)('seed $seed, lengths to $most, budget $bytes', async ({ seed, most, bytes, own }) => {
    const { q, k, v, options } = randomCall(seeded(seed), { most });
    const p = validateAttention(q, k, v, options);
    if (p.B === 0 || p.H === 0) return;
    budget.bytes = bytes;
    const { map, logSumExp } = await attention(q, k, v, { ...options, engine: own });
    await compare(map, p, seeded(seed));
    map.dispose();
    const bare = await attentionMap(q, k, { ...options, engine: own });
    await compare(bare, p, seeded(seed + 1));
    bare.dispose();
    const copied = { data: logSumExp.data.slice(), shape: logSumExp.shape };
    const given = await attentionMap(q, k, { ...options, logSumExp: copied, engine: own });
    await compare(given, p, seeded(seed + 2));
    given.dispose();
    expect(own.memory.tensors).toBe(0);
  });

  test.each([901, 902, 903])('seed %d, a head of 2048 queries or keys', async (seed) => {
    const random = seeded(seed);
    const [n, m] = seed % 2 ? [2048, 1000] : [1000, 2048];
    const [q, k] = [
      randomTensor(random, [1, n, 16], 'float32', 3),
      randomTensor(random, [1, m, 16], 'float32', 3),
    ];
    const own = [
      { causal: 'lower-right', softcap: 20 },
      { window: [300, 40], alibi: randomTensor(random, [1], 'float32', 0.01) },
      {
        bias: randomTensor(random, [m]),
        sinks: randomTensor(random, [1]),
        keyLengths: Int32Array.of(m - 77),
      },
    ][seed % 3];
    const map = await attentionMap(q, k, { ...(own as object), engine });
    await compare(map, validateAttention(q, k, k, own as never), random);
    map.dispose();
  });

  test('the reference’s map reads the same, and the kernels’ from a far diagonal', async () => {
    for (const seed of [3, 4, 5, 6, 7, 8]) {
      const { q, k, v, options } = randomCall(seeded(seed), { most: 12 });
      // Beyond what the kernels count with, and without effect.
      const { alibi: _, ...rest } = options;
      const causal = { causal: { offset: 2 ** 30 }, window: undefined };
      const kernels = (await attention(q, k, v, { ...rest, ...causal, engine })).map;
      await compare(kernels, validateAttention(q, k, v, { ...rest, ...causal }), seeded(seed));
      kernels.dispose();
      const forced = { ...options, window: [2 ** 31 - 1, -1] as const, causal: { offset: 2 ** 30 } };
      const { map, backend } = await attention(q, k, v, { ...forced, allowReference: true });
      expect(backend).toBe('reference');
      await compare(map, validateAttention(q, k, v, forced), seeded(seed));
    }
  });
});

test('the same bits for 1, 2 and 3 threads', async () => {
  const random = seeded(8);
  const [q, k] = [randomTensor(random, [700, 16]), randomTensor(random, [900, 16])];
  const made = [];
  for (const own of engines) {
    const map = await attentionMap(q, k, { engine: own, causal: 'lower-right' });
    const sum = await map.pool({ rows: 9, columns: 31, reduce: 'sum' });
    made.push([sum.data, (await map.received()).data, (await map.entropy()).data]);
    map.dispose();
  }
  expect(made[1]).toEqual(made[0]);
  expect(made[2]).toEqual(made[0]);
});

describe('estimate', () => {
  const random = seeded(21);
  const [n, m] = [203, 150];
  const [q, k] = [randomTensor(random, [n, 8]), randomTensor(random, [m, 8])];
  const alibi = randomTensor(random, [1], 'float32', 0.05);
  const bias = randomTensor(random, [n, m]);

  test.each([
    ['plain', {}],
    ['causal', { causal: 'lower-right' }],
    ['alibi', { alibi, causal: { offset: -5 } }],
    ['bias and window', { bias, window: [60, 20] }],
  ] as const)('%s: reads the middles of equal parts of each bin', async (_, options) => {
    for (const bytes of [whole, 1 << 12]) {
      budget.bytes = bytes;
      const p = validateAttention(q, k, k, options as never);
      const { w } = exactWeights(p, 0, 0);
      const map = await attentionMap(q, k, { ...(options as object), engine });
      const [rows, columns, estimate] = [10, 7, 3];
      for (const reduce of ['sum', 'mean', 'max'] as const) {
        const made = await map.pool({ rows, columns, reduce, estimate });
        expect([made.fraction, made.lowerBound]).toEqual([30 / n, reduce === 'max']);
        const expected = bins([0, n], rows).flatMap(([a, b]) => {
          const read = [1, 3, 5].map((t) => a + Math.floor((t * (b - a)) / 6));
          return bins([0, m], columns).map(([c, d]) => {
            const cells = read.flatMap((i) => Array.from(w.subarray(i * m + c, i * m + d)));
            const sum = cells.reduce((x, y) => x + y, 0);
            if (reduce === 'max') return Math.max(...cells);
            return reduce === 'sum' ? (sum * (b - a)) / 3 : sum / cells.length;
          });
        });
        expect(maxError(made.data, expected), reduce).toBeLessThanOrEqual(1e-5);
      }
      const all = await map.pool({ rows, columns, reduce: 'max', estimate: 21 });
      expect([all.fraction, all.lowerBound]).toEqual([1, false]);
      map.dispose();
    }
  });
});

test('of no keys a reading is done at once: progress is 1', async () => {
  const [q, k] = [3, 0].map((length) => ({
    dtype: 'float32' as const,
    shape: [1, length, 2],
    data: new Float32Array(2 * length),
  }));
  const map = await attentionMap(q, k);
  const told: number[] = [];
  await map.sinkWeight({ onProgress: (fraction) => told.push(fraction) });
  expect(told).toEqual([1]);
  map.dispose();
});

test('progress rises to 1, and a signal ends a reading with its reason', async () => {
  const random = seeded(2);
  const [q, k] = [randomTensor(random, [2, 300, 8]), randomTensor(random, [2, 300, 8])];
  budget.bytes = 1 << 14;
  const map = await attentionMap(q, k, { engine });
  const seen: number[] = [];
  await map.received({ onProgress: (fraction) => seen.push(fraction) });
  expect(seen.length).toBeGreaterThan(4);
  expect(seen.every((x, n) => x > (seen[n - 1] ?? 0))).toBe(true);
  expect(seen.at(-1)).toBe(1);
  const early = new AbortController();
  early.abort(new Error('not at all'));
  const place = { head: 0, rows: 3, columns: 3, reduce: 'mean' } as const;
  await expect(map.pool({ ...place, signal: early.signal })).rejects.toThrow('not at all');
  for (const read of [
    (watch: fovea.Watch) => map.received(watch),
    (watch: fovea.Watch) => map.entropy(watch),
    (watch: fovea.Watch) => map.diagonal(0, watch),
    (watch: fovea.Watch) => map.pool({ ...place, ...watch }),
  ]) {
    const control = new AbortController();
    let told = 0;
    const watch = {
      signal: control.signal,
      onProgress: () => void (++told === 1 && control.abort('enough')),
    };
    await expect(read(watch)).rejects.toBe('enough');
    expect(told).toBe(1);
  }
  map.dispose();
  expect(engine.memory.tensors).toBe(0);
});

test('refusals', async () => {
  const map = await attentionMap(randomTensor(seeded(1), [5, 4]), randomTensor(seeded(1), [6, 4]), {
    engine,
  });
  const good = { rows: 2, columns: 2, reduce: 'sum' } as const;
  for (const [wrong, message] of [
    [{ ...good, rows: 0 }, 'rows is a whole number from 1, got 0'],
    [{ ...good, columns: 1.5 }, 'columns is a whole number from 1, got 1.5'],
    [{ ...good, rows: 2 ** 20, columns: 2 ** 20 }, 'a picture has at most 2^26 cells'],
    [{ ...good, reduce: 'min' }, "reduce is 'sum', 'mean' or 'max'"],
    [{ ...good, estimate: 0 }, 'estimate is a whole number from 1, got 0'],
    [{ ...good, queries: [0, 6] }, 'queries is [from, to) within 0 to 5, got [0, 6]'],
    [{ ...good, head: 1 }, 'head is a whole number from 0 to below 1, got 1'],
  ] as const) {
    const call = map.pool(wrong as never);
    await expect(call).rejects.toThrow(fovea.OptionError);
    await expect(call).rejects.toThrow(message);
  }
  await expect(map.diagonal(0.5)).rejects.toThrow('offset is a whole number, got 0.5');
  for (const [call, message] of [
    [map.row(undefined as never), 'expected a place, such as { head, query }, got undefined'],
    [map.tile(null as never), 'expected a place, such as { head, query }, got null'],
    [map.topKeys(3 as never), 'expected a place, such as { head, query }, got 3'],
    [map.entropy([] as never), 'expected a place, such as { head, query }, got an array'],
    [map.logSumExp('0' as never), 'expected a place, such as { head, query }, got "0"'],
    [map.pool(null as never), 'expected a place, such as { head, query }, got null'],
    [map.refine(null as never).next(), 'expected a place, such as { head, query }, got null'],
    [map.toTensor({ most: 1 } as never), 'unknown option "most", expected one of budget'],
    [map.row({ query: 0, signal: 5 as never }), 'signal is an AbortSignal, got 5'],
    [map.pool({ ...good, signal: {} as never }), 'signal is an AbortSignal, got an object'],
    [map.entropy({ onProgress: 1 as never }), 'onProgress is a function, got 1'],
  ] as const) {
    await expect(call).rejects.toThrow(fovea.OptionError);
    await expect(call).rejects.toThrow(message);
  }
  map.dispose();
  for (const call of [
    map.pool(good),
    map.received(),
    map.entropy(),
    map.distance(),
    map.sinkWeight(),
    map.diagonal(1),
  ]) {
    await expect(call).rejects.toThrow(fovea.EngineError);
  }
  const x = randomTensor(seeded(1), [5, 4]);
  const logSumExp = { data: new Float32Array(4), shape: [4] };
  await expect(attentionMap(x, x, { logSumExp })).rejects.toThrow('logSumExp has shape [4], expected [5]');
  await expect(attentionMap(x, x, { logSumExp: 3 as never })).rejects.toThrow(fovea.DTypeError);
  await expect(attentionMap(x, x, { nothing: 1 } as never)).rejects.toThrow('attentionMap: unknown option');
});

test('the largest of many, whatever their order and equals', () => {
  const random = seeded(77);
  for (let n = 0; n < 300; n++) {
    const size = Math.floor(random() * 40);
    const weights = Float32Array.from({ length: size }, () => Math.floor(random() * 9) / 8);
    const count = Math.floor(random() * 12);
    const order = Array.from(weights.keys()).filter((j) => weights[j] > 0);
    order.sort((a, b) => weights[b] - weights[a] || a - b);
    const { keys, weights: top } = largest(weights, count);
    expect([...keys]).toEqual(order.slice(0, count));
    expect([...top]).toEqual(order.slice(0, count).map((j) => weights[j]));
  }
});

describe('scores to ±1000: error ≤ twice plain float32 + 1e-6', () => {
  const random = seeded(31);
  const [n, m, D] = [90, 110, 16];
  const q = randomTensor(random, [n, D], 'float32', 20);
  const k = randomTensor(random, [m, D], 'float32', 20);
  const p = validateAttention(q, k, k);
  const { w } = exactWeights(p, 0, 0);
  const bound = 2 * maxError(plainWeights(q, k), w) + 1e-6;
  const { logSumExp } = attentionReference(p);

  test('row statistics computed, or attention()’s own', async () => {
    const own = await attention(q, k, k, { engine });
    for (const options of [{}, { logSumExp: own.logSumExp }]) {
      const map = await attentionMap(q, k, { ...options, engine });
      expect(maxError((await map.tile()).data, w)).toBeLessThanOrEqual(bound);
      const made = await map.pool({ rows: n, columns: m, reduce: 'max' });
      expect(maxError(made.data, w)).toBeLessThanOrEqual(bound);
      map.dispose();
    }
    own.map.dispose();
  });

  test('a logSumExp from elsewhere is off by as much as scores are, in float64 by less', async () => {
    const errors = [];
    for (const data of [new Float32Array(logSumExp), logSumExp]) {
      const map = await attentionMap(q, k, { logSumExp: { data, shape: [n] }, engine });
      errors.push(maxError((await map.tile()).data, w));
      map.dispose();
    }
    expect(errors[0]).toBeLessThan(2e-4);
    expect(errors[1]).toBeLessThan(1e-4);
  });
});

/** Softmax of q·k/√D in three passes, every step rounded to float32. */
function plainWeights(q: fovea.HostTensor, k: fovea.HostTensor): Float32Array {
  const { fround } = Math;
  const [[n, D], [m]] = [q.shape, k.shape];
  const out = new Float32Array(n * m);
  for (let i = 0; i < n; i++) {
    const row = out.subarray(i * m, (i + 1) * m);
    for (let j = 0; j < m; j++) {
      let dot = 0;
      for (let d = 0; d < D; d++) {
        dot = fround(dot + fround((q.data[i * D + d] as number) * (k.data[j * D + d] as number)));
      }
      row[j] = fround(dot * fround(1 / Math.sqrt(D)));
    }
    const max = row.reduce((a, x) => Math.max(a, x), Number.NEGATIVE_INFINITY);
    row.forEach((s, j) => {
      row[j] = Math.exp(fround(s - max));
    });
    const sum = row.reduce((a, x) => fround(a + x), 0);
    row.forEach((e, j) => {
      row[j] = e / sum;
    });
  }
  return out;
}

test('NaN where the reference has it: a row of NaN leaves its forbidden cells 0', async () => {
  const random = seeded(4);
  const [q, k] = [randomTensor(random, [20, 4]), randomTensor(random, [20, 4])];
  (q.data as Float32Array)[7 * 4] = Number.NaN;
  const map = await attentionMap(q, k, { causal: true, engine });
  const { w } = exactWeights(validateAttention(q, k, k, { causal: true }), 0, 0);
  const made = await map.pool({ rows: 20, columns: 20, reduce: 'max' });
  expect([...made.data].map(Number.isNaN)).toEqual([...w].map(Number.isNaN));
  const entropy = await map.entropy();
  expect([...entropy.data].map(Number.isNaN)).toEqual(Array.from({ length: 20 }, (_, i) => i === 7));
  map.dispose();
});

test('an allowed score of −∞ in a row of NaN weighs NaN, not 0, wherever it is read', async () => {
  const random = seeded(5);
  const [q, k] = [randomTensor(random, [70, 4]), randomTensor(random, [70, 4])];
  const [x, y] = [q.data as Float32Array, k.data as Float32Array];
  for (let i = 0; i < 70; i++) x[i * 4] = Math.abs(x[i * 4]) + 0.1;
  y[3 * 4] = y[40 * 4] = Number.NEGATIVE_INFINITY;
  x[50 * 4 + 1] = Number.NaN;
  y[30 * 4] = Number.POSITIVE_INFINITY;
  const alibi = { data: new Float32Array([0.1]), shape: [1] };
  for (const options of [{ causal: true }, { causal: true, alibi }, { window: [20, 3] as const }]) {
    const map = await attentionMap(q, k, { ...options, engine });
    const { w } = exactWeights(validateAttention(q, k, k, options), 0, 0);
    const expected = [...w].map(Number.isNaN);
    expect(expected[50 * 70 + 40]).toBe(true);
    const read = async (estimate?: number) =>
      (await map.pool({ rows: 70, columns: 70, reduce: 'max', estimate })).data;
    for (const made of [(await map.toTensor()).data, await read(), await read(1)]) {
      expect([...made].map(Number.isNaN)).toEqual(expected);
    }
    const o = options.causal ? 0 : map.shape[3] - map.shape[2];
    const own = (await map.diagonal(-10)).data;
    expect([...own].map(Number.isNaN)).toEqual(
      Array.from(own, (_, i) => i + o >= 10 && expected[i * 70 + i + o - 10]),
    );
    map.dispose();
  }
});

test('N = 65536, D = 64: rows sum to 1, and readings of sampled rows and keys equal float64; error ≤ 1e-5', async () => {
  const random = seeded(6);
  const [N, D] = [65536, 64];
  const [q, k] = [randomTensor(random, [512, D]), randomTensor(random, [N, D])];
  const map = await attentionMap(q, k, { engine });
  const sums = await map.pool({ rows: 512, columns: 1, reduce: 'sum' });
  for (const sum of sums.data) expect(Math.abs(sum - 1)).toBeLessThanOrEqual(1e-5);
  const row = await map.row({ query: 17 });
  expect(Math.abs(row.reduce((a, x) => a + x, 0) - 1)).toBeLessThanOrEqual(1e-5);
  const one = {
    dtype: 'float32',
    shape: [1, D],
    data: (q.data as Float32Array).subarray(17 * D, 18 * D),
  } as const;
  const p = validateAttention(one, k, k, { causal: { offset: N } });
  const exact = weightsReference(p, 0, 0, [0, 1], [0, N]);
  expect(maxError(row, exact)).toBeLessThanOrEqual(1e-5);
  const entropy = exact.reduce((sum, w) => sum - w * Math.log(w), 0);
  expect(Math.abs((await map.entropy()).data[17] - entropy)).toBeLessThanOrEqual(1e-5);
  const top = await map.topKeys({ query: 17, count: 5 });
  const order = Array.from(exact.keys()).sort((a, b) => exact[b] - exact[a]);
  expect([...top.keys]).toEqual(order.slice(0, 5));
  map.dispose();
}, 60_000);
