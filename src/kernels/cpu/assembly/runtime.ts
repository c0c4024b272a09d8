// What every kernel instance knows: this thread's scratch memory. One instance runs in each thread.

import { fillConstants } from './constants';

let scratch: usize = 0;
let scratchBytes: usize = 0;

/** Called once per instance, before any kernel: this thread's private memory. */
export function init(pointer: usize, bytes: usize): void {
  scratch = pointer;
  scratchBytes = bytes;
  fillConstants();
}

// @ts-ignore: decorator
@inline export function scratchPointer(): usize {
  return scratch;
}

// @ts-ignore: decorator
@inline export function scratchSize(): usize {
  return scratchBytes;
}

/** Slot `i` of a kernel's argument block, as unsigned integer (pointers, counts). */
// @ts-ignore: decorator
@inline export function argU(args: usize, i: usize): u32 {
  return load<u32>(args + (i << 2));
}

/** Slot `i` of a kernel's argument block, as float32. */
// @ts-ignore: decorator
@inline export function argF(args: usize, i: usize): f32 {
  return load<f32>(args + (i << 2));
}
