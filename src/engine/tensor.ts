// Tensors as handles: a shape over a counted storage. Views share a storage, which is freed with the last of them.
import { DTypeError, EngineError, ShapeError } from '../tensor/errors.js';
import type { CpuEngine } from './cpu-engine.js';
import type { Block } from './memory.js';
import type { Scope } from './scope.js';
import type { EngineDType, HostData, Tensor } from './types.js';

/** Bytes of one element. */
export const WIDTH: Readonly<Record<EngineDType, number>> = { float32: 4, int32: 4, bool: 1 };

/** A stretch of engine memory and how many tensors look at it. */
export interface Storage {
  readonly block: Block;
  /** Bytes asked for, without rounding. */
  readonly bytes: number;
  tensors: number;
}

/** Number of elements; throws ShapeError unless every dimension is a whole number >= 0. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const n of shape) {
    if (!Number.isSafeInteger(n) || n < 0) {
      throw new ShapeError(`shape [${shape.join(', ')}]: dimensions are whole numbers >= 0, got ${n}`);
    }
    size *= n;
  }
  return size;
}

/** The dtype a host array stands for; asks for the name, so arrays of another realm are served too. */
export function dtypeOf(data: HostData): EngineDType {
  switch ((data as { [Symbol.toStringTag]?: string } | undefined)?.[Symbol.toStringTag]) {
    case 'Float32Array':
      return 'float32';
    case 'Int32Array':
      return 'int32';
    case 'Uint8Array':
      return 'bool';
  }
  throw new DTypeError('tensor data: expected Float32Array, Int32Array or Uint8Array (bool)');
}

/** @internal Made by the engine alone. */
export class EngineTensor implements Tensor {
  /** The scope that frees this tensor; undefined once it is kept or was made outside of any. @internal */
  owner: Scope | undefined;
  private storage: Storage | undefined;
  private readonly address: number;

  constructor(
    readonly engine: CpuEngine,
    storage: Storage,
    address: number,
    readonly shape: readonly number[],
    readonly dtype: EngineDType,
    readonly size: number,
  ) {
    this.storage = storage;
    this.address = address;
    storage.tensors++;
  }

  get disposed(): boolean {
    return this.storage === undefined;
  }

  get pointer(): number {
    if (this.storage === undefined) throw disposedError(this);
    return this.address;
  }

  reshape(shape: readonly number[]): Tensor {
    const size = sizeOf(shape);
    if (size !== this.size) {
      throw new ShapeError(
        `reshape: [${this.shape.join(', ')}] has ${this.size} elements, [${shape.join(', ')}] has ${size}`,
      );
    }
    return this.engine.view(this.live(), this.address, shape, this.dtype, size);
  }

  rows(from: number, to: number): Tensor {
    const [rows, ...rest] = this.shape;
    if (rows === undefined) throw new ShapeError('rows: a tensor of rank 0 has no rows');
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to < from || to > rows) {
      throw new ShapeError(`rows: expected 0 <= from <= to <= ${rows}, got [${from}, ${to})`);
    }
    const width = rows === 0 ? 0 : this.size / rows;
    const address = this.address + from * width * WIDTH[this.dtype];
    return this.engine.view(this.live(), address, [to - from, ...rest], this.dtype, (to - from) * width);
  }

  async read(): Promise<HostData> {
    this.live();
    return this.engine.readTensor(this);
  }

  async readInto(target: HostData): Promise<void> {
    this.live();
    this.checkArray('readInto', target);
    if (target.length !== this.size) {
      throw new ShapeError(`readInto: the tensor has ${this.size} elements, the array ${target.length}`);
    }
    return this.engine.readTensorInto(this, target);
  }

  write(data: HostData, from?: number): void {
    this.live();
    this.checkArray('write', data);
    const wanted =
      from === undefined ? data.length !== this.size : !(from >= 0 && from + data.length <= this.size);
    if (wanted || (from !== undefined && !Number.isInteger(from))) {
      const where = from === undefined ? '' : ` from ${from} on`;
      throw new ShapeError(`write: the tensor has ${this.size} elements, the data ${data.length}${where}`);
    }
    this.engine.writeTensor(this, data, from ?? 0);
  }

  dispose(): void {
    const storage = this.storage;
    if (storage === undefined) return;
    this.storage = undefined;
    this.owner?.left();
    this.owner = undefined;
    this.engine.release(storage);
  }

  private checkArray(op: string, data: HostData): void {
    const dtype = dtypeOf(data);
    if (dtype !== this.dtype) throw new DTypeError(`${op}: the tensor is ${this.dtype}, the data ${dtype}`);
  }

  private live(): Storage {
    if (this.storage === undefined) throw disposedError(this);
    this.engine.check();
    return this.storage;
  }
}

function disposedError(tensor: Tensor): EngineError {
  return new EngineError(`a tensor of shape [${tensor.shape.join(', ')}] is used after it was disposed`);
}
