// The executor of a thread that may not block, such as a page's: it computes nothing and waits for nothing. Commands
// go in order to one engine worker, which holds the memory and a DirectExecutor. So a block that was freed here after
// its last command was issued may be given to later commands at once.
import { EngineError } from '../tensor/errors.js';
import type { Command, EngineStart, Reply } from './commands.js';
import { ARGUMENT_SLOTS, type Executor, type ExecutorOptions } from './executor.js';
import type { WorkerHandle } from './platform.js';
import type { EngineDType, HostData } from './types.js';
import { handleOf } from './worker-handle.js';

/** Commands that travel in one message at most; a page that issues more keeps the worker busy meanwhile. */
const BATCH = 256;

/** Starts the engine worker of a page. The literal expression is what bundlers rewrite. */
export function startEngineWorker(workerUrl?: string): WorkerHandle {
  return handleOf(
    workerUrl
      ? new Worker(workerUrl, { type: 'module' })
      : new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }),
  );
}

interface Waiting {
  resolve(data: HostData | undefined): void;
  reject(error: EngineError): void;
}

export class QueuedExecutor implements Executor {
  failure: EngineError | undefined;
  onFailure: ((error: EngineError) => void) | undefined;
  readonly threads: number;
  readonly integers: Uint32Array;
  readonly floats: Float32Array;
  private batch: Command[] = [];
  private transfer: ArrayBuffer[] = [];
  private readonly waiting = new Map<number, Waiting>();
  private lastId = 0;
  private grown = 0;

  private constructor(
    options: ExecutorOptions,
    private readonly worker: WorkerHandle,
    readonly maximumBytes: number,
  ) {
    this.threads = options.threads;
    this.integers = new Uint32Array(ARGUMENT_SLOTS);
    this.floats = new Float32Array(this.integers.buffer);
  }

  /** Resolves once the engine worker has its memory and kernels; rejects with EngineError when it cannot. */
  static create(options: ExecutorOptions, worker: WorkerHandle): Promise<QueuedExecutor> {
    return new Promise((resolve, reject) => {
      let executor: QueuedExecutor | undefined;
      const fail = (message: string, cause?: unknown) => {
        if (executor) executor.fail(message, cause);
        else {
          reject(new EngineError(message, { cause }));
          void worker.terminate();
        }
      };
      worker.listen(
        (message) => {
          const reply = message as Reply;
          if (reply.is === 'failed') fail(reply.message);
          else if (reply.is === 'done') executor?.settle(reply.id, reply.data);
          else {
            executor = new QueuedExecutor(options, worker, reply.maximumBytes);
            resolve(executor);
          }
        },
        (cause) => {
          fail(`the engine worker died: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
        },
      );
      const start: EngineStart = { role: 'engine', options };
      worker.post(start);
    });
  }

  grow(bytes: number): boolean {
    if (bytes > this.maximumBytes) return false;
    if (bytes > this.grown) this.issue({ do: 'grow', bytes });
    this.grown = Math.max(this.grown, bytes);
    return true;
  }

  run(kernel: number, slots: number, parts: number, meanwhile?: () => void): void {
    this.issue({ do: 'run', kernel, slots: this.integers.slice(0, slots), parts });
    meanwhile?.();
  }

  write(address: number, data: HostData): void {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    this.issue({ do: 'write', address, bytes }, bytes.buffer);
  }

  zero(address: number, bytes: number): void {
    this.issue({ do: 'zero', address, bytes });
  }

  async read(address: number, dtype: EngineDType, size: number): Promise<HostData> {
    return (await this.ask((id) => ({ do: 'read', id, address, dtype, size })))!;
  }

  async readInto(address: number, target: HostData): Promise<void> {
    const bytes = new Uint8Array(target.buffer, target.byteOffset, target.byteLength);
    bytes.set(await this.read(address, 'bool', bytes.length));
  }

  async finish(): Promise<void> {
    await this.ask((id) => ({ do: 'finish', id }));
  }

  async dispose(): Promise<void> {
    this.rejectAll(new EngineError('the engine was disposed before this read was answered'));
    this.batch = [];
    await this.worker.terminate();
  }

  private ask(command: (id: number) => Command): Promise<HostData | undefined> {
    return new Promise((resolve, reject) => {
      const id = ++this.lastId;
      this.issue(command(id));
      this.waiting.set(id, { resolve, reject });
    });
  }

  private issue(command: Command, transfer?: ArrayBuffer): void {
    if (this.failure) throw this.failure;
    this.batch.push(command);
    if (transfer) this.transfer.push(transfer);
    if (this.batch.length === 1) queueMicrotask(() => this.flush());
    else if (this.batch.length >= BATCH) this.flush();
  }

  private flush(): void {
    if (this.batch.length === 0) return;
    const { batch, transfer } = this;
    this.batch = [];
    this.transfer = [];
    this.worker.post(batch, transfer);
  }

  private settle(id: number, data: HostData | undefined): void {
    this.waiting.get(id)?.resolve(data);
    this.waiting.delete(id);
  }

  private fail(message: string, cause?: unknown): void {
    if (this.failure) return;
    this.failure = new EngineError(message, { cause });
    this.rejectAll(this.failure);
    this.onFailure?.(this.failure);
  }

  private rejectAll(error: EngineError): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}
