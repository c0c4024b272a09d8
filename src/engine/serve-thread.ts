// What a computing thread does once it was told which engine it serves.
import { CONTROL_WORDS, serve } from './control.js';
import { ARGUMENTS_ADDRESS } from './executor.js';
import { instantiate } from './instance.js';

/** What a thread is told at its start. */
export interface ThreadStart {
  role: 'thread';
  module: WebAssembly.Module;
  memory: WebAssembly.Memory;
  kernels: readonly string[];
  /** Address of this thread's scratch memory. */
  scratch: number;
}

/** Serves one engine to its end; a kernel's trap is thrown on, so that the owner hears of it. */
export function serveThread(start: ThreadStart): void {
  const control = new Int32Array(start.memory.buffer, 0, CONTROL_WORDS);
  const kernels = instantiate(start.module, start.memory, start.kernels, start.scratch);
  const fault = serve(control, kernels, ARGUMENTS_ADDRESS);
  if (fault !== undefined) throw fault;
}
