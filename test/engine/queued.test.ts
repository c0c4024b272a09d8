// The executor of a page, tested in Node: the engine worker is the same script, behind a Node worker.
import { Worker } from 'node:worker_threads';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { CpuEngine, KERNEL_NAMES } from '../../dist/engine/cpu-engine.js';
import { createEngine } from '../../dist/engine/engine.js';
import { type ExecutorOptions, heapBase } from '../../dist/engine/executor.js';
import { matmul } from '../../dist/engine/ops/matmul.js';
import type { WorkerHandle } from '../../dist/engine/platform.js';
import { QueuedExecutor } from '../../dist/engine/queued.js';
import { EngineError, LimitError } from '../../dist/tensor/errors.js';
import { MARK, TRAP, testKernels } from './kernels.js';

const live: { dispose(): Promise<void> }[] = [];
// Compiling the kernels may take long on a busy machine.
beforeAll(() => void testKernels(1), 300_000);
afterEach(async () => {
  await Promise.all(live.splice(0).map((one) => one.dispose()));
});

function engineWorker(): WorkerHandle {
  const worker = new Worker(new URL('../../dist/engine/worker.js', import.meta.url));
  return {
    post: (message, transfer) => worker.postMessage(message, transfer),
    listen(received, died) {
      worker.on('message', received).on('error', died);
      worker.on('exit', (code) => died(new Error(`code ${code}`)));
    },
    isDead: () => false,
    terminate: async () => void (await worker.terminate()),
  };
}

async function queued(options: ExecutorOptions) {
  const executor = await QueuedExecutor.create(options, engineWorker());
  live.push(executor);
  return executor;
}

async function queuedEngine(threads: number) {
  const engine = new CpuEngine(await queued({ threads, build: 'strict', kernels: KERNEL_NAMES }), 'strict');
  return engine;
}

test.each([1, 3])('gives the bits of the direct executor, with %d threads', async (threads) => {
  const numbers = Float32Array.from({ length: 130 * 70 }, (_, i) => Math.sin(i));
  const results = [];
  const direct = await createEngine({ threads: 1, simd: 'strict' });
  live.push(direct);
  for (const engine of [direct, await queuedEngine(threads)]) {
    const a = engine.tensor(numbers, [130, 70]);
    for (let round = 0; round < 5; round++) {
      results.push(await engine.scope(() => matmul(a, a, { transposeB: true })).read());
    }
  }
  for (const result of results) expect(result).toEqual(results[0]);
});

test('memory that was freed is reused by later commands, in order', async () => {
  const engine = await queuedEngine(2);
  const reads = [];
  const addresses = new Set<number>();
  for (let i = 0; i < 1000; i++) {
    const tensor = engine.tensor(Int32Array.of(i, i + 1), [2]);
    addresses.add(tensor.pointer);
    reads.push(tensor.read());
    tensor.dispose();
  }
  expect(addresses.size).toBe(1);
  const results = await Promise.all(reads);
  expect(results.every((data, i) => data[0] === i && data[1] === i + 1)).toBe(true);
});

test('data are copied at the call, and views, zeros, growth and finish work', async () => {
  const engine = await queuedEngine(1);
  const data = new Float32Array([1, 2, 3, 4]);
  const whole = engine.tensor(data, [2, 2]);
  data.fill(9);
  whole.rows(1, 2).write(new Float32Array([5, 6]));
  const zeros = engine.zeros([40_000_000], 'bool');
  await engine.finish();
  expect(await whole.read()).toEqual(new Float32Array([1, 2, 5, 6]));
  expect((await zeros.rows(39_999_990, 40_000_000).read()).every((n) => n === 0)).toBe(true);
});

test('a request beyond the maximum is refused at once, and the engine goes on', async () => {
  const engine = await queuedEngine(1);
  expect(() => engine.empty([2 ** 31])).toThrow(LimitError);
  expect(await engine.tensor(Int32Array.of(3), [1]).read()).toEqual(Int32Array.of(3));
});

test('a trap rejects what is waited for, and poisons the engine', async () => {
  const executor = await queued(testKernels(2));
  const base = heapBase(2);
  executor.grow(base + 65536);
  executor.integers.set([base, 1]);
  executor.run(TRAP, 2, 2);
  await expect(executor.read(base, 'int32', 1)).rejects.toThrow(/kernel 'trap' failed/);
  expect(() => executor.run(MARK, 2, 1)).toThrow(EngineError);
  await expect(executor.finish()).rejects.toThrow(EngineError);
});

test('an engine worker that dies rejects what is waited for', async () => {
  const worker = engineWorker();
  const executor = await QueuedExecutor.create(testKernels(1), worker);
  const read = executor.read(heapBase(1) - 64, 'int32', 1);
  void worker.terminate();
  await expect(read.then(() => executor.finish())).rejects.toThrow(/the engine worker died/);
});

test('a kernel file that is missing rejects the creation and names it', async () => {
  const options = { ...testKernels(1), wasmUrl: new URL('./nowhere.wasm', import.meta.url).href };
  await expect(QueuedExecutor.create(options, engineWorker())).rejects.toThrow(/nowhere\.wasm/);
});

test('disposing rejects reads that were not answered', async () => {
  const executor = await QueuedExecutor.create(testKernels(1), engineWorker());
  const read = executor.read(heapBase(1) - 64, 'int32', 1);
  const refused = expect(read).rejects.toThrow(EngineError);
  await executor.dispose();
  await refused;
});
