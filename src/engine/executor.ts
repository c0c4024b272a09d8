// What an engine asks of whoever owns its memory and its threads. Addresses and kernel numbers only: no tensors.
import type { EngineError } from '../tensor/errors.js';
import type { EngineDType, HostData } from './types.js';

/** One WebAssembly page. */
export const PAGE = 65536;
/** Bytes at the start of the memory that hold the control block and the arguments of the running kernel. */
export const RESERVED_BYTES = PAGE;
/** Where a kernel's argument block lies. */
export const ARGUMENTS_ADDRESS = 4096;
/** 32-bit slots an argument block may have. */
export const ARGUMENT_SLOTS = (RESERVED_BYTES - ARGUMENTS_ADDRESS) / 4;
/** Scratch memory of each thread's kernels. */
export const SCRATCH_BYTES = 1 << 20;

/** First byte that tensors may use: after the reserved page and every thread's scratch. */
export function heapBase(threads: number): number {
  return RESERVED_BYTES + threads * SCRATCH_BYTES;
}

/** What an executor needs to know; all of it can be posted to another thread. */
export interface ExecutorOptions {
  threads: number;
  build: 'relaxed' | 'strict';
  /** Exports of the WebAssembly module, in the order of their kernel numbers. */
  kernels: readonly string[];
  wasmUrl?: string;
  workerUrl?: string;
  /** Milliseconds without any progress of the threads after which they count as dead. */
  stallMilliseconds?: number;
}

/** Every command is carried out in the order of the calls. */
export interface Executor {
  readonly threads: number;
  /** Bytes the memory may grow to. */
  readonly maximumBytes: number;
  /** Set once a kernel trapped or a thread died: nothing may be issued any more. */
  readonly failure: EngineError | undefined;
  /** Hears of it, also between commands. */
  onFailure: ((error: EngineError) => void) | undefined;
  /** Staging of the next kernel's arguments, as unsigned integers and as floats. */
  readonly integers: Uint32Array;
  readonly floats: Float32Array;
  /** Makes the memory at least `bytes` long; false when the machine has no more. */
  grow(bytes: number): boolean;
  /**
   * Runs kernel number `kernel` on the first `slots` staged arguments. `meanwhile`, which runs no kernel itself, is called
   * once: where there are threads, while they compute.
   */
  run(kernel: number, slots: number, parts: number, meanwhile?: () => void): void;
  write(address: number, data: HostData): void;
  /** Sets a block, address and length multiples of 64, to zero. */
  zero(address: number, bytes: number): void;
  read(address: number, dtype: EngineDType, size: number): Promise<HostData>;
  /** Reads as many numbers as `target` holds. */
  readInto(address: number, target: HostData): Promise<void>;
  finish(): Promise<void>;
  dispose(): Promise<void>;
}
