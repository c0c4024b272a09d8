// The engine as the rooms below see it: tensors, scopes, kernels by name. Nothing here knows WebAssembly memory.
import type { KernelArguments, KernelName } from '../kernels/cpu/registry.js';
import type { EngineError } from '../tensor/errors.js';

export type EngineDType = 'float32' | 'int32' | 'bool';
export type HostData = Float32Array | Int32Array | Uint8Array;

/** A contiguous row-major tensor that lives in an engine's memory. */
export interface Tensor {
  readonly engine: Engine;
  readonly shape: readonly number[];
  readonly dtype: EngineDType;
  /** Number of elements. */
  readonly size: number;
  /** Byte address in the engine's memory; throws EngineError once disposed. @internal */
  readonly pointer: number;
  readonly disposed: boolean;
  /** Same storage, other shape; the storage is freed when all its views are disposed. */
  reshape(shape: readonly number[]): Tensor;
  /** Same storage, rows [from, to) of the first dimension. */
  rows(from: number, to: number): Tensor;
  /** Waits for all issued work, then copies the numbers out. */
  read(): Promise<HostData>;
  /** The same into an array of the tensor's dtype and size, without another copy. @internal */
  readInto(target: HostData): Promise<void>;
  /** Overwrites the numbers, in order with issued work; `data` are all of them, or with `from` those from there on. */
  write(data: HostData, from?: number): void;
  dispose(): void;
}

export interface EngineOptions {
  /** Threads that compute, the caller's included; default: all cores (at most 16). */
  threads?: number;
  /** 'auto' takes relaxed SIMD (fused multiply-add) where the machine has it. */
  simd?: 'auto' | 'relaxed' | 'strict';
}

export interface Engine {
  readonly threads: number;
  readonly build: 'relaxed' | 'strict';
  /** e.g. 'wasm-relaxed': what attention() reports as `backend`. */
  readonly backend: string;
  /** Copies host numbers in. dtype follows the array: Float32Array, Int32Array, Uint8Array ('bool'). */
  tensor(data: HostData, shape: readonly number[]): Tensor;
  /** Uninitialised memory. */
  empty(shape: readonly number[], dtype?: EngineDType): Tensor;
  zeros(shape: readonly number[], dtype?: EngineDType): Tensor;
  /** Runs fn; tensors made in it are freed at its end except those it returns (found in arrays and plain
   * objects, any depth) and those passed to keep(). fn must be synchronous: a returned promise is an EngineError. */
  scope<T>(fn: () => T): T;
  /** Takes a tensor out of the running scope: it lives until disposed. */
  keep<T extends Tensor>(tensor: T): T;
  /** Runs fn, which must be synchronous; where it throws, all tensors made in it are freed, kept ones too. @internal */
  allOrNothing<T>(fn: () => T): T;
  /** Runs fn; what it makes lives until the function that comes with its result is called. @internal */
  hold<T>(fn: () => T): [result: T, free: () => void];
  /**
   * Issues a kernel over `parts` independent parts, in order with all issued before. `meanwhile` is called once: where there
   * are threads, while they compute. It may read and write other tensors than the kernel's, and runs no kernel. @internal
   */
  run<K extends KernelName>(
    kernel: K,
    args: KernelArguments<K>,
    parts?: number,
    meanwhile?: () => void,
  ): void;
  /** Resolves when all issued work is done; rejects with EngineError if a kernel failed. */
  finish(): Promise<void>;
  /** Resolves when the engine breaks: a kernel failed, or a thread or a page's engine worker died. Nothing may be issued any more. */
  readonly broken: Promise<EngineError>;
  /** Bytes of live tensors, and of the WebAssembly memory. */
  readonly memory: { readonly inUse: number; readonly reserved: number; readonly tensors: number };
  dispose(): Promise<void>;
}
