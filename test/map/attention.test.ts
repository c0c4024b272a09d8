// The host door: what attention(), attentionBackward(), mergeAttention() and the map promise beside their numbers.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, describe, expect, test, vi } from 'vitest';
import type { CpuEngine } from '../../dist/engine/cpu-engine.js';
import * as fovea from '../../dist/index.js';
import { budget } from '../../dist/map/parts.js';
import { fromFloats, type HostTensor, toFloat64 } from '../../dist/tensor/host.js';
import { randomBool, randomTensor, seeded } from '../attention/calls.js';
import { maxError } from '../attention/conformance.js';

const { attention, attentionBackward, mergeAttention } = fovea;
const engine = await fovea.createEngine({ threads: 2 });
afterAll(() => engine.dispose());

const random = seeded(12);
const q = randomTensor(random, [2, 4, 5, 8]);
const k = randomTensor(random, [2, 2, 7, 8]);
const v = randomTensor(random, [2, 2, 7, 3]);

function as(dtype: 'float16' | 'float64', x: HostTensor): HostTensor {
  return { dtype, shape: x.shape, data: fromFloats(dtype, toFloat64(x) as Float64Array) };
}

/** Keys [from, to) of [B,H,L,D]. */
function cut(x: HostTensor, from: number, to: number): HostTensor {
  const [B, H, L, D] = x.shape;
  const data = new Float32Array(B * H * (to - from) * D);
  for (let p = 0; p < B * H; p++) {
    data.set((x.data as Float32Array).subarray((p * L + from) * D, (p * L + to) * D), p * (to - from) * D);
  }
  return { dtype: 'float32', shape: [B, H, to - from, D], data };
}

describe('attention', () => {
  test('tells its backend, and uses the shared engine where none is named', async () => {
    const { backend, output } = await attention(q, k, v);
    expect(backend).toBe((await fovea.defaultEngine()).backend);
    expect(output.shape).toEqual([2, 4, 5, 3]);
  });

  test('output has q’s float dtype, gradients their operand’s; logSumExp is float32', async () => {
    for (const dtype of ['float16', 'float64'] as const) {
      const own = as(dtype, q);
      const { output, logSumExp, map } = await attention(own, k, as('float64', v), { engine });
      expect([output.dtype, logSumExp.dtype]).toEqual([dtype, 'float32']);
      const plain = await attention(q, k, v, { engine });
      expect(maxError(toFloat64(output), toFloat64(plain.output))).toBeLessThan(
        dtype === 'float16' ? 1e-3 : 1e-6,
      );
      const inputs = {
        q: own,
        k,
        v: as('float64', v),
        options: { engine },
        output,
        logSumExp,
        dOutput: output,
      };
      const { dq, dk, dv } = await attentionBackward(inputs);
      expect([dq.dtype, dk.dtype, dv.dtype]).toEqual([dtype, 'float32', 'float64']);
      map.dispose();
    }
  });

  test('a Float16Array begets Float16Arrays', async () => {
    // Where the runtime has none there is nothing to beget; bits are covered above.
    type Half = new (numbers: ArrayLike<number>) => Uint16Array;
    const Half = (globalThis as unknown as { Float16Array?: Half }).Float16Array ?? Float32Array;
    const [x, y] = [q, k].map((t) => ({ data: new Half(t.data as Float32Array), shape: t.shape }));
    const { output, logSumExp } = await attention(x, y, y, { engine });
    expect(output.data).toBeInstanceOf(Half);
    const plain = await attention(q, k, k, { engine });
    expect(maxError(output.data, plain.output.data as Float32Array)).toBeLessThan(3e-3);
    const own = { q: x, k: y, v: y, options: { engine }, output, logSumExp, dOutput: output };
    const gradients = await attentionBackward(own);
    expect([gradients.dq.data, gradients.dv.data].every((data) => data instanceof Half)).toBe(true);
    expect((await mergeAttention([{ output, logSumExp }])).output.data).toEqual(output.data);
  });

  test('every refusal is a rejection of the same type as validation gives', async () => {
    await expect(attention(q, k, v, { causal: true })).rejects.toThrow(fovea.OptionError);
    await expect(attention(q, k, k, { scale: Number.NaN })).rejects.toThrow(
      'attention: scale is a finite number',
    );
    await expect(attention(k, q, q)).rejects.toThrow(fovea.ShapeError);
    await expect(attention(q, k, v, { engine: {} as never })).rejects.toThrow(
      'engine is what createEngine makes',
    );
    await expect(attention(q, k, v, { allowReference: 1 as never })).rejects.toThrow(fovea.OptionError);
  });

  test('what no kernel serves is refused, or computed by the reference where that is allowed', async () => {
    const options = { causal: { offset: 2 ** 30 }, window: [2 ** 31 - 1, -1] as const, engine };
    await expect(attention(q, k, v, options)).rejects.toThrow(fovea.UnsupportedError);
    const slow = await attention(q, k, v, { ...options, allowReference: true });
    const plain = await attention(q, k, v, { engine, allowReference: true });
    expect([slow.backend, plain.backend]).toEqual(['reference', engine.backend]);
    expect(maxError(slow.output.data as Float32Array, plain.output.data as Float32Array)).toBeLessThan(1e-6);
    const [a, b] = [await slow.map.toTensor(), await plain.map.toTensor()];
    expect(maxError(a.data, b.data)).toBeLessThan(1e-6);
    plain.map.dispose();
    const given = { q, k, v, output: plain.output, logSumExp: plain.logSumExp, dOutput: plain.output };
    await expect(attentionBackward({ ...given, options })).rejects.toThrow(fovea.UnsupportedError);
    const back = await attentionBackward({ ...given, options: { ...options, allowReference: true } });
    const fast = await attentionBackward({ ...given, options: { engine } });
    expect(back.backend).toBe('reference');
    expect(maxError(back.dq.data as Float32Array, fast.dq.data as Float32Array)).toBeLessThan(2e-6);
  });

  test('zero sizes: zeros, −∞ or the sink, and gradients of zero', async () => {
    const zeros = (...shape: number[]) => ({
      data: new Float32Array(shape.reduce((a, n) => a * n, 1)).fill(1),
      shape,
    });
    for (const [B, H, Lq, Lk] of [
      [0, 2, 3, 4],
      [2, 0, 3, 4],
      [2, 2, 0, 4],
      [2, 2, 3, 0],
    ]) {
      const sinks = { data: new Float32Array(H).fill(0.5), shape: [H] };
      const bias = zeros(1, 1, 1, Lk);
      const [x, y] = [zeros(B, H, Lq, 2), zeros(1, H, Lk, 2)];
      const options = { sinks, bias, engine };
      const { output, logSumExp } = await attention(x, y, y, options);
      expect(output.data).toEqual(new Float32Array(B * H * Lq * 2));
      expect(logSumExp.data).toEqual(new Float32Array(B * H * Lq).fill(0.5));
      const dLogSumExp = zeros(B, H, Lq);
      const inputs = { q: x, k: y, v: y, options, output, logSumExp, dOutput: output, dLogSumExp };
      const gradients = await attentionBackward(inputs);
      expect(gradients.dk.data).toEqual(new Float32Array(H * Lk * 2));
      expect(gradients.dv.data).toEqual(new Float32Array(H * Lk * 2));
      expect(gradients.dq.data).toEqual(new Float32Array(B * H * Lq * 2));
      expect(gradients.dBias!.data).toEqual(new Float32Array(Lk));
      expect(gradients.dSinks!.data).toEqual(new Float32Array(H).fill(B * Lq));
    }
  });

  test('NaN and ∞ in forbidden cells change no bit, forward or backward', async () => {
    const mask = randomBool(random, [2, 1, 1, 7], 0.6);
    const [dirtyK, dirtyV] = [k, v].map((x) => {
      const data = (x.data as Float32Array).slice();
      const poison = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      data.forEach((_, n) => {
        const [j, b] = [Math.floor(n / x.shape[3]) % 7, Math.floor(n / (x.shape[3] * 14))];
        if (!mask.data[b * 7 + j]) data[n] = poison[n % 3];
      });
      return { data, shape: x.shape };
    });
    const options = { mask, engine };
    const clean = await attention(q, k, v, options);
    const dirty = await attention(q, dirtyK, dirtyV, options);
    expect(dirty.output.data).toEqual(clean.output.data);
    expect(dirty.logSumExp.data).toEqual(clean.logSumExp.data);
    const dOutput = clean.output;
    const [a, b] = await Promise.all(
      [[k, v, clean] as const, [dirtyK, dirtyV, dirty] as const].map(
        ([keys, values, { output, logSumExp }]) =>
          attentionBackward({ q, k: keys, v: values, options, output, logSumExp, dOutput }),
      ),
    );
    expect([b.dq.data, b.dk.data, b.dv.data]).toEqual([a.dq.data, a.dk.data, a.dv.data]);
  });

  test('a row whose bias is nothing but the lowest finite number has even weights, in float32 and float64', async () => {
    for (const lowest of [
      new Float32Array(7).fill(-3.4028234663852886e38),
      new Float64Array(7).fill(-Number.MAX_VALUE),
    ]) {
      const bias = { data: lowest, shape: [7] };
      const { output, map } = await attention(q, k, v, { bias, scale: 0, engine });
      const plain = await attention(q, k, v, { scale: 0, engine });
      expect(maxError(output.data as Float32Array, plain.output.data as Float32Array)).toBeLessThan(1e-6);
      expect(maxError(await map.row({ batch: 1, head: 0, query: 2 }), new Array(7).fill(1 / 7))).toBeLessThan(
        1e-6,
      );
      map.dispose();
    }
  });

  test.each([
    ['near 0 leaves even weights', 1e-300, { scale: 0 }],
    ['beyond float32 leaves scores as they are', 1e300, {}],
  ])('a softcap %s, error ≤ 1e-6', async (_, softcap, plain) => {
    const [a, b] = [
      await attention(q, k, v, { softcap, engine }),
      await attention(q, k, v, { ...plain, engine }),
    ];
    expect(maxError(a.output.data as Float32Array, b.output.data as Float32Array)).toBeLessThan(1e-6);
    const place = { batch: 1, head: 3, query: 4 };
    expect(maxError(await a.map.row(place), await b.map.row(place))).toBeLessThan(1e-6);
    for (const { map } of [a, b]) map.dispose();
  });

  test.each([2 ** 127, 1e300])(
    'a softcap of %d tells scores near the end of float32 apart',
    async (softcap) => {
      const one = { data: Float32Array.of(1), shape: [1, 1] };
      const two = { data: Float32Array.of(2 ** 125, 2 ** 126), shape: [2, 1] };
      const { output, logSumExp, map } = await attention(one, two, two, { scale: 1, softcap, engine });
      const exact = softcap * Math.tanh(2 ** 126 / softcap);
      expect(output.data[0]).toBe(2 ** 126);
      expect(Math.abs(logSumExp.data[0] / exact - 1)).toBeLessThan(1e-6);
      expect(await map.row({ query: 0 })).toEqual(Float32Array.of(0, 1));
      map.dispose();
    },
  );

  test('seeds of 64 bits draw as the reference does', async () => {
    const far = { causal: { offset: 2 ** 30 }, window: [2 ** 31 - 1, -1] as const, allowReference: true };
    for (const seed of [3, 2 ** 45 + 1, 0xffffffffffffffffn]) {
      const dropout = { rate: 0.5, seed, keyOffset: 3 };
      const [a, b] = [
        await attention(q, k, v, { dropout, engine }),
        await attention(q, k, v, { ...far, dropout }),
      ];
      expect(b.backend).toBe('reference');
      expect(maxError(a.output.data as Float32Array, b.output.data as Float32Array)).toBeLessThan(1e-6);
    }
  });
});

describe('attentionBackward', () => {
  test('refuses results and gradients that do not fit', async () => {
    const { output, logSumExp } = await attention(q, k, v, { engine });
    const good = { q, k, v, options: { engine }, output, logSumExp, dOutput: output };
    await expect(attentionBackward({ ...good, dOutput: k })).rejects.toThrow(
      'attentionBackward: dOutput has shape [2, 2, 7, 8], expected [2, 4, 5, 3]',
    );
    await expect(attentionBackward({ ...good, logSumExp: output })).rejects.toThrow(fovea.ShapeError);
    await expect(attentionBackward({ ...good, dLogSumExp: output })).rejects.toThrow('dLogSumExp has shape');
    const bool = { data: new Uint8Array(120), shape: [2, 4, 5, 3], dtype: 'bool' };
    await expect(attentionBackward({ ...good, dOutput: bool })).rejects.toThrow(fovea.DTypeError);
    await expect(attentionBackward({ ...good, output: undefined as never })).rejects.toThrow(
      'output: expected a tensor',
    );
    await expect(attentionBackward(null as never)).rejects.toThrow(fovea.OptionError);
  });

  test('a copied logSumExp gives the same bits', async () => {
    const { output, logSumExp } = await attention(q, k, v, { engine, causal: 'lower-right' });
    const own = { q, k, v, options: { engine, causal: 'lower-right' as const }, output, dOutput: output };
    const copied = { data: logSumExp.data.slice(), shape: logSumExp.shape };
    const [a, b] = [
      await attentionBackward({ ...own, logSumExp }),
      await attentionBackward({ ...own, logSumExp: copied }),
    ];
    expect([b.dq.data, b.dk.data, b.dv.data]).toEqual([a.dq.data, a.dk.data, a.dv.data]);
  });

  test('parts against the merged result give the whole’s gradients, error ≤ 2e-6', async () => {
    const whole = await attention(q, k, v, { engine });
    const dOutput = randomTensor(random, [2, 4, 5, 3]);
    const expected = await attentionBackward({ q, k, v, options: { engine }, ...whole, dOutput });
    const ends = [
      [0, 3],
      [3, 7],
    ] as const;
    const parts = await Promise.all(
      ends.map(([a, b]) => attention(q, cut(k, a, b), cut(v, a, b), { engine })),
    );
    const merged = await mergeAttention(parts);
    for (const logSumExp of [
      merged.logSumExp,
      { ...merged.logSumExp, data: merged.logSumExp.data.slice() },
    ]) {
      const dq = new Float64Array(q.data.length);
      for (const [a, b] of ends) {
        const inputs = {
          q,
          k: cut(k, a, b),
          v: cut(v, a, b),
          options: { engine },
          output: merged.output,
          logSumExp,
          dOutput,
        };
        const part = await attentionBackward(inputs);
        dq.forEach((_, n) => {
          dq[n] += (part.dq.data as Float32Array)[n];
        });
        expect(
          maxError(part.dk.data as Float32Array, cut(expected.dk, a, b).data as Float32Array),
        ).toBeLessThan(2e-6);
        expect(
          maxError(part.dv.data as Float32Array, cut(expected.dv, a, b).data as Float32Array),
        ).toBeLessThan(2e-6);
      }
      expect(maxError(dq, expected.dq.data as Float32Array)).toBeLessThan(2e-6);
    }
  });
});

describe('mergeAttention', () => {
  test.each(['bhld', 'blhd'] as const)(
    'parts in layout %s, with sinks, equal the whole; error ≤ 1e-6',
    async (layout) => {
      const sinks = randomTensor(random, [4]);
      const swap = (x: HostTensor) => {
        if (layout === 'bhld') return x;
        const [B, H, L, D] = x.shape;
        const data = Float32Array.from(x.data as Float32Array, (_, n) => {
          const [d, h, l, b] = [
            n % D,
            Math.floor(n / D) % H,
            Math.floor(n / D / H) % L,
            Math.floor(n / D / H / L),
          ];
          return (x.data as Float32Array)[((b * H + h) * L + l) * D + d];
        });
        return { data, shape: [B, L, H, D] };
      };
      const dropout = { rate: 0.3, seed: 5 };
      const whole = await attention(swap(q), swap(k), swap(v), { layout, sinks, dropout, engine });
      const parts = await Promise.all(
        [
          [0, 0],
          [0, 2],
          [2, 7],
        ].map(([a, b]) => {
          const own = { layout, dropout: { ...dropout, keyOffset: a }, engine };
          return attention(swap(q), swap(cut(k, a, b)), swap(cut(v, a, b)), own);
        }),
      );
      const merged = await mergeAttention(parts, { sinks });
      expect(merged.output.shape).toEqual(whole.output.shape);
      expect(maxError(merged.output.data as Float32Array, whole.output.data as Float32Array)).toBeLessThan(
        1e-6,
      );
      expect(maxError(merged.logSumExp.data, whole.logSumExp.data)).toBeLessThan(1e-6);
      const twice = await mergeAttention([await mergeAttention(parts.slice(0, 2)), parts[2]], { sinks });
      expect(maxError(twice.output.data as Float32Array, merged.output.data as Float32Array)).toBeLessThan(
        1e-6,
      );
    },
  );

  test('large scores lose nothing; error ≤ 1e-7, where float32 logSumExp alone has 1e-5', async () => {
    const column = (...numbers: number[]) => ({
      data: Float32Array.from(numbers),
      shape: [numbers.length, 1],
    });
    const x = column(1024);
    const parts = [
      await attention(x, column(1, 1), column(1, 1), { scale: 1, engine }),
      await attention(x, column(1), column(0), { scale: 1, engine }),
    ];
    const merged = await mergeAttention(parts);
    expect(maxError(merged.output.data as Float32Array, [2 / 3])).toBeLessThan(1e-7);
    const bare = parts.map(({ output, logSumExp }) => ({
      output,
      logSumExp: { data: logSumExp.data.slice(), shape: logSumExp.shape },
    }));
    const rough = await mergeAttention(bare);
    expect(maxError(rough.output.data as Float32Array, [2 / 3])).toBeGreaterThan(1e-6);
    expect(maxError(rough.output.data as Float32Array, [2 / 3])).toBeLessThan(1e-4);
  });

  test('refusals', async () => {
    const part = await attention(q, k, v, { engine });
    const other = await attention(cut(q, 0, 3), k, v, { engine });
    await expect(mergeAttention([])).rejects.toThrow('expected at least one part, got none');
    await expect(mergeAttention(part as never)).rejects.toThrow(fovea.OptionError);
    await expect(mergeAttention([part, other])).rejects.toThrow(
      "output of part 1 has shape [2, 4, 3, 3], expected part 0's [2, 4, 5, 3]",
    );
    await expect(mergeAttention([part, {} as never])).rejects.toThrow(fovea.DTypeError);
    const half = { ...part, output: as('float64', part.output) };
    await expect(mergeAttention([part, half])).rejects.toThrow(
      "output of part 1 is float64, expected part 0's float32",
    );
    const sinks = { data: new Float32Array(5), shape: [5] };
    await expect(mergeAttention([part], { sinks })).rejects.toThrow('sinks is [H] = [4], got [5]');
    await expect(mergeAttention([part], { layout: 'x' as never })).rejects.toThrow(fovea.OptionError);
    const misspelt = { sink: { data: new Float32Array(4), shape: [4] } } as never;
    await expect(mergeAttention([part], misspelt)).rejects.toThrow(
      'mergeAttention: unknown option "sink", expected one of sinks, layout',
    );
    await expect(mergeAttention([part], null as never)).rejects.toThrow(fovea.OptionError);
    const flat = { output: part.output, logSumExp: { data: new Float32Array(40), shape: [40] } };
    await expect(mergeAttention([flat])).rejects.toThrow('logSumExp has shape [40], expected [2, 4, 5]');
  });
});

describe('map', () => {
  test('row, tile, topKeys and toTensor agree, bit for bit', async () => {
    const { map } = await attention(q, k, v, { causal: 'lower-right', engine });
    const all = await map.toTensor();
    expect(all.shape).toEqual([2, 4, 5, 7]);
    const at = (b: number, h: number, i: number) => ((b * 4 + h) * 5 + i) * 7;
    const row = await map.row({ batch: 1, head: 2, query: 3 });
    expect(row).toEqual(all.data.slice(at(1, 2, 3), at(1, 2, 3) + 7));
    const tile = await map.tile({ batch: 1, head: 2, queries: [3, 5], keys: [2, 6] });
    expect(tile.shape).toEqual([2, 4]);
    expect(tile.data.slice(0, 4)).toEqual(row.slice(2, 6));
    const top = await map.topKeys({ batch: 1, head: 2, query: 3, count: 3 });
    const order = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3);
    expect([...top.keys]).toEqual(order);
    expect([...top.weights]).toEqual(order.map((j) => row[j]));
    // Row 0 of lower-right sees keys 0 to 2.
    expect((await map.topKeys({ batch: 0, head: 0, query: 0, count: 9 })).keys.length).toBe(3);
    expect((await map.tile({ batch: 0, head: 0, queries: [2, 2] })).shape).toEqual([0, 7]);
    map.dispose();
  });

  test('toTensor waits for the engine twice a batch entry, whatever the number of heads, with the bits of tiles', async () => {
    const own = randomTensor(random, [1, 8, 60, 16]);
    const map = await fovea.attentionMap(own, own, { engine });
    const same = await fovea.attentionMap(own, own, { engine });
    const read = vi.spyOn(engine as CpuEngine, 'readTensor');
    const { data } = await map.toTensor();
    expect(read).toHaveBeenCalledTimes(2);
    read.mockRestore();
    for (let head = 0; head < 8; head++)
      expect((await same.tile({ head })).data).toEqual(data.slice(head * 3600, (head + 1) * 3600));
    map.dispose();
    same.dispose();
  });

  test('toTensor of one query brings in the keys of 64 MB part by part', async () => {
    const own = await fovea.createEngine({ threads: 1 });
    const before = own.memory.reserved;
    const keys = { data: new Float32Array(2 ** 24), shape: [2 ** 18, 64] };
    const map = await fovea.attentionMap({ data: new Float32Array(64), shape: [1, 64] }, keys, {
      engine: own,
    });
    const { data } = await map.toTensor();
    expect(data.every((w) => w === 2 ** -18)).toBe(true);
    expect(own.memory.reserved - before).toBeLessThan(40e6);
    await own.dispose();
  });

  test.each([
    ['toTensor', (map: fovea.AttentionMap) => map.toTensor()],
    ['tile', (map: fovea.AttentionMap) => map.tile({ head: 1 })],
    ['pool', (map: fovea.AttentionMap) => map.pool({ head: 1, rows: 2, columns: 2, reduce: 'sum' })],
  ])('disposed while %s is under way, a map leaves nothing in the engine', async (_, ask) => {
    const own = randomTensor(random, [1, 3, 20, 8]);
    const before = engine.memory.tensors;
    const map = await fovea.attentionMap(own, own, { engine });
    const asked = ask(map);
    map.dispose();
    await asked.catch((error) => expect(error).toBeInstanceOf(fovea.EngineError));
    expect(engine.memory.tensors).toBe(before);
  });

  test('batch and head may be left out where there is one; packed maps index within sequences', async () => {
    const one = await attention(
      cut({ ...q, shape: [1, 1, 40, 8] }, 0, 5),
      cut({ ...k, shape: [1, 1, 28, 8] }, 0, 7),
      cut({ ...v, shape: [1, 1, 28, 3] }, 0, 7),
      { engine },
    );
    expect((await one.map.row({ query: 4 })).length).toBe(7);
    one.map.dispose();
    const cuSeqlens = { q: Int32Array.of(0, 2, 5), k: Int32Array.of(0, 3, 7) };
    const [pq, pk, pv] = [q, k, v].map((x) => ({
      data: (x.data as Float32Array).subarray(0, [5 * 8, 7 * 8, 7 * 3][[q, k, v].indexOf(x)]),
      shape: [x === q ? 5 : 7, 1, x.shape[3]],
    }));
    const { map } = await attention(pq, pk, pv, { cuSeqlens, engine });
    expect(map.shape).toEqual([2, 1, 3, 4]);
    const row = await map.row({ batch: 0, query: 1 });
    expect(row.length).toBe(3);
    expect(Math.abs(row.reduce((a, b) => a + b, 0) - 1)).toBeLessThan(1e-6);
    const all = await map.toTensor();
    expect([...all.data.slice(4, 8)]).toEqual([...row, 0]);
    await expect(map.row({ batch: 0, query: 2 })).rejects.toThrow(
      'query is a whole number from 0 to below 2, got 2',
    );
    map.dispose();
  });

  test('indices out of range and budgets are refused', async () => {
    const { map } = await attention(q, k, v, { engine });
    await expect(map.row({ batch: 0, head: 4, query: 0 })).rejects.toThrow(
      'head is a whole number from 0 to below 4, got 4',
    );
    await expect(map.row({ head: 0, query: 0 })).rejects.toThrow(fovea.OptionError);
    await expect(map.row({ batch: 0, head: 0, query: 0.5 })).rejects.toThrow(fovea.OptionError);
    await expect(map.tile({ batch: 0, head: 0, keys: [3, 8] })).rejects.toThrow(
      'keys is [from, to) within 0 to 7, got [3, 8]',
    );
    await expect(map.tile({ batch: 0, head: 0, queries: [3, 2] })).rejects.toThrow(fovea.OptionError);
    await expect(map.topKeys({ batch: 0, head: 0, query: 0, count: -1 })).rejects.toThrow(fovea.OptionError);
    await expect(map.toTensor({ budget: 1119 })).rejects.toThrow(fovea.LimitError);
    Object.defineProperty(map, 'shape', { value: [1, 1, 2 ** 24, 2 ** 24], configurable: true });
    await expect(map.toTensor({ budget: Number.POSITIVE_INFINITY })).rejects.toThrow(fovea.LimitError);
    Object.defineProperty(map, 'shape', { value: [2, 4, 5, 7] });
    await expect(map.toTensor({ budget: 1119 })).rejects.toThrow(
      '[2, 4, 5, 7] take 1120 bytes, over the budget of 1119',
    );
    expect((await map.toTensor({ budget: 1120 })).data.length).toBe(280);
    map.dispose();
  });

  test('keeps keys in the engine while they fit, the latest used; nothing, and no answer, once disposed', async () => {
    const before = engine.memory.tensors;
    const { map } = await attention(q, k, v, { engine });
    const other = (await attention(q, k, v, { engine })).map;
    expect(engine.memory.tensors).toBe(before);
    for (const head of [0, 1, 2]) await map.row({ batch: 0, head, query: 0 });
    expect(engine.memory.tensors).toBe(before + 2); // heads 0 and 1 share theirs
    const whole = budget.bytes;
    budget.bytes = 7 * 8 * 4 * 2; // room for four key heads
    for (const batch of [0, 1]) for (const head of [0, 2]) await other.row({ batch, head, query: 0 });
    expect(engine.memory.tensors).toBe(before + 4);
    budget.bytes = whole;
    other.dispose();
    expect(engine.memory.tensors).toBe(before);
    await map.row({ batch: 0, head: 0, query: 0 });
    expect(engine.memory.tensors).toBe(before + 1);
    map.dispose();
    expect(engine.memory.tensors).toBe(before);
    map.dispose();
    for (const call of [
      map.row({ query: 0 }),
      map.tile(),
      map.topKeys({ query: 0, count: 1 }),
      map.toTensor(),
    ]) {
      await expect(call).rejects.toThrow(fovea.EngineError);
    }
    expect(() => map.retain()).toThrow(fovea.EngineError);
    const again = (await attention(q, k, v, { engine })).map;
    again[Symbol.dispose]();
    await expect(again.row({ query: 0 })).rejects.toThrow('used after it was disposed');
  });

  test('keys kept for a map that nobody refers to keep none of the caller’s arrays alive', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const ask = async () => {
      const own = { data: new Float32Array(q.data as Float32Array), shape: q.shape };
      const { map } = await attention(own, k, v, { engine });
      await map.row({ batch: 0, head: 0, query: 0 });
      return new WeakRef(own.data);
    };
    const array = await ask();
    for (let n = 0; n < 20 && array.deref(); n++) {
      await new Promise((resolve) => setTimeout(resolve, 5));
      collect();
    }
    expect(array.deref()).toBeUndefined();
  });

  test('retain() lets the caller’s arrays change', async () => {
    const [mask, bias] = [randomBool(random, [5, 7]), randomTensor(random, [5, 7])];
    const copies = [q, k].map((x) => ({ data: (x.data as Float32Array).slice(), shape: x.shape }));
    const { map } = await attention(copies[0], copies[1], v, { mask, bias, engine });
    map.retain();
    const reference = await attention(q, k, v, { mask, bias, engine });
    const expected = await reference.map.toTensor();
    for (const x of [...copies, mask, bias]) (x.data as Float32Array).fill(0);
    expect((await map.toTensor()).data).toEqual(expected.data);
    map.dispose();
    reference.map.dispose();
  });

  test('weights precede dropout', async () => {
    const [wet, dry] = [
      await attention(q, k, v, { dropout: { rate: 0.5, seed: 1 }, engine }),
      await attention(q, k, v, { engine }),
    ];
    expect((await wet.map.toTensor()).data).toEqual((await dry.map.toTensor()).data);
    wet.map.dispose();
    dry.map.dispose();
  });

  test('large scores lose no weight; error ≤ 1e-6 of float64 on the same scores', async () => {
    const x = { data: Float32Array.of(1024), shape: [1, 1] };
    const y = { data: Float32Array.of(1, 1 - 2 ** -11), shape: [2, 1] };
    const { map } = await attention(x, y, y, { scale: 1, engine });
    const ratio = Math.exp(-0.5);
    expect(maxError(await map.row({ query: 0 }), [1 / (1 + ratio), ratio / (1 + ratio)])).toBeLessThan(1e-7);
    map.dispose();
  });
});

test('a call made in an engine’s scope outlives it', async () => {
  const before = engine.memory.tensors;
  let pending: ReturnType<typeof attention> | undefined;
  let pendingMap: Promise<Float32Array> | undefined;
  const { map } = await attention(q, k, v, { engine });
  engine.scope(() => {
    pending = attention(q, k, v, { engine });
    pendingMap = map.row({ batch: 0, head: 0, query: 0 });
    return undefined;
  });
  expect((await pending!).output.shape).toEqual([2, 4, 5, 3]);
  expect((await pendingMap!).length).toBe(7);
  expect((await map.row({ batch: 0, head: 0, query: 0 })).length).toBe(7);
  map.dispose();
  expect(engine.memory.tensors).toBe(before);
});
