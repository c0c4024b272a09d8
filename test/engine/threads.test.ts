import { spawn } from 'node:child_process';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { DirectExecutor } from '../../dist/engine/direct.js';
import { createEngine, defaultEngine } from '../../dist/engine/engine.js';
import { type ExecutorOptions, heapBase, SCRATCH_BYTES } from '../../dist/engine/executor.js';
import { matmul } from '../../dist/engine/ops/matmul.js';
import { EngineError } from '../../dist/tensor/errors.js';
import { COUNT, MARK, TRAP, testKernels, WORK } from './kernels.js';

const live: DirectExecutor[] = [];
// Compiling the kernels may take long on a busy machine.
beforeAll(() => void testKernels(1), 300_000);
afterEach(async () => {
  await Promise.all(live.splice(0).map((executor) => executor.dispose()));
});

async function start(threads: number, more: Partial<ExecutorOptions> = {}) {
  const executor = await DirectExecutor.create({ ...testKernels(threads), ...more });
  live.push(executor);
  const base = heapBase(threads);
  executor.grow(base + (1 << 20));
  executor.zero(base, 1 << 20);
  const run = (kernel: number, value: number, parts: number, address = base, meanwhile?: () => void) => {
    executor.integers[0] = address;
    executor.integers[1] = value;
    executor.run(kernel, 2, parts, meanwhile);
  };
  const numbers = (count: number) => executor.copy(base, 'int32', count);
  return { executor, base, run, numbers };
}

/** Resolves when every thread of the executor sleeps, waiting for a job. */
async function threadsReady(executor: DirectExecutor) {
  const { control } = executor as unknown as { control: Int32Array };
  executor.startThreads();
  for (let i = 0; control[64] !== executor.threads - 1; i++) {
    if (i > 2000) throw new Error('the threads did not start within 10 s');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test.each([1, 2, 3])('with %d threads every part runs once, for 1 to 10,000 parts', async (threads) => {
  const { executor, run, numbers } = await start(threads);
  for (let round = 0; round < 2; round++) {
    for (const parts of [1, 2, 3, 64, 4095, 4096, 10_000]) {
      executor.zero(heapBase(threads), 65536);
      run(COUNT, 0, parts);
      expect(numbers(parts).every((n) => n === 1)).toBe(true);
      expect(numbers(parts + 1).at(-1)).toBe(0);
    }
    await threadsReady(executor);
  }
});

test.each([1, 2, 3])('with %d threads what the caller does meanwhile is done once a job', async (threads) => {
  const { base, run, numbers } = await start(threads);
  for (const parts of [1, 2, 64, 10_000]) {
    let calls = 0;
    run(COUNT, 0, parts, base, () => calls++);
    expect(calls).toBe(1);
  }
  expect([...numbers(2)]).toEqual([4, 3]);
});

test('threads compute while the caller does something else', async () => {
  const { executor, base, run, numbers } = await start(2);
  await threadsReady(executor);
  let seen = 0;
  run(MARK, 7, 100, base, () => {
    const end = performance.now() + 10_000;
    while (seen === 0 && performance.now() < end) seen = numbers(100)[99]!;
  });
  expect(seen).toBe(106);
  expect(numbers(100)[0]).toBe(7);
});

test.each([1, 3])('with %d threads a job is done where what happens meanwhile throws', async (threads) => {
  const { executor, base, run, numbers } = await start(threads);
  const oops = new Error('oops');
  const fail = () => {
    throw oops;
  };
  for (const parts of [1, 64, 10_000]) {
    executor.zero(base, 65536);
    expect(() => run(COUNT, 0, parts, base, fail)).toThrow(oops);
    expect(executor.failure).toBeUndefined();
    // All that were published; the caller's error ends a job of more.
    expect(numbers(Math.min(parts, threads === 1 ? parts : 4095)).every((n) => n === 1)).toBe(true);
  }
  run(MARK, 1, 10);
  expect(numbers(10)[9]).toBe(10);
});

test('20,000 tiny jobs with 3 threads: none lost, none doubled', async () => {
  const { executor, run, numbers } = await start(3);
  await threadsReady(executor);
  for (let job = 1; job <= 20_000; job++) {
    run(MARK, job, 5);
    const now = numbers(5);
    for (let part = 0; part < 5; part++) if (now[part] !== part + job) throw new Error(`job ${job}: ${now}`);
  }
  executor.zero(heapBase(3), 1024);
  for (let job = 0; job < 5000; job++) run(COUNT, 0, 7);
  expect([...numbers(7)]).toEqual(new Array(7).fill(5000));
}, 120_000);

test('the generation of jobs may wrap around', async () => {
  const { executor, run, numbers } = await start(2);
  await threadsReady(executor);
  const { control } = executor as unknown as { control: Int32Array };
  Atomics.store(control, 0, 0xfffff << 12);
  for (let job = 0; job < 100; job++) run(COUNT, 0, 3);
  expect([...numbers(3)]).toEqual([100, 100, 100]);
  Atomics.store(control, 0, 0x7ffff << 12);
  for (let job = 0; job < 100; job++) run(COUNT, 0, 3);
  expect([...numbers(3)]).toEqual([200, 200, 200]);
});

test('threads take part, each with scratch memory of its own', async () => {
  const { executor, run, numbers } = await start(3);
  await threadsReady(executor);
  const seen = new Set<number>();
  for (let job = 0; job < 200 && seen.size < 3; job++) {
    run(WORK, 500, 12);
    for (const scratch of numbers(12)) seen.add(scratch);
  }
  expect([...seen].sort((a, b) => a - b)).toEqual([0, 1, 2].map((i) => 65536 + i * SCRATCH_BYTES));
});

test('the caller computes before any thread has started', async () => {
  const { run, numbers } = await start(3);
  run(MARK, 5, 100);
  expect(numbers(100)[99]).toBe(104);
});

test('the memory grows while threads run', async () => {
  const { executor, run, base } = await start(3);
  await threadsReady(executor);
  for (let size = 1 << 20, job = 1; size < 200 << 20; size += 7 << 20, job++) {
    expect(executor.grow(base + size)).toBe(true);
    const address = base + size - 4096;
    run(MARK, job, 64, address);
    const data = executor.copy(address, 'int32', 64);
    expect(data.every((n, part) => n === part + job)).toBe(true);
  }
});

test('an idle thread that dies poisons the engine within a second', async () => {
  const { executor, run } = await start(2);
  await threadsReady(executor);
  const { workers } = executor as unknown as { workers: { terminate(): Promise<void> }[] };
  const began = performance.now();
  void workers[0]!.terminate();
  while (!executor.failure && performance.now() - began < 1000) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(executor.failure).toBeInstanceOf(EngineError);
  expect(() => run(MARK, 1, 1)).toThrow(EngineError);
  await expect(executor.finish()).rejects.toThrow(/a thread died/);
});

/** In the place of the engine's thread: one that takes a part, holds it for a while, and does `then`. */
function thief(milliseconds: number, then: string): string {
  const script = `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', ({ memory }) => {
      const c = new Int32Array(memory.buffer, 0, 256);
      Atomics.store(c, 255, 1);
      for (;;) {
        const t = Atomics.load(c, 0);
        if ((t & 4095) === 0 || Atomics.compareExchange(c, 0, t, t - 1) !== t) continue;
        const end = performance.now() + ${milliseconds};
        while (performance.now() < end);
        Atomics.store(c, 254, 1);
        ${then};
        if (Atomics.sub(c, 32, 1) === 1) Atomics.notify(c, 32);
      }
    });`;
  return `data:text/javascript,${encodeURIComponent(script)}`;
}

/** Two jobs' parts for a thief: the second is stolen at the latest, for the caller's own lasts long. */
async function robbed(milliseconds: number, then: string, more: Partial<ExecutorOptions> = {}) {
  const { executor, run } = await start(2, { workerUrl: thief(milliseconds, then), ...more });
  const { control } = executor as unknown as { control: Int32Array };
  executor.startThreads();
  while (Atomics.load(control, 255) === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  return { executor, run, finished: () => Atomics.load(control, 254) === 1 };
}

test.each(['process.exit(3)', "throw new Error('gone')"])(
  'a thread that dies with a part in its hands poisons the engine within a second: %s',
  async (then) => {
    const { executor, run } = await robbed(300, then);
    const began = performance.now();
    expect(() => run(WORK, 10_000, 2)).toThrow(EngineError);
    expect(performance.now() - began).toBeLessThan(300 + 1000);
    expect(executor.failure?.message).toMatch(/a thread died/);
    expect(() => run(MARK, 1, 1)).toThrow(EngineError);
    await expect(executor.read(65536, 'int32', 1)).rejects.toThrow(EngineError);
    await expect(executor.finish()).rejects.toThrow(EngineError);
  },
);

test('a thread that works on one part for 2 s is not taken for dead', async () => {
  const { executor, run, finished } = await robbed(2000, '');
  run(WORK, 10_000, 2);
  expect(finished()).toBe(true);
  expect(executor.failure).toBeUndefined();
});

test('where nothing tells of a death, the wait is bounded: a stall of 300 ms poisons the engine', async () => {
  const { run } = await robbed(3000, '', { stallMilliseconds: 300 });
  const began = performance.now();
  expect(() => run(WORK, 10_000, 2)).toThrow(/no progress in 0\.3 s/);
  expect(performance.now() - began).toBeLessThan(2000);
  expect(() => run(MARK, 1, 1)).toThrow(EngineError);
});

test('threads end with an engine that broke', async () => {
  const { executor, run } = await start(3);
  await threadsReady(executor);
  const { workers } = executor as unknown as { workers: { isDead(): boolean }[] };
  expect(workers.map((worker) => worker.isDead())).toEqual([false, false]);
  expect(() => run(TRAP, 0, 2)).toThrow(EngineError);
  await expect.poll(() => workers.every((worker) => worker.isDead()), { timeout: 5000 }).toBe(true);
});

test('a default engine that lost a thread is replaced', async () => {
  const broken = await defaultEngine();
  const { executor } = broken as unknown as { executor: { failure?: EngineError; workers?: Terminated[] } };
  type Terminated = { terminate(): Promise<void> };
  const a = broken.tensor(new Float32Array(250_000).fill(1), [500, 500]);
  matmul(a, a);
  await executor.workers?.[0]?.terminate();
  if (broken.threads > 1) {
    expect(() => matmul(a, a)).toThrow(/a thread died/);
    expect((await broken.broken).message).toMatch(/a thread died/);
  }
  const fresh = await defaultEngine();
  expect(fresh === broken).toBe(broken.threads === 1);
  const b = fresh.tensor(new Float32Array(250_000).fill(1), [500, 500]);
  expect((await matmul(b, b).read())[7]).toBe(500);
  await fresh.dispose();
});

test.each([
  [0, 1, 1],
  [0, 2, 8],
  [7, 2, 8],
  [7, 1, 8],
])('a trap in part %d with %d threads poisons the engine', async (part, threads, parts) => {
  const { executor, run } = await start(threads);
  await threadsReady(executor);
  expect(() => run(TRAP, part, parts)).toThrow(EngineError);
  expect(() => run(MARK, 0, 1)).toThrow(/kernel 'trap' failed/);
  await expect(executor.read(65536, 'int32', 1)).rejects.toThrow(EngineError);
});

test('a thread whose script is missing is told with the way out', async () => {
  const { executor, run } = await start(2, { workerUrl: new URL('./nowhere.js', import.meta.url).href });
  run(MARK, 1, 2);
  while (!executor.failure) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(executor.failure.message).toMatch(/nowhere\.js.*configure/);
});

test('the same bits with 1, 2 and 3 threads: matmul [301,257]·[257,203]', async () => {
  const noise = (n: number, seed: number) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * seed));
  const results: Buffer[] = [];
  for (const threads of [1, 2, 3]) {
    const engine = await createEngine({ threads });
    const a = engine.tensor(noise(301 * 257, 1.3), [301, 257]);
    const b = engine.tensor(noise(257 * 203, 2.7), [257, 203]);
    engine.scope(() => void matmul(a, b));
    await new Promise((resolve) => setTimeout(resolve, 200));
    for (let round = 0; round < 20; round++) {
      const result = await engine.scope(() => matmul(a, b)).read();
      results.push(Buffer.from(result.buffer as ArrayBuffer));
    }
    await engine.dispose();
  }
  expect(results).toHaveLength(60);
  for (const result of results) expect(result.equals(results[0]!)).toBe(true);
});

test('a script with one call ends by itself', async () => {
  const url = (path: string) => JSON.stringify(new URL(`../../dist/engine/${path}`, import.meta.url).href);
  const script = `
    const { defaultEngine } = await import(${url('engine.js')});
    const { matmul } = await import(${url('ops/matmul.js')});
    const engine = await defaultEngine();
    const a = engine.tensor(new Float32Array(250_000).fill(1), [500, 500]);
    console.log((await matmul(a, a).read())[7]);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'pipe' });
  let output = '';
  child.stdout.on('data', (data) => {
    output += data;
  });
  child.stderr.on('data', (data) => {
    output += data;
  });
  const timer = setTimeout(() => child.kill(), 30_000);
  const code = await new Promise((resolve) => child.on('exit', resolve));
  clearTimeout(timer);
  expect({ code, output }).toEqual({ code: 0, output: '500\n' });
});
