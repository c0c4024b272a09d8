// What an engine asks of the machine around it, in Node. platform.browser.ts has the same exports.
import { Buffer, constants } from 'node:buffer';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { WorkerHandle } from './platform.js';

/** Whether this thread may wait for others. */
export const mayBlock = true;

/** Whether memory can be shared with workers. */
export const mayShare = true;

/** Threads that make sense here. */
export function cores(): number {
  return availableParallelism();
}

/** The largest block, header included, that glibc learns from. */
const LESSON = 32 * 2 ** 20 - 65536;

/**
 * Lets large results lie in memory that earlier ones left. By default glibc gives large blocks back to the system and
 * takes new ones, whose every page costs a fault when first written (3.5 ms a MB in a virtual machine). It keeps blocks up
 * to the size of the largest one freed so far: this one, which is never written, is freed with the next collection.
 */
export function reuseMemory(): void {
  try {
    void new ArrayBuffer(LESSON);
  } catch {
    // Where there is so little memory, nothing is kept.
  }
}

/** From so many bytes on, Buffer repays its call. */
const MANY_BYTES = 4096;

/**
 * Copies as many bytes to `target` as it holds. To and from shared memory V8's set() goes word by word; filling a Buffer with
 * bytes that fill it once is the C library's copy, which takes less than half the time.
 */
export function copyBytes(target: Uint8Array, source: Uint8Array): void {
  if (target.byteLength < MANY_BYTES) target.set(source);
  else Buffer.from(target.buffer, target.byteOffset, target.byteLength).fill(source);
}

/** Memory for results that are all to be written: it holds anything. Throws RangeError where there is none. */
export function unwritten(bytes: number): ArrayBuffer {
  // Node 20 has no Buffer above 4 GB.
  if (bytes < MANY_BYTES || bytes > constants.MAX_LENGTH) return new ArrayBuffer(bytes);
  return Buffer.allocUnsafeSlow(bytes).buffer;
}

/** The bytes as they are now, in memory of their own. Throws RangeError where there is none. */
export function copyOf(source: Uint8Array): ArrayBuffer {
  const own = unwritten(source.byteLength);
  copyBytes(new Uint8Array(own), source);
  return own;
}

/** Reads and compiles a WebAssembly module. */
export async function loadModule(url: string): Promise<WebAssembly.Module> {
  if (url.startsWith('file:')) return WebAssembly.compile(await readFile(new URL(url)));
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP status ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Starts a thread that computes; it does not keep the process alive. */
export function startThread(workerUrl?: string): WorkerHandle {
  const worker = new Worker(new URL(workerUrl ?? new URL('./thread.js', import.meta.url).href), {
    name: 'fovea',
    execArgv: [],
  });
  // Asked once while the worker lives, Node keeps when its loop began, and says −1 for the idle time of a loop that
  // is no more, at once: 'exit' is heard only when this thread's own loop turns.
  const idleTime = () => worker.performance.eventLoopUtilization().idle;
  worker.once('online', idleTime);
  let ended = false;
  worker.once('exit', () => {
    ended = true;
  });
  return {
    post: (message) => worker.postMessage(message),
    listen(received, died) {
      worker.on('message', received);
      worker.on('error', (error) => died(explain(error)));
      worker.on('exit', (code) => died(new Error(`it ended with code ${code}`)));
      worker.unref();
    },
    isDead: () => ended || idleTime() < 0,
    terminate: async () => {
      await worker.terminate();
    },
  };
}

/** A script that was not found is the bundler's doing; the message tells the way out. */
function explain(error: Error): Error {
  if (!(error as { code?: string }).code?.endsWith('MODULE_NOT_FOUND')) return error;
  return new Error(`${error.message}; configure({ workerUrl }) tells where the script is`, { cause: error });
}
