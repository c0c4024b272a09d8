// The shared memory and the kernels of one thread. Imports no platform: threads load it too.
import { EngineError } from '../tensor/errors.js';
import type { Kernel } from './control.js';
import { PAGE, SCRATCH_BYTES } from './executor.js';

/** Instantiates the kernels for one thread, in the order of `names`. */
export function instantiate(
  module: WebAssembly.Module,
  memory: WebAssembly.Memory,
  names: readonly string[],
  scratch: number,
): Kernel[] {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  (exports.init as (pointer: number, bytes: number) => void)(scratch, SCRATCH_BYTES);
  return names.map((name) => {
    const kernel = exports[name];
    if (typeof kernel !== 'function') throw new EngineError(`the WebAssembly build has no kernel '${name}'`);
    return kernel as Kernel;
  });
}

/** A shared memory with the largest maximum the machine grants: 4, 2, 1 or 0.5 GB. */
export function sharedMemory(bytes: number): { memory: WebAssembly.Memory; maximumBytes: number } {
  const initial = Math.ceil(bytes / PAGE);
  let cause: unknown;
  for (const maximum of [65536, 32768, 16384, 8192]) {
    try {
      const memory = new WebAssembly.Memory({ initial, maximum, shared: true });
      // The last page stays out of use, so that no address after a tensor's end is 2^32.
      return { memory, maximumBytes: (maximum - 1) * PAGE };
    } catch (error) {
      cause = error;
    }
  }
  throw new EngineError('this machine grants no shared WebAssembly memory (threads)', { cause });
}
