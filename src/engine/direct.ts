// The executor of a thread that may block: it owns the WebAssembly memory, computes itself, and shares jobs with
// threads that start at the first job of several parts. Parts that no thread takes are done by the caller.
import { copyBytes, copyOf, reuseMemory, startThread } from '#platform';
import { viewArray } from '../tensor/dtype.js';
import { EngineError } from '../tensor/errors.js';
import {
  CONTROL_WORDS,
  close,
  FAULT,
  KERNEL,
  type Kernel,
  MAXIMUM_PARTS,
  PENDING,
  publish,
  spin,
  take,
} from './control.js';
import {
  ARGUMENT_SLOTS,
  ARGUMENTS_ADDRESS,
  type Executor,
  type ExecutorOptions,
  heapBase,
  PAGE,
  RESERVED_BYTES,
  SCRATCH_BYTES,
} from './executor.js';
import { instantiate, sharedMemory } from './instance.js';
import { kernelModule } from './kernels.js';
import type { WorkerHandle } from './platform.js';
import type { ThreadStart } from './serve-thread.js';
import { WIDTH } from './tensor.js';
import type { EngineDType, HostData } from './types.js';

/** How long the caller looks for the end of the threads' parts before it sleeps, in milliseconds. */
const CALLER_SPIN = 0.05;
const STALL_MILLISECONDS = 30_000;
/** How often a caller that sleeps looks whether the threads still live: it hears no event meanwhile. */
const LOOK_MILLISECONDS = 200;

/** V8 makes an array this small in one piece, in a fifteenth of the time. */
const FEW_BYTES = 64;

export class DirectExecutor implements Executor {
  failure: EngineError | undefined;
  onFailure: ((error: EngineError) => void) | undefined;
  readonly threads: number;
  readonly maximumBytes: number;
  readonly integers: Uint32Array;
  readonly floats: Float32Array;
  private readonly control: Int32Array;
  private readonly memory: WebAssembly.Memory;
  private readonly kernels: Kernel[];
  private workers: WorkerHandle[] | undefined;
  private ended = false;

  private constructor(
    private readonly options: ExecutorOptions,
    private readonly module: WebAssembly.Module,
  ) {
    const { memory, maximumBytes } = sharedMemory(heapBase(options.threads));
    this.threads = options.threads;
    this.memory = memory;
    this.maximumBytes = maximumBytes;
    this.kernels = instantiate(module, memory, options.kernels, RESERVED_BYTES);
    // A shared buffer stays valid when the memory grows, so these views of its first page may be kept.
    this.control = new Int32Array(memory.buffer, 0, CONTROL_WORDS);
    this.integers = new Uint32Array(memory.buffer, ARGUMENTS_ADDRESS, ARGUMENT_SLOTS);
    this.floats = new Float32Array(memory.buffer, ARGUMENTS_ADDRESS, ARGUMENT_SLOTS);
  }

  static async create(options: ExecutorOptions): Promise<DirectExecutor> {
    reuseMemory();
    return new DirectExecutor(options, await kernelModule(options.build, options.wasmUrl));
  }

  grow(bytes: number): boolean {
    const missing = bytes - this.memory.buffer.byteLength;
    if (missing <= 0) return true;
    try {
      this.memory.grow(Math.ceil(missing / PAGE));
      return true;
    } catch {
      return false;
    }
  }

  run(kernel: number, _slots: number, parts: number, meanwhile?: () => void): void {
    if (this.failure) throw this.failure;
    const compute = this.kernels[kernel]!;
    if (parts === 1 || this.threads === 1) {
      try {
        for (let part = 0; part < parts; part++) compute(ARGUMENTS_ADDRESS, part);
      } catch (cause) {
        throw this.fail(`kernel '${this.options.kernels[kernel]}' failed`, cause);
      }
      meanwhile?.();
      return;
    }
    this.startThreads();
    for (let base = 0; base < parts; base += MAXIMUM_PARTS) {
      publish(this.control, kernel, base, Math.min(MAXIMUM_PARTS, parts - base));
      try {
        if (base === 0) meanwhile?.();
      } finally {
        this.share(kernel, compute, base);
      }
    }
  }

  /** One job: part 0 is the caller's, then it takes parts like any thread, then it waits for theirs. */
  private share(kernel: number, compute: Kernel, base: number): void {
    const { control } = this;
    let done = 0;
    try {
      for (let part = base; part >= 0; part = take(control)) {
        compute(ARGUMENTS_ADDRESS, part);
        done++;
      }
    } catch (cause) {
      throw this.fail(`kernel '${this.options.kernels[kernel]}' failed`, cause);
    }
    let pending = Atomics.sub(control, PENDING, done) - done;
    while (pending !== 0) pending = this.await(pending);
    if (Atomics.load(control, FAULT) !== 0) {
      throw this.fail(`kernel '${this.options.kernels[control[KERNEL]!]}' failed in a thread`);
    }
  }

  /** Waits until fewer than `pending` parts are open, or gives the threads up for dead. */
  private await(pending: number): number {
    const { control } = this;
    if (spin(control, PENDING, pending, CALLER_SPIN)) return Atomics.load(control, PENDING);
    const stall = this.options.stallMilliseconds ?? STALL_MILLISECONDS;
    for (let waited = 0; waited < stall; waited += LOOK_MILLISECONDS) {
      Atomics.wait(control, PENDING, pending, Math.min(LOOK_MILLISECONDS, stall - waited));
      // Only the last part wakes the caller, so a wait that timed out may have seen progress.
      const now = Atomics.load(control, PENDING);
      if (now !== 0 && this.workers?.some((worker) => worker.isDead())) throw this.fail('a thread died');
      if (now !== pending) return now;
    }
    throw this.fail(`threads made no progress in ${stall / 1000} s`);
  }

  /** Starts the threads unless they are; returns at once, they join when they are ready. */
  startThreads(): void {
    if (this.workers) return;
    this.workers = [];
    for (let index = 1; index < this.threads; index++) {
      const worker = startThread(this.options.workerUrl);
      this.workers.push(worker);
      worker.listen(
        () => {},
        (reason) => {
          if (!this.ended) this.fail('a thread died', reason);
        },
      );
      const start: ThreadStart = {
        role: 'thread',
        module: this.module,
        memory: this.memory,
        kernels: this.options.kernels,
        scratch: RESERVED_BYTES + index * SCRATCH_BYTES,
      };
      worker.post(start);
    }
  }

  /** Poisons the executor: every later command throws the first failure. */
  private fail(message: string, cause?: unknown): EngineError {
    if (!this.failure) {
      const detail = cause instanceof Error ? `: ${cause.message}` : '';
      this.failure = new EngineError(`${message}${detail}; the engine cannot be used any more`, { cause });
      close(this.control);
      for (const worker of this.workers ?? []) void worker.terminate();
      this.onFailure?.(this.failure);
    }
    return this.failure;
  }

  write(address: number, data: HostData): void {
    copyBytes(new Uint8Array(this.memory.buffer, address, data.byteLength), bytesOf(data));
  }

  zero(address: number, bytes: number): void {
    new Float64Array(this.memory.buffer, address, bytes / 8).fill(0);
  }

  /** The numbers as they are now, in memory of their own. */
  copy(address: number, dtype: EngineDType, size: number): HostData {
    const { buffer } = this.memory;
    const bytes = size * WIDTH[dtype];
    if (bytes <= FEW_BYTES) return viewArray(dtype, buffer, address, size).slice();
    return viewArray(dtype, copyOf(new Uint8Array(buffer, address, bytes)), 0, size);
  }

  async read(address: number, dtype: EngineDType, size: number): Promise<HostData> {
    if (this.failure) throw this.failure;
    return this.copy(address, dtype, size);
  }

  async readInto(address: number, target: HostData): Promise<void> {
    if (this.failure) throw this.failure;
    copyBytes(bytesOf(target), new Uint8Array(this.memory.buffer, address, target.byteLength));
  }

  async finish(): Promise<void> {
    if (this.failure) throw this.failure;
  }

  async dispose(): Promise<void> {
    this.ended = true;
    close(this.control);
    await Promise.all((this.workers ?? []).map((worker) => worker.terminate()));
  }
}

function bytesOf(data: HostData): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
