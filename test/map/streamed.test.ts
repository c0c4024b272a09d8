// Traces in files: q and k go piece by piece into the engine, and what is read there has the bits of what is read from
// arrays; and pictures that sharpen, statistics that questions share, questions that stop.
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest';
import { weightsReference } from '../../dist/attention/reference.js';
import { validateAttention } from '../../dist/attention/validate.js';
import { CpuEngine, KERNEL_NAMES } from '../../dist/engine/cpu-engine.js';
import { QueuedExecutor } from '../../dist/engine/queued.js';
import * as fovea from '../../dist/index.js';
import { shelf } from '../../dist/map/held-heads.js';
import { randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';

const { attention, attentionMap, createEngine, createTrace, openTrace, saveTrace } = fovea;
const engine = await createEngine({ threads: 2 });
const whole = shelf.bytes;
afterEach(() => {
  shelf.bytes = whole;
  vi.restoreAllMocks();
});
afterAll(() => engine.dispose());

type Map = fovea.AttentionMap;

async function file(options: fovea.TraceOptions, [H, Hkv, Lq, Lk, D]: number[], known: boolean, seed = 1) {
  const random = seeded(seed);
  const [q, k] = [randomTensor(random, [H, Lq, D]), randomTensor(random, [Hkv, Lk, D])];
  const made = known ? await attention(q, k, k, { ...(options as object), engine }) : undefined;
  const trace = createTrace({ entries: [{ name: 'a', q, k, options, logSumExp: made?.logSumExp }] });
  const bytes = await saveTrace(trace);
  trace.dispose();
  return { q, k, bytes };
}

/** Numbers of all kinds of one head. */
async function read(map: Map, head: number): Promise<ArrayLike<number>[]> {
  const [, , Lq, Lk] = map.shape;
  const pool = { head, rows: 9, columns: 5, reduce: 'sum' } as const;
  return [
    (await map.tile({ head, queries: [3, Lq - 1], keys: [2, Lk - 3] })).data,
    await map.row({ head, query: 7 }),
    (await map.pool(pool)).data,
    (await map.pool({ ...pool, estimate: 2, queries: [4, Lq], keys: [1, Lk] })).data,
    (await map.received({ head })).data,
    (await map.entropy({ head })).data,
    (await map.diagonal(1, { head })).data,
  ];
}

const [H, Hkv, Lq, Lk, D] = [4, 2, 70, 75, 8];
const random = seeded(5);
const mask = {
  dtype: 'bool' as const,
  shape: [Lq, Lk],
  data: new Uint8Array(Lq * Lk).map(() => +(random() < 0.8)),
};
const options: [string, object][] = [
  ['no options', {}],
  ['causal and sinks', { causal: { offset: Int32Array.of(4) }, sinks: randomTensor(random, [H]) }],
  ['alibi, window, softcap', { alibi: randomTensor(random, [H]), window: [40, 20], softcap: 3 }],
  ['mask, bias, keyLengths', { mask, bias: randomTensor(random, [H, 1, Lk]), keyLengths: Int32Array.of(60) }],
];

describe('from a file, the bits of arrays', () => {
  test.each(options)('%s, with logSumExp and without, kept whole or head by head', async (_, own) => {
    for (const known of [true, false]) {
      const { bytes } = await file(own as fovea.TraceOptions, [H, Hkv, Lq, Lk, D], known);
      const plain = await openTrace(bytes, { engine });
      const expected = [];
      for (let head = 0; head < H; head++) expected.push(await read(await plain.entries[0].map(), head));
      plain.dispose();
      // Two query heads and two key heads at a time, and room for less than one of each, which it takes none the less.
      const pair = 4 * (Lq + Lk) * D;
      for (const most of [whole, 2 * pair, pair / 2]) {
        shelf.bytes = most;
        const trace = await openTrace(new Blob([bytes as BlobPart]), { engine });
        const map = await trace.entries[0].map();
        const got = [];
        for (let head = 0; head < H; head++) {
          got.push(await read(map, head));
          const held = Math.min(Math.max(most, pair), 4 * (H * Lq + Hkv * Lk) * D);
          expect(engine.memory.inUse).toBeLessThanOrEqual(held);
        }
        expect(got).toEqual(expected);
        trace.dispose();
        expect(engine.memory.tensors).toBe(0);
      }
    }
  });

  test('float64, float16 and bfloat16 numbers are widened on the way', async () => {
    const { q, k } = await file({}, [1, 1, 20, 20, 8], false);
    for (const dtype of ['float64', 'float16'] as const) {
      const as = (x: fovea.HostTensor) => {
        if (dtype === 'float64') return { ...x, dtype, data: Float64Array.from(x.data as Float32Array) };
        return {
          ...x,
          dtype,
          data: Uint16Array.from(x.data as Float32Array, (n) => (n < 0 ? 0xb800 : 0x3c00)),
        };
      };
      const inputs = [as(q), as(k)] as fovea.HostTensor[];
      const made = createTrace({ entries: [{ name: 'a', q: inputs[0], k: inputs[1] }] });
      const trace = await openTrace(new Blob([(await saveTrace(made)) as BlobPart]), { engine });
      const direct = await attentionMap(inputs[0], inputs[1], { engine });
      expect(await (await trace.entries[0].map()).tile()).toEqual(await direct.tile());
      trace.dispose();
      direct.dispose();
    }
  });

  test('on a page’s engine too', async () => {
    const worker = new Worker(new URL('../../dist/engine/worker.js', import.meta.url));
    const executor = await QueuedExecutor.create(
      { threads: 2, build: engine.backend === 'wasm-relaxed' ? 'relaxed' : 'strict', kernels: KERNEL_NAMES },
      {
        post: (message, transfer) => worker.postMessage(message, transfer),
        listen: (received, died) => void worker.on('message', received).on('error', died),
        isDead: () => false,
        terminate: async () => void (await worker.terminate()),
      },
    );
    const page = new CpuEngine(executor, 'strict') as unknown as fovea.Engine;
    const { bytes } = await file({ causal: true }, [1, 1, 70, 70, 8], false);
    const all = [];
    for (const own of [engine, page]) {
      const trace = await openTrace(new Blob([bytes as BlobPart]), { engine: own });
      const map = await trace.entries[0].map();
      const pictures = [];
      for await (const { fraction, data } of map.refine({ rows: 4, columns: 4, reduce: 'mean' })) {
        if (fraction === 1) pictures.push(data.map((x) => Math.round(x * 1e5)));
      }
      all.push([await read(map, 0), pictures]);
      trace.dispose();
      expect(own.memory.tensors).toBe(0);
    }
    expect(all[1]).toEqual(all[0]);
    await page.dispose();
  });
});

describe('loading', () => {
  const shape = [2, 1, 20_000, 20_000, 64];

  test('progress rises to 1; a signal ends it, and a later call goes on from what was read', async () => {
    const { bytes } = await file({}, shape, false);
    const reads: number[] = [];
    const source = {
      size: bytes.length,
      read: (at: number, length: number) => {
        reads.push(at);
        return bytes.slice(at, at + length);
      },
    };
    const trace = await openTrace(source, { engine });
    reads.length = 0;
    const control = new AbortController();
    const told: number[] = [];
    const first = trace.entries[0].map({
      signal: control.signal,
      onProgress: (x) => {
        told.push(x);
        // Within k: q is there.
        if (x > 0.7) control.abort('enough');
      },
    });
    const second = trace.entries[0].map();
    await expect(first).rejects.toBe('enough');
    const map = await second;
    expect(told.at(-1)).toBeLessThan(1);
    const size = 4 * 64 * 20_000;
    // The file has k first.
    const start = bytes.length - 2 * size;
    expect(reads.filter((at) => at >= start)).toHaveLength(Math.ceil((2 * size) / (4 << 20)));
    const again: number[] = [];
    expect(await trace.entries[0].map({ onProgress: (x) => again.push(x) })).toBe(map);
    expect(again).toEqual([]);
    const early = AbortSignal.abort('no');
    await expect(trace.entries[0].map({ signal: early })).rejects.toBe('no');
    trace.dispose();
    expect(engine.memory.tensors).toBe(0);
  });

  test('disposed meanwhile: EngineError, and nothing is left', async () => {
    const { bytes } = await file({}, shape, false);
    const trace = await openTrace(new Blob([bytes as BlobPart]), { engine });
    await expect(trace.entries[0].map({ onProgress: () => trace.dispose() })).rejects.toThrow(
      fovea.EngineError,
    );
    expect(engine.memory.tensors).toBe(0);
  });

  test('process and engine hold q and k once', async () => {
    const { bytes } = await file({}, shape, false);
    const trace = await openTrace(new Blob([bytes as BlobPart]), { engine });
    const map = await trace.entries[0].map();
    const size = 4 * 64 * 20_000;
    expect(engine.memory.inUse).toBe(3 * size);
    // Working memory of questions: beside q and k at most 64 MB, released.
    const before = engine.memory.reserved;
    await map.pool({ head: 0, rows: 256, columns: 256, reduce: 'mean', queries: [0, 512] });
    await map.pool({ head: 1, rows: 768, columns: 1024, reduce: 'max', estimate: 0.1 });
    await map.topKeys({ head: 1, query: 5, count: 9 });
    await map.tile({ head: 0, queries: [0, 300], keys: [0, 20_000] });
    expect(engine.memory.reserved - before).toBeLessThan(64e6);
    expect(engine.memory.inUse).toBe(3 * size);
    trace.dispose();
  });
});

describe('pictures that sharpen', () => {
  const [n, m] = [1000, 90];
  const [q, k] = [randomTensor(random, [n, 8]), randomTensor(random, [m, 8])];
  const own = (r: number, rows: number, from = 0, to = n) =>
    Math.floor(((r + 1) * (to - from)) / rows) - Math.floor((r * (to - from)) / rows);

  test.each([1, 7, 100, 999, 1000])(
    '%d rows: fractions rise to 1, the last is exact, no query twice',
    async (rows) => {
      const map = await attentionMap(q, k, { engine });
      for (const reduce of ['sum', 'mean', 'max'] as const) {
        const exact = await map.pool({ rows, columns: 6, reduce });
        const pictures = [];
        for await (const made of map.refine({ rows, columns: 6, reduce, within: 1e-3 })) pictures.push(made);
        expect(pictures.length).toBeGreaterThan(3);
        const fractions = pictures.map(({ fraction }) => fraction);
        expect(fractions[0]).toBe(16 / n);
        expect(fractions.every((x, i) => i === 0 || x > fractions[i - 1])).toBe(true);
        expect(fractions.at(-1)).toBe(1);
        for (const { fraction, lowerBound, data, shape } of pictures) {
          expect([shape, lowerBound]).toEqual([[rows, 6], reduce === 'max' && fraction < 1]);
          // All of a query's weights are in its row of the picture, whichever queries were read.
          if (reduce !== 'sum') continue;
          for (let r = 0; r < rows; r++) {
            const sum = data.subarray(6 * r, 6 * r + 6).reduce((a, x) => a + x, 0);
            expect(Math.abs(sum - own(r, rows))).toBeLessThan(1e-3);
          }
        }
        expect(maxError(pictures.at(-1)!.data, exact.data)).toBeLessThan(
          1e-5 * (reduce === 'sum' ? n / rows : 1),
        );
      }
      map.dispose();
    },
  );

  test('the first queries are spread over the region, and other rows repeat the nearest', async () => {
    const map = await attentionMap(q, k, { engine });
    const [rows, queries, keys] = [100, [100, 900], [10, 80]] as const;
    const p = validateAttention(q, k, k);
    const place = { rows, columns: 1, reduce: 'max', queries, keys, within: 1e-3 } as const;
    const { value } = await map.refine(place as never).next();
    const picture = (value as fovea.PooledWeights).data;
    const weights = weightsReference(p, 0, 0, [100, 900], [10, 80]);
    const most = Array.from({ length: 800 }, (_, i) => Math.max(...weights.subarray(70 * i, 70 * i + 70)));
    const runs = [...picture].filter((x, r) => x !== picture[r - 1]);
    expect(runs).toHaveLength(16);
    // Each is one query's, of a row of the picture that shows it.
    let longest = 0;
    for (let r = 0, from = 0; r < rows; r++) {
      if (picture[r] !== picture[r - 1]) from = r;
      longest = Math.max(longest, r - from + 1);
      const found = most.findIndex((x) => Math.abs(x - picture[r]) < 1e-7);
      expect(Math.abs(Math.floor(found / 8) - r)).toBeLessThan(8);
    }
    expect(longest).toBeLessThan(14);
    map.dispose();
  });

  test('a small region comes exact at once; a signal and a disposed map reject; bad places too', async () => {
    const map = await attentionMap(q, k, { engine });
    const place = { rows: 8, columns: 8, reduce: 'mean' } as const;
    const pictures = [];
    for await (const made of map.refine({ ...place, queries: [0, 64], within: 60_000 }))
      pictures.push(made.fraction);
    expect(pictures).toEqual([1]);
    for await (const made of map.refine({ ...place, keys: [4, 4] }))
      expect(made.data.every((x) => x === 0)).toBe(true);
    const signal = AbortSignal.abort('no');
    await expect(map.refine({ ...place, signal }).next()).rejects.toBe('no');
    for (const [wrong, message] of [
      [{ within: 0 }, 'within is a number of milliseconds, got 0'],
      [{ rows: 0 }, 'rows is a whole number from 1, got 0'],
      [{ queries: [0, n + 1] }, 'queries is [from, to) within 0 to 1000'],
    ] as const) {
      await expect(map.refine({ ...place, ...wrong } as never).next()).rejects.toThrow(message);
    }
    const running = map.refine({ ...place, within: 1e-3 });
    await running.next();
    map.dispose();
    await expect(running.next()).rejects.toThrow(fovea.EngineError);
  });

  test('a fraction of one query a row: the middles of equal parts of the picture', async () => {
    const map = await attentionMap(q, k, { engine });
    const made = await map.pool({ rows: 100, columns: 1, reduce: 'max', estimate: 0.05, keys: [0, 40] });
    expect([made.fraction, made.lowerBound]).toEqual([5 / n, true]);
    const p = validateAttention(q, k, k);
    const expected = Array.from({ length: 100 }, (_, r) => {
      // Halfway between two that were read, the one before.
      const i = Math.max(0, Math.ceil(r / 20) - 1) * 200 + 105;
      return Math.max(...weightsReference(p, 0, 0, [i, i + 1], [0, 40]));
    });
    expect(maxError(made.data, expected)).toBeLessThan(1e-6);
    map.dispose();
  });
});

describe('questions at once', () => {
  const [n, m, width] = [512, 40_000, 64];
  const [q, k] = [randomTensor(random, [n, width]), randomTensor(random, [m, width])];
  const runs = (spy: { mock: { calls: unknown[][] } }, kernel: string) =>
    spy.mock.calls.filter(([name]) => name === kernel).map(([, slots]) => slots as Record<string, number>);

  test('rows that several ask for are summed once', async () => {
    const map = await attentionMap(q, k, { engine });
    const spy = vi.spyOn(engine, 'run');
    const place = { queries: [0, 256], rows: 4, columns: 4, reduce: 'sum' } as const;
    const quarter = [0, 1, 2, 3].map((t) => [t * 10_000, (t + 1) * 10_000] as const);
    const made = await Promise.all(quarter.map((keys) => map.pool({ ...place, keys })));
    const rows = runs(spy, 'attentionStatistics').map(({ Lq, Lk }) => Lq * Lk);
    expect(rows.reduce((a, b) => a + b, 0)).toBe(256 * m);
    const sum = made.reduce((all, { data }) => all + data.reduce((a, x) => a + x, 0), 0);
    expect(Math.abs(sum - 256)).toBeLessThan(1e-3);
    map.dispose();
  });

  test('what is issued at a time is at most 2^29 multiplications; after a signal nothing more is', async () => {
    const map = await attentionMap(q, k, { engine });
    const spy = vi.spyOn(engine, 'run');
    const control = new AbortController();
    const place = { rows: 512, columns: 512, reduce: 'mean', signal: control.signal } as const;
    const waiting = map.pool(place);
    const other = map.pool({ ...place, rows: 8 });
    setTimeout(() => control.abort('enough'), 5);
    const ends = await Promise.allSettled([waiting, other]);
    expect(ends.map((end) => (end as PromiseRejectedResult).reason)).toEqual(['enough', 'enough']);
    const issued = spy.mock.calls.length;
    await new Promise((done) => setTimeout(done, 50));
    expect(spy.mock.calls.length).toBe(issued);
    // What was summed before stays.
    const done = runs(spy, 'attentionStatistics').map(({ Lq }) => Lq);
    await map.pool({ rows: 512, columns: 512, reduce: 'mean' });
    const all = [...runs(spy, 'attentionStatistics'), ...runs(spy, 'attentionPool')];
    for (const { Lq, Lk } of all) expect(Lq * Lk * width).toBeLessThanOrEqual(2 ** 29);
    const rows = runs(spy, 'attentionStatistics').reduce((sum, { Lq, Lk }) => sum + Lq * Lk, 0);
    expect(done.length).toBeGreaterThan(0);
    expect(rows).toBeLessThanOrEqual(n * m + 2 * 192 * m);
    map.dispose();
  });

  test('a map that nobody asks costs nothing: no kernel, no memory', async () => {
    const spy = vi.spyOn(engine, 'run');
    const { map } = await attention(q, k, k, { engine });
    await new Promise((done) => setTimeout(done, 5));
    const kernels = new Set(spy.mock.calls.map(([name]) => name));
    expect([...kernels].filter((name) => /Cells|Pool|Moments|Statistics|Diagonal/.test(name))).toEqual([]);
    expect(engine.memory.tensors).toBe(0);
    map.dispose();
  });
});
