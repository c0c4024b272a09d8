// What an engine asks of the machine around it, in browsers. platform.node.ts has the same exports.
import type { WorkerHandle } from './platform.js';
import { handleOf } from './worker-handle.js';

/** Whether this thread may wait for others: workers may, a page may not. */
export const mayBlock = 'DedicatedWorkerGlobalScope' in globalThis;

/** Whether memory can be shared with workers. */
export const mayShare = globalThis.crossOriginIsolated === true;

/** Threads that make sense here. */
export function cores(): number {
  return globalThis.navigator?.hardwareConcurrency ?? 1;
}

/** Browsers keep freed memory as they see fit. */
export function reuseMemory(): void {}

/** Copies as many bytes to `target` as it holds. */
export function copyBytes(target: Uint8Array, source: Uint8Array): void {
  target.set(source);
}

/** Memory for results that are all to be written. Throws RangeError where there is none. */
export function unwritten(bytes: number): ArrayBuffer {
  return new ArrayBuffer(bytes);
}

/** The bytes as they are now, in memory of their own, which slice() would write twice. */
export function copyOf(source: Uint8Array): ArrayBuffer {
  return new Uint8Array(source).buffer;
}

/** Fetches and compiles a WebAssembly module. */
export async function loadModule(url: string): Promise<WebAssembly.Module> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP status ${response.status}`);
  const type = response.headers.get('Content-Type') ?? '';
  if (type.startsWith('application/wasm')) return WebAssembly.compileStreaming(response);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** Starts a thread that computes. The literal expression is what bundlers rewrite. */
export function startThread(workerUrl?: string): WorkerHandle {
  return handleOf(
    workerUrl
      ? new Worker(workerUrl, { type: 'module' })
      : new Worker(new URL('./thread.js', import.meta.url), { type: 'module' }),
  );
}
