import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { configure, createEngine, defaultEngine, sameEngine } from '../../dist/engine/engine.js';
import type { Engine, Tensor } from '../../dist/engine/types.js';
import {
  DTypeError,
  EngineError,
  LimitError,
  OptionError,
  ShapeError,
  UnsupportedError,
} from '../../dist/tensor/errors.js';

let engine: Engine;
beforeAll(async () => {
  engine = await createEngine({ threads: 2 });
});
afterAll(() => engine.dispose());

const floats = (...numbers: number[]) => new Float32Array(numbers);

describe('making an engine', () => {
  test('takes less than 100 ms once the kernels are compiled (best of five)', async () => {
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5; i++) {
      const start = performance.now();
      const fresh = await createEngine();
      best = Math.min(best, performance.now() - start);
      expect(fresh.backend).toBe(`wasm-${fresh.build}`);
      await fresh.dispose();
    }
    expect(best).toBeLessThan(100);
  });

  test.each([0, -1, 1.5, Number.NaN, 1000])('refuses %d threads', async (threads) => {
    await expect(createEngine({ threads })).rejects.toThrow(OptionError);
  });

  test('refuses an unknown SIMD build', async () => {
    await expect(createEngine({ simd: 'avx' as 'auto' })).rejects.toThrow(OptionError);
    await expect(createEngine(null as never)).rejects.toThrow(OptionError);
    await expect(createEngine({ thread: 1 } as never)).rejects.toThrow(
      'createEngine: unknown option "thread", expected one of threads, simd',
    );
  });

  test('serves relaxed SIMD where the machine has it, and refuses it elsewhere', async () => {
    const auto = await createEngine({ threads: 1 });
    const relaxed = createEngine({ threads: 1, simd: 'relaxed' });
    if (auto.build === 'relaxed') await (await relaxed).dispose();
    else await expect(relaxed).rejects.toThrow(UnsupportedError);
    const strict = await createEngine({ threads: 1, simd: 'strict' });
    expect(strict.backend).toBe('wasm-strict');
    await Promise.all([auto.dispose(), strict.dispose()]);
  });

  test('the default engine is one, until it is disposed', async () => {
    const [a, b] = await Promise.all([defaultEngine(), defaultEngine()]);
    expect(a).toBe(b);
    await a.dispose();
    const [c, d] = await Promise.all([defaultEngine(), defaultEngine()]);
    expect(c).not.toBe(a);
    expect(c).toBe(d);
    await c.dispose();
  });

  test('a default engine that broke is replaced', async () => {
    const broken = await defaultEngine();
    const { executor } = broken as unknown as { executor: { failure?: EngineError } };
    executor.failure = new EngineError('a worker was lost');
    const next = await defaultEngine();
    expect(next).not.toBe(broken);
    expect(await next.tensor(floats(1), [1]).read()).toEqual(floats(1));
    await Promise.all([broken.dispose(), next.dispose()]);
  });

  test('configure refuses names it does not know; a relative address needs a page', async () => {
    expect(() => configure({ wasmURL: 'a' } as object)).toThrow(
      new OptionError('configure: unknown option "wasmURL", expected one of wasmUrl, workerUrl'),
    );
    expect(() => configure(null as never)).toThrow(OptionError);
    configure({ wasmUrl: './kernels.wasm' });
    await expect(createEngine()).rejects.toThrow(OptionError);
    configure({ wasmUrl: undefined });
    await (await createEngine({ threads: 1 })).dispose();
  });
});

describe('tensors', () => {
  test.each([
    [floats(1, -2, 3.5), 'float32'],
    [Int32Array.of(1, -2, 3), 'int32'],
    [Uint8Array.of(0, 1, 1), 'bool'],
  ])('%o comes back as it went in', async (data, dtype) => {
    const tensor = engine.tensor(data, [3]);
    expect(tensor).toMatchObject({ dtype, size: 3, shape: [3], disposed: false });
    expect(await tensor.read()).toEqual(data);
    const other = data.map((x) => x * 2) as typeof data;
    tensor.write(other);
    expect(await tensor.read()).toEqual(other);
    tensor.dispose();
  });

  test('data are copied at the call', async () => {
    const data = floats(1, 2);
    const tensor = engine.tensor(data, [2]);
    const read = tensor.read();
    data[0] = 9;
    tensor.write(floats(5, 6));
    tensor.dispose();
    expect(await read).toEqual(floats(1, 2));
  });

  test('a subarray of a larger buffer is copied alone', async () => {
    const tensor = engine.tensor(floats(1, 2, 3, 4).subarray(1, 3), [2]);
    expect(await tensor.read()).toEqual(floats(2, 3));
    tensor.dispose();
  });

  test('zeros are zeros, also where other numbers were', async () => {
    engine.tensor(new Float32Array(1000).fill(7), [1000]).dispose();
    const zeros = engine.zeros([10, 100]);
    expect(await zeros.read()).toEqual(new Float32Array(1000));
    zeros.dispose();
  });

  test.each([[[0]], [[3, 0, 2]]])('shape %j holds nothing and is legal', async (shape) => {
    const tensor = engine.zeros(shape, 'int32');
    expect(await tensor.read()).toEqual(new Int32Array(0));
    tensor.write(new Int32Array(0));
    tensor.dispose();
  });

  test('rank 0 holds one number', async () => {
    const tensor = engine.tensor(floats(4), []);
    expect(await tensor.read()).toEqual(floats(4));
    expect(() => tensor.rows(0, 1)).toThrow(ShapeError);
    tensor.dispose();
  });

  test('views share the storage, which lives as long as the last of them', async () => {
    const before = engine.memory;
    const whole = engine.tensor(floats(1, 2, 3, 4, 5, 6), [3, 2]);
    const rows = whole.rows(1, 3);
    const flat = rows.reshape([4]);
    expect(engine.memory).toEqual({
      inUse: before.inUse + 24,
      reserved: engine.memory.reserved,
      tensors: before.tensors + 3,
    });
    whole.dispose();
    rows.write(floats(7, 8, 9, 10));
    rows.dispose();
    expect(engine.memory.inUse).toBe(before.inUse + 24);
    expect(await flat.read()).toEqual(floats(7, 8, 9, 10));
    flat.dispose();
    expect(engine.memory).toMatchObject({ inUse: before.inUse, tensors: before.tensors });
  });

  test('bad shapes and data are refused and leave no trace', () => {
    const before = engine.memory;
    expect(() => engine.tensor(floats(1, 2), [3])).toThrow(ShapeError);
    expect(() => engine.empty([-1])).toThrow(ShapeError);
    expect(() => engine.empty([1.5])).toThrow(ShapeError);
    expect(() => engine.empty([Number.NaN])).toThrow(ShapeError);
    expect(() => engine.tensor(new Float64Array(2) as unknown as Float32Array, [2])).toThrow(DTypeError);
    expect(() => engine.tensor([1, 2] as unknown as Float32Array, [2])).toThrow(DTypeError);
    const tensor = engine.empty([2, 3]);
    expect(() => tensor.reshape([5])).toThrow(ShapeError);
    expect(() => tensor.rows(1, 3)).toThrow(ShapeError);
    expect(() => tensor.rows(1, 0)).toThrow(ShapeError);
    expect(() => tensor.write(floats(1))).toThrow(ShapeError);
    expect(() => tensor.write(new Int32Array(6))).toThrow(DTypeError);
    tensor.dispose();
    expect(engine.memory).toEqual(before);
  });

  test('a disposed tensor is refused everywhere, and disposing twice is nothing', async () => {
    const tensor = engine.empty([2]);
    tensor.dispose();
    tensor.dispose();
    expect(tensor.disposed).toBe(true);
    expect(() => tensor.pointer).toThrow(EngineError);
    expect(() => tensor.reshape([1, 2])).toThrow(EngineError);
    expect(() => tensor.rows(0, 1)).toThrow(EngineError);
    expect(() => tensor.write(floats(1, 2))).toThrow(EngineError);
    expect(() => engine.keep(tensor)).toThrow(EngineError);
    await expect(tensor.read()).rejects.toThrow(EngineError);
  });

  test('tensors of two engines do not mix', async () => {
    const other = await createEngine({ threads: 1 });
    const [a, b] = [engine.empty([1]), other.empty([1])];
    expect(sameEngine(a, undefined, a)).toBe(engine);
    expect(() => sameEngine(a, b)).toThrow(EngineError);
    expect(() => engine.keep(b)).toThrow(EngineError);
    a.dispose();
    await other.dispose();
  });
});

describe('memory', () => {
  test('a request beyond the machine is refused, names the bytes, and the engine goes on', async () => {
    const held = engine.tensor(floats(1, 2), [2]);
    const before = engine.memory;
    expect(() => engine.empty([2 ** 31])).toThrow(LimitError);
    expect(() => engine.empty([2 ** 31])).toThrow(`${2 ** 33} bytes wanted, ${before.inUse} in use`);
    expect(engine.memory).toEqual(before);
    expect(await held.read()).toEqual(floats(1, 2));
    held.dispose();
  });

  test('numbers beyond 2 GB are read and written', async () => {
    const large = await createEngine({ threads: 1 });
    const low = large.empty([550_000_000]);
    const high = large.tensor(floats(3, 4), [2]);
    expect(high.pointer).toBeGreaterThan(2 ** 31);
    expect(await high.read()).toEqual(floats(3, 4));
    low.dispose();
    await large.dispose();
  });

  test.each([0, 1, 4095, 4096, 4097, 70_001])(
    '%d bytes, and four times as many, come back bit for bit in arrays of their own, and nothing beside them changes',
    async (size) => {
      const bits = Uint32Array.from({ length: size }, (_, i) => Math.imul(i + 1, 0x9e3779b1));
      for (const data of [
        new Uint8Array(bits.buffer).slice(0, size),
        new Int32Array(bits.buffer),
        new Float32Array(bits.buffer),
      ]) {
        const dtype = { 1: 'bool', 4: data instanceof Int32Array ? 'int32' : 'float32' } as const;
        const whole = engine.zeros([size + 2], dtype[data.BYTES_PER_ELEMENT as 1 | 4]);
        whole.write(data, 1);
        const inner = whole.rows(1, size + 1);
        const [all, own] = [await whole.read(), await inner.read()];
        const into = data.slice().fill(0);
        await inner.readInto(into);
        const raw = (x: { buffer: ArrayBufferLike; byteOffset: number; byteLength: number }) =>
          Buffer.from(x.buffer, x.byteOffset, x.byteLength);
        for (const got of [own, into, all.subarray(1, size + 1)])
          expect(raw(got).equals(raw(data))).toBe(true);
        expect([all[0], all[size + 1]]).toEqual([0, 0]);
        expect(own.buffer.byteLength).toBe(data.byteLength);
        inner.dispose();
        whole.dispose();
      }
    },
  );

  test('repeating the same work reserves no more memory', () => {
    const step = () => engine.scope(() => void [1e6, 10, 3e5, 1e6, 77].map((n) => engine.empty([n])));
    step();
    const { reserved } = engine.memory;
    for (let i = 0; i < 500; i++) step();
    expect(engine.memory.reserved).toBe(reserved);
  });
});

describe('running a kernel', () => {
  const run = (args: Record<string, number>, parts = 1) =>
    engine.run('fill', args as { x: number; count: number; bits: number }, parts);

  test('what is done meanwhile is done where there are no parts, too', () => {
    const x = engine.empty([1]);
    let calls = 0;
    engine.run('fill', { x: x.pointer, count: 1, bits: 0 }, 0, () => calls++);
    expect(calls).toBe(1);
    x.dispose();
  });

  test.each([-1, 1.5, Number.NaN])('%d parts are refused', (parts) => {
    expect(() => run({ x: 0, count: 0, bits: 0 }, parts)).toThrow(EngineError);
  });

  test('a lacking argument or NaN for an address is refused by name', () => {
    expect(() => run({ x: 0, count: 0 })).toThrow(/'bits'/);
    expect(() => run({ x: Number.NaN, count: 0, bits: 0 })).toThrow(/'x'/);
    expect(() => engine.run('nothing' as 'fill', { x: 0, count: 0, bits: 0 })).toThrow(EngineError);
  });
});

describe('scopes', () => {
  test('what hold() makes lives until it is freed, whatever ends around it', () => {
    const before = engine.memory.tensors;
    const held: { free(): void; tensor: Tensor; inner: Tensor }[] = [];
    engine.scope(() => {
      const [made, free] = engine.hold(() => {
        const inner = engine.scope(() => engine.empty([3]));
        return { tensor: engine.empty([4]), inner };
      });
      held.push({ ...made, free });
      engine.empty([5]);
    });
    expect(engine.memory.tensors).toBe(before + 2);
    const outside = engine.empty([1]);
    held[0]!.free();
    expect([held[0]!.tensor.disposed, held[0]!.inner.disposed, outside.disposed]).toEqual([
      true,
      true,
      false,
    ]);
    held[0]!.free();
    outside.dispose();
    expect(engine.memory.tensors).toBe(before);
  });

  test('hold() frees what it made where fn throws, and the scope around it goes on', () => {
    const before = engine.memory.tensors;
    engine.scope(() => {
      const fail = () =>
        engine.hold(() => {
          engine.empty([1]);
          throw new Error('oops');
        });
      expect(fail).toThrow('oops');
      expect(engine.memory.tensors).toBe(before);
      engine.empty([2]);
    });
    expect(engine.memory.tensors).toBe(before);
  });

  test('free all but the returned, through arrays and plain objects of any depth', () => {
    const before = engine.memory;
    const result = engine.scope(() => {
      engine.empty([100]);
      const [a, b, c] = [engine.empty([1]), engine.empty([2]), engine.empty([3])];
      const deep: Record<string, unknown> = { list: [a, { b }], number: 1, nothing: null };
      deep.self = deep;
      return { a, b, c: new Map([['hidden', c]]), deep };
    });
    expect(result.a.disposed || result.b.disposed).toBe(false);
    expect(result.c.get('hidden')!.disposed).toBe(true);
    expect(engine.memory).toMatchObject({ inUse: before.inUse + 12, tensors: before.tensors + 2 });
    result.a.dispose();
    result.b.dispose();
    expect(engine.memory).toMatchObject({ inUse: before.inUse, tensors: before.tensors });
  });

  test('nest: what an inner scope returns belongs to the outer', () => {
    const before = engine.memory.tensors;
    let inner: Tensor | undefined;
    let kept: Tensor | undefined;
    const view = engine.scope(() => {
      inner = engine.scope(() => {
        kept = engine.keep(engine.empty([5]));
        return engine.empty([4, 2]);
      });
      expect(inner.disposed).toBe(false);
      return inner.rows(1, 2);
    });
    expect(inner!.disposed).toBe(true);
    expect(view.disposed).toBe(false);
    expect(kept!.disposed).toBe(false);
    view.dispose();
    kept!.dispose();
    expect(engine.memory.tensors).toBe(before);
  });

  test('leave tensors from outside alone, also when they are returned', () => {
    const outside = engine.empty([1]);
    expect(engine.scope(() => outside)).toBe(outside);
    engine.scope(() => void outside.size);
    expect(outside.disposed).toBe(false);
    outside.dispose();
  });

  test('free everything when fn throws, also through several scopes', () => {
    const before = engine.memory;
    const work = () =>
      engine.scope(() => {
        engine.empty([10]);
        engine.scope(() => {
          engine.empty([10]);
          throw new RangeError('mine');
        });
      });
    expect(work).toThrow(RangeError);
    expect(engine.memory).toMatchObject({ inUse: before.inUse, tensors: before.tensors });
    const after = engine.empty([1]);
    expect(after.disposed).toBe(false);
    after.dispose();
  });

  test('a promise is refused and what was made is freed', () => {
    const before = engine.memory.tensors;
    expect(() => engine.scope(async () => engine.empty([1]))).toThrow(EngineError);
    expect(() => engine.scope(() => Promise.reject(new Error('unheard')))).toThrow(EngineError);
    expect(engine.memory.tensors).toBe(before);
  });

  test('10,000 short-lived tensors in one scope leave a short list', () => {
    engine.scope(() => {
      for (let i = 0; i < 10_000; i++) engine.empty([8]).dispose();
      const { current } = engine as unknown as { current: { tensors: unknown[] } };
      expect(current.tensors.length).toBeLessThan(1000);
    });
  });
});

test('a disposed engine refuses everything with EngineError, and its tensors too', async () => {
  const gone = await createEngine({ threads: 2 });
  const tensor = gone.empty([1]);
  await gone.dispose();
  await gone.dispose();
  for (const use of [
    () => gone.empty([1]),
    () => gone.zeros([1]),
    () => gone.tensor(floats(1), [1]),
    () => gone.scope(() => 1),
    () => tensor.write(floats(1)),
  ]) {
    expect(use).toThrow(EngineError);
  }
  await expect(tensor.read()).rejects.toThrow(EngineError);
  await expect(gone.finish()).rejects.toThrow(EngineError);
});
