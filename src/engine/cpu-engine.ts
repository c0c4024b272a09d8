// The engine over one executor: handles, scopes, memory, and kernels by name. Where the numbers lie and which
// threads compute is the executor's affair.
import { KERNELS, type KernelArguments, type KernelName } from '../kernels/cpu/registry.js';
import { EngineError, LimitError, ShapeError } from '../tensor/errors.js';
import { type Executor, heapBase } from './executor.js';
import { Allocator, type Block } from './memory.js';
import { collect, Scope } from './scope.js';
import { dtypeOf, EngineTensor, type Storage, sizeOf, WIDTH } from './tensor.js';
import type { Engine, EngineDType, HostData, Tensor } from './types.js';

/** The memory grows by at least this much, so that it grows seldom. */
const GROWTH = 16 << 20;

interface Signature {
  readonly number: number;
  readonly slots: readonly string[];
  readonly isFloat: readonly boolean[];
}

const SIGNATURES = new Map<string, Signature>(
  Object.entries(KERNELS).map(([name, slots], number) => [
    name,
    { number, slots: Object.keys(slots), isFloat: Object.values(slots).map((kind) => kind === 'f') },
  ]),
);

/** Kernels in the order of their numbers. */
export const KERNEL_NAMES: readonly string[] = [...SIGNATURES.keys()];

export class CpuEngine implements Engine {
  readonly threads: number;
  readonly backend: string;
  readonly broken: Promise<EngineError>;
  private readonly allocator: Allocator;
  private readonly live = { bytes: 0, tensors: 0 };
  private current: Scope | undefined;
  /** What the running allOrNothing() would free. */
  private made: EngineTensor[] | undefined;
  private ended = false;

  constructor(
    private readonly executor: Executor,
    readonly build: 'relaxed' | 'strict',
  ) {
    this.threads = executor.threads;
    this.backend = `wasm-${build}`;
    this.broken = new Promise((resolve) => {
      executor.onFailure = resolve;
    });
    const base = heapBase(executor.threads);
    this.allocator = new Allocator(base, base);
  }

  get memory(): { readonly inUse: number; readonly reserved: number; readonly tensors: number } {
    return { inUse: this.live.bytes, reserved: this.allocator.end, tensors: this.live.tensors };
  }

  get disposed(): boolean {
    return this.ended;
  }

  /** False once it was disposed or broke. @internal */
  get usable(): boolean {
    return !this.ended && this.executor.failure === undefined;
  }

  tensor(data: HostData, shape: readonly number[]): Tensor {
    const dtype = dtypeOf(data);
    const size = sizeOf(shape);
    if (data.length !== size) {
      throw new ShapeError(
        `tensor: shape [${shape.join(', ')}] has ${size} elements, the data ${data.length}`,
      );
    }
    const tensor = this.make(shape, size, dtype);
    if (size > 0) this.executor.write(tensor.pointer, data);
    return tensor;
  }

  empty(shape: readonly number[], dtype: EngineDType = 'float32'): Tensor {
    return this.make(shape, sizeOf(shape), dtype);
  }

  zeros(shape: readonly number[], dtype: EngineDType = 'float32'): Tensor {
    const storage = this.allocate(sizeOf(shape) * WIDTH[dtype]);
    this.executor.zero(storage.block.address, storage.block.bytes);
    return this.handle(storage, storage.block.address, shape, dtype, sizeOf(shape));
  }

  scope<T>(fn: () => T): T {
    this.check();
    const scope = new Scope(this.current);
    this.current = scope;
    let survivors: EngineTensor[] = [];
    try {
      const result = fn();
      if (typeof (result as { then?: unknown } | null | undefined)?.then === 'function') {
        // The promise's own failure would go unheard: this error replaces it.
        Promise.resolve(result).catch(() => {});
        throw new EngineError(
          'scope: fn returned a promise; it must be synchronous, and read() be awaited outside',
        );
      }
      survivors = collect(result, (value) => value instanceof EngineTensor);
      return result;
    } finally {
      this.current = scope.outer;
      scope.close(survivors);
    }
  }

  keep<T extends Tensor>(tensor: T): T {
    if (!(tensor instanceof EngineTensor) || tensor.engine !== (this as CpuEngine)) {
      throw new EngineError('keep: the tensor belongs to another engine');
    }
    if (tensor.disposed) throw new EngineError('keep: the tensor is disposed');
    tensor.owner?.left();
    tensor.owner = undefined;
    return tensor;
  }

  allOrNothing<T>(fn: () => T): T {
    const outer = this.made;
    const made: EngineTensor[] = [];
    this.made = made;
    try {
      return fn();
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    } finally {
      this.made = outer;
      outer?.push(...made);
    }
  }

  hold<T>(fn: () => T): [result: T, free: () => void] {
    this.check();
    const scope = new Scope(this.current);
    this.current = scope;
    const free = () => scope.close([]);
    try {
      return [fn(), free];
    } catch (error) {
      free();
      throw error;
    } finally {
      this.current = scope.outer;
    }
  }

  run<K extends KernelName>(kernel: K, args: KernelArguments<K>, parts = 1, meanwhile?: () => void): void {
    const signature = SIGNATURES.get(kernel);
    if (!signature) throw new EngineError(`run: there is no kernel '${kernel}'`);
    if (!Number.isInteger(parts) || parts < 0) {
      throw new EngineError(`run: kernel '${kernel}' takes a whole number of parts, got ${parts}`);
    }
    this.check();
    const { integers, floats } = this.executor;
    const { slots, isFloat } = signature;
    for (let i = 0; i < slots.length; i++) {
      const value = (args as Record<string, number>)[slots[i]!];
      if (value === undefined)
        throw new EngineError(`run: kernel '${kernel}' lacks its argument '${slots[i]}'`);
      if (isFloat[i]) floats[i] = value;
      else if (Number.isNaN(value)) {
        throw new EngineError(`run: kernel '${kernel}' has NaN as its argument '${slots[i]}'`);
      } else integers[i] = value;
    }
    if (parts > 0) this.executor.run(signature.number, slots.length, parts, meanwhile);
    else meanwhile?.();
  }

  async finish(): Promise<void> {
    this.check();
    return this.executor.finish();
  }

  async dispose(): Promise<void> {
    if (this.ended) return;
    this.ended = true;
    await this.executor.dispose();
  }

  /** Throws EngineError when nothing may be issued any more. @internal */
  check(): void {
    if (this.ended) throw new EngineError('the engine is used after it was disposed');
    if (this.executor.failure) throw this.executor.failure;
  }

  /** A second tensor over a storage. @internal */
  view(
    storage: Storage,
    address: number,
    shape: readonly number[],
    dtype: EngineDType,
    size: number,
  ): Tensor {
    return this.handle(storage, address, shape, dtype, size);
  }

  /** @internal */
  readTensor(tensor: EngineTensor): Promise<HostData> {
    return this.executor.read(tensor.pointer, tensor.dtype, tensor.size);
  }

  /** @internal */
  readTensorInto(tensor: EngineTensor, target: HostData): Promise<void> {
    return this.executor.readInto(tensor.pointer, target);
  }

  /** @internal */
  writeTensor(tensor: EngineTensor, data: HostData, from: number): void {
    if (data.length > 0) this.executor.write(tensor.pointer + from * WIDTH[tensor.dtype], data);
  }

  /** One tensor fewer looks at a storage. @internal */
  release(storage: Storage): void {
    this.live.tensors--;
    if (--storage.tensors > 0) return;
    this.live.bytes -= storage.bytes;
    this.allocator.free(storage.block);
  }

  private make(shape: readonly number[], size: number, dtype: EngineDType): EngineTensor {
    const storage = this.allocate(size * WIDTH[dtype]);
    return this.handle(storage, storage.block.address, shape, dtype, size);
  }

  private handle(
    storage: Storage,
    address: number,
    shape: readonly number[],
    dtype: EngineDType,
    size: number,
  ): EngineTensor {
    const tensor = new EngineTensor(this, storage, address, Object.freeze([...shape]), dtype, size);
    this.live.tensors++;
    this.current?.add(tensor);
    this.made?.push(tensor);
    return tensor;
  }

  private allocate(bytes: number): Storage {
    this.check();
    const block = this.allocator.allocate(bytes) ?? this.growFor(bytes);
    this.live.bytes += bytes;
    return { block, bytes, tensors: 0 };
  }

  /** Grows the memory, generously if the machine allows it; LimitError leaves everything as it was. */
  private growFor(bytes: number): Block {
    const { allocator, executor } = this;
    const least = allocator.end + allocator.shortfall(bytes);
    const wish = Math.min(executor.maximumBytes, Math.max(least, allocator.end + GROWTH));
    for (const end of wish > least ? [wish, least] : [least]) {
      if (end > executor.maximumBytes || !executor.grow(end)) continue;
      allocator.extend(end);
      return allocator.allocate(bytes)!;
    }
    throw new LimitError(
      `out of memory: ${bytes} bytes wanted, ${this.live.bytes} in use by ${this.live.tensors} tensors, ` +
        `at most ${executor.maximumBytes} available`,
    );
  }
}
