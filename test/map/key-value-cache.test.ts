// The key/value cache: attention over what was appended equals attention() over the same keys, for host tensors and for
// tensors of the engine, through reordering, growth and every refusal.
import { afterAll, describe, expect, test } from 'vitest';
import type { HostTensor, KeyValueCache, Tensor, TensorLike } from '../../dist/index.js';
import { attention, createEngine, createKeyValueCache } from '../../dist/index.js';
import { generator, largestError, normals, sizeOf } from '../kernels/attention-cases.js';

const engine = await createEngine({ threads: 2 });
afterAll(() => engine.dispose());
const random = generator(12);
type Floats = { data: Float32Array; shape: number[]; dtype: 'float32' };
const floats = (...shape: number[]): Floats => ({
  data: normals(sizeOf(shape), random),
  shape,
  dtype: 'float32',
});
const upload = ({ data, shape }: Floats) => engine.tensor(data, shape);

/** Positions [from, to) of [B,H,L,D]. */
function slice({ data, shape: [B, H, L, D] }: Floats, from: number, to: number): Floats {
  const parts = Array.from({ length: B * H }, (_, n) => [
    ...data.subarray((n * L + from) * D, (n * L + to) * D),
  ]);
  return { data: Float32Array.from(parts.flat()), shape: [B, H, to - from, D], dtype: 'float32' };
}

/** Batch entries by index. */
function pick({ data, shape: [, ...rest] }: Floats, index: number[]): Floats {
  const block = sizeOf(rest);
  const parts = index.flatMap((b) => [...data.subarray(b * block, (b + 1) * block)]);
  return { data: Float32Array.from(parts), shape: [index.length, ...rest], dtype: 'float32' };
}

/** [B,H,L,D] as [B,L,H,D]. */
function inside({ data, shape: [B, H, L, D] }: Floats): Floats {
  const out = { data: new Float32Array(data.length), shape: [B, L, H, D], dtype: 'float32' as const };
  for (let n = 0; n < data.length; n++) {
    const [d, i, h, b] = [n % D, Math.floor(n / D) % L, Math.floor(n / D / L) % H, Math.floor(n / D / L / H)];
    out.data[((b * L + i) * H + h) * D + d] = data[n];
  }
  return out;
}

const sizes = { batch: 2, heads: 2, keyWidth: 12, valueWidth: 10, capacity: 300 };
const numbers = ({ data }: HostTensor) => Array.from(data as Float32Array);

function expectNear(got: ArrayLike<number>, want: ArrayLike<number>): void {
  expect(largestError(got, new Float64Array(want))).toBeLessThanOrEqual(2e-6);
}

function expectClose(got: HostTensor, want: HostTensor): void {
  expect(got.shape).toEqual(want.shape);
  expectNear(numbers(got), numbers(want));
}

async function withCache(run: (cache: KeyValueCache) => Promise<void>, own = sizes): Promise<void> {
  const before = { ...engine.memory };
  const cache = createKeyValueCache(engine, own);
  try {
    await run(cache);
  } finally {
    cache.dispose();
    cache.dispose();
  }
  expect(engine.memory.tensors).toBe(before.tensors);
  expect(engine.memory.inUse).toBe(before.inUse);
}

describe('a cache', () => {
  test('grows step by step and equals attention() over all keys within 2e-6, with options', async () => {
    const [k, v] = [floats(2, 2, 300, 12), floats(2, 2, 300, 10)];
    await withCache(async (cache) => {
      for (const [from, to] of [
        [0, 1],
        [1, 1],
        [1, 5],
        [5, 140],
        [140, 299],
        [299, 300],
      ]) {
        cache.append(slice(k, from, to), slice(v, from, to));
        expect(cache.length).toBe(to);
        const q = floats(2, 4, 3, 12);
        const options = {
          causal: 'lower-right',
          window: [200, -1],
          sinks: floats(4),
          keyLengths: Int32Array.of(to, Math.ceil(to / 2)),
          bias: floats(to),
        } as const;
        const got = await cache.attend(q, { ...options, causal: true });
        const want = await attention(q, slice(k, 0, to), slice(v, 0, to), { ...options, engine });
        expectClose(got.output, want.output);
        expectClose(got.logSumExp, want.logSumExp);
        expect(got.backend).toBe(engine.backend);
        expect(got.map.shape).toEqual([2, 4, 3, to]);
        for (let head = 0; head < 4; head++) {
          const place = { batch: 1, head };
          expectClose(await got.map.tile(place), await want.map.tile(place));
        }
        want.map.dispose();
      }
    });
  });

  test('takes tensors of the engine in either layout, and gives tensors of the scope: within 2e-6', async () => {
    const [k, v, q] = [floats(2, 2, 150, 12), floats(2, 2, 150, 10), floats(2, 4, 2, 12)];
    const want = await attention(q, k, v, { engine, causal: 'lower-right' });
    const wantWeights = await want.map.tile({ batch: 1, head: 3 });
    want.map.dispose();
    await withCache(async (cache) => {
      const made = engine.scope(() => {
        cache.append(upload(slice(k, 0, 100)), upload(slice(v, 0, 100)));
        cache.append(upload(inside(slice(k, 100, 150))), upload(inside(slice(v, 100, 150))), {
          layout: 'blhd',
        });
        const { output, logSumExp, weights } = cache.attend(upload(q), { causal: true });
        const blhd = cache.attend(upload(inside(q)), { causal: true, layout: 'blhd' });
        return [output, logSumExp, blhd.output, blhd.logSumExp, weights(1, 3, [0, 2], [0, 150])];
      });
      const [output, logSumExp, blhd, blhdLse, weights] = await Promise.all(made.map((t) => t.read()));
      expect(made.map(({ shape }) => shape)).toEqual([
        [2, 4, 2, 10],
        [2, 4, 2],
        [2, 2, 4, 10],
        [2, 4, 2],
        [2, 150],
      ]);
      expectNear(output, want.output.data);
      expectNear(logSumExp, want.logSumExp.data);
      expect(blhdLse).toEqual(logSumExp);
      expectNear(blhd, inside(want.output as unknown as Floats).data);
      expectNear(weights, wantWeights.data);
      for (const tensor of made) tensor.dispose();
    });
  });

  test('serves lower ranks and more leading dimensions, float16 and float64', async () => {
    const half = { data: Uint16Array.of(0x3c00, 0x4000, 0x3800, 0xbc00), shape: [1, 4], dtype: 'float16' };
    const one = { batch: 1, heads: 1, keyWidth: 4, valueWidth: 4, capacity: 2 };
    await withCache(async (cache) => {
      cache.append(half, { data: Float64Array.of(1, 2, 3, 4), shape: [1, 4] });
      const { output, logSumExp } = await cache.attend(half);
      expect(output).toEqual({
        dtype: 'float16',
        shape: [1, 4],
        data: Uint16Array.of(0x3c00, 0x4000, 0x4200, 0x4400),
      });
      expect(logSumExp.shape).toEqual([1]);
    }, one);
    await withCache(
      async (cache) => {
        const [k, v, q] = [floats(2, 2, 1, 3, 4), floats(2, 2, 1, 3, 4), floats(2, 2, 2, 1, 4)];
        cache.append(k, v);
        const got = await cache.attend(q);
        expect(got.output).toEqual((await attention(q, k, v, { engine })).output);
      },
      { ...one, batch: 4, capacity: 3 },
    );
  });

  test('reorders with repeats, drops and additions, as often as one likes', async () => {
    let [k, v] = [floats(2, 2, 7, 12), floats(2, 2, 7, 10)];
    await withCache(async (cache) => {
      cache.append(k, v);
      for (const index of [[0, 1], [1, 1, 0], [2, 0, 1, 1], [3], [0, 0]]) {
        cache.reorder(index);
        [k, v] = [pick(k, index), pick(v, index)];
        expect(cache.batch).toBe(index.length);
        const q = floats(index.length, 2, 1, 12);
        const got = await cache.attend(q);
        expect(got.output).toEqual((await attention(q, k, v, { engine })).output);
      }
      const more = [floats(2, 2, 1, 12), floats(2, 2, 1, 10)];
      cache.append(more[0], more[1]);
      const q = floats(2, 2, 1, 12);
      const { output } = await cache.attend(q);
      const last = await attention(q, slice(k, 6, 7), slice(v, 6, 7), { engine });
      expect(output).not.toEqual(last.output);
      expect(() => cache.reorder([0, 2])).toThrow('index 1 is a whole number from 0 to below 2, got 2');
      expect(() => cache.reorder([0.5])).toThrow('got 0.5');
      expect(() => cache.reorder([-1])).toThrow('got -1');
      expect(cache.batch).toBe(2);
      cache.reorder([]);
      expect((await cache.attend(floats(0, 2, 1, 12))).output.shape).toEqual([0, 2, 1, 10]);
    });
  });

  test('a map outlives appends, ends with a reordering, and with retain() outlives that and the cache', async () => {
    const [k, v, q] = [floats(2, 2, 9, 12), floats(2, 2, 9, 10), floats(2, 2, 1, 12)];
    const want = await (await attention(q, k, v, { engine })).map.toTensor();
    await withCache(async (cache) => {
      cache.append(k, v);
      const [map, kept] = [(await cache.attend(q)).map, (await cache.attend(q)).map.retain()];
      cache.append(floats(2, 2, 200, 12), floats(2, 2, 200, 10));
      expect(await map.toTensor()).toEqual(want);
      cache.reorder([1, 0]);
      await expect(map.row({ batch: 0, head: 0, query: 0 })).rejects.toThrow('its cache was reordered');
      cache.dispose();
      await expect(map.toTensor()).rejects.toThrow('its cache was disposed');
      q.data.fill(0);
      expect(await kept.toTensor()).toEqual(want);
      kept.dispose();
      await expect(kept.toTensor()).rejects.toThrow('used after it was disposed');
    });
  });

  test('calls concern what the cache held when they were made', async () => {
    const [k, v, q] = [floats(2, 2, 9, 12), floats(2, 2, 9, 10), floats(2, 2, 1, 12)];
    const want = await attention(q, k, v, { engine });
    await withCache(async (cache) => {
      cache.append(k, v);
      const result = cache.attend(q);
      cache.append(k, v);
      cache.reorder([1, 1]);
      expect((await result).output).toEqual(want.output);
    });
  });

  test('nothing held gives empty rows', async () => {
    await withCache(async (cache) => {
      const { output, logSumExp } = await cache.attend(floats(2, 2, 1, 12));
      expect(numbers(output).every((x) => x === 0)).toBe(true);
      expect(numbers(logSumExp).every((x) => x === Number.NEGATIVE_INFINITY)).toBe(true);
    });
  });

  test('what is beyond the length, NaN too, leaves no trace', async () => {
    const [k, v, q] = [floats(2, 2, 5, 12), floats(2, 2, 5, 10), floats(2, 2, 1, 12)];
    const nan = (x: Floats) => ({ ...x, data: x.data.map(() => Number.NaN) });
    await withCache(async (cache) => {
      cache.append(nan(k), nan(v));
      cache.append(k, v);
      cache.reorder([1, 0]);
      const { output } = await cache.attend(q, { mask: keysFrom(5, 10) });
      expect(numbers(output).every(Number.isFinite)).toBe(true);
    });
  });
});

function keysFrom(first: number, count: number): TensorLike {
  return { data: Uint8Array.from({ length: count }, (_, j) => +(j >= first)), shape: [count], dtype: 'bool' };
}

describe('refusals leave the cache as it was', () => {
  const create = (change: object) => createKeyValueCache(engine, { ...sizes, ...change });

  test.each([
    [{ batch: 0 }, 'batch is a whole number from 1 to 2147483647, got 0'],
    [{ heads: 1.5 }, 'heads is a whole number from 1 to 2147483647, got 1.5'],
    [{ keyWidth: 513 }, 'keyWidth is a whole number from 1 to 512, got 513'],
    [{ valueWidth: undefined }, 'valueWidth is a whole number from 1 to 512, got undefined'],
    [{ capacity: '9' }, 'capacity is a whole number from 1 to 2147483647, got "9"'],
  ])('sizes %o', (change, message) => {
    expect(() => create(change)).toThrow(message);
  });

  test('more memory than there is', () => {
    const before = { ...engine.memory };
    expect(() => create({ capacity: 2 ** 30 })).toThrow(expect.objectContaining({ code: 'FOVEA_LIMIT' }));
    expect(engine.memory.tensors).toBe(before.tensors);
    expect(engine.memory.inUse).toBe(before.inUse);
  });

  test('append', async () => {
    await withCache(async (cache) => {
      const [k, v] = [floats(2, 2, 3, 12), floats(2, 2, 3, 10)];
      const refused = (run: () => void, code: string, message: string) => {
        expect(run).toThrow(expect.objectContaining({ code, message: expect.stringContaining(message) }));
        expect(cache.length).toBe(0);
      };
      refused(() => cache.append(v, k), 'FOVEA_SHAPE', 'k has shape [2, 2, 3, 10], expected [2, 2, n, 12]');
      refused(() => cache.append(k, k), 'FOVEA_SHAPE', 'v has shape [2, 2, 3, 12], expected [2, 2, n, 10]');
      refused(() => cache.append(k, slice(v, 0, 2)), 'FOVEA_SHAPE', "v has 2 rows, expected k's 3");
      refused(() => cache.append(floats(2, 3, 12), v), 'FOVEA_SHAPE', 'expected [2, 2, n, 12]');
      refused(() => cache.append(k, v, { layout: 'blhd' }), 'FOVEA_SHAPE', 'expected [2, n, 2, 12]');
      refused(
        () => cache.append({ data: new Int32Array(144), shape: [2, 2, 3, 12] }, v),
        'FOVEA_DTYPE',
        'k: expected float32, float16 or float64, got int32',
      );
      refused(
        () => cache.append(floats(2, 2, 301, 12), floats(2, 2, 301, 10)),
        'FOVEA_LIMIT',
        '0 of 300 positions are taken, no room for 301 more',
      );
      refused(() => cache.append(k, v, { layout: 'lbhd' as 'blhd' }), 'FOVEA_OPTION', "'bhld' or 'blhd'");
      const ids = engine.tensor(new Int32Array(144), [2, 2, 3, 12]);
      refused(() => cache.append(ids, v), 'FOVEA_DTYPE', 'k is int32, expected float32');
      ids.dispose();
      const other = await createEngine({ threads: 1 });
      refused(
        () => cache.append(other.tensor(k.data, k.shape), v),
        'FOVEA_ENGINE',
        'k belongs to another engine',
      );
      await other.dispose();
      cache.append(k, v);
      expect(cache.length).toBe(3);
    });
  });

  test('attend', async () => {
    await withCache(async (cache) => {
      cache.append(floats(2, 2, 3, 12), floats(2, 2, 3, 10));
      const refused = async (q: TensorLike, options: object, code: string, message: string) => {
        await expect(cache.attend(q, options)).rejects.toThrow(
          expect.objectContaining({ code, message: expect.stringContaining(message) }),
        );
      };
      await refused(floats(3, 2, 1, 12), {}, 'FOVEA_SHAPE', "has 3 batch entries, expected the cache's 2");
      await refused(floats(2, 1, 12), {}, 'FOVEA_SHAPE', "has 1 batch entries, expected the cache's 2");
      await refused(floats(2, 2, 1, 10), {}, 'FOVEA_SHAPE', "k has width 12, expected q's 10");
      await refused(floats(2, 3, 1, 12), {}, 'FOVEA_SHAPE', "q has 3 heads, not a multiple of k's 2");
      await refused(
        floats(2, 2, 1, 12),
        { cuSeqlens: {} },
        'FOVEA_OPTION',
        'cuSeqlens does not go with a cache',
      );
      await refused(floats(2, 2, 1, 12), { engine }, 'FOVEA_OPTION', 'engine does not go with a cache');
      await refused(
        floats(2, 2, 1, 12),
        { keyLengths: Int32Array.of(4, 1) },
        'FOVEA_OPTION',
        'expected 0 to Lk = 3',
      );
      await refused(floats(2, 2, 1, 12), { offset: 1 }, 'FOVEA_OPTION', 'unknown option "offset"');
      const q: Tensor = engine.tensor(new Float32Array(24), [3, 1, 1, 8]);
      expect(() => cache.attend(q)).toThrow('key/value cache');
      q.dispose();
    });
  });

  test('after dispose() every call is an EngineError', async () => {
    const cache = create({});
    cache.dispose();
    const [k, v] = [floats(2, 2, 1, 12), floats(2, 2, 1, 10)];
    const gone = 'key/value cache: used after it was disposed';
    expect(() => cache.append(k, v)).toThrow(gone);
    expect(() => cache.reorder([0, 1])).toThrow(gone);
    await expect(cache.attend(k)).rejects.toThrow(
      expect.objectContaining({ code: 'FOVEA_ENGINE', message: gone }),
    );
    const q = engine.tensor(k.data, k.shape);
    expect(() => cache.attend(q)).toThrow(gone);
    q.dispose();
  });
});
