// A worker's side of the line to its owner, in Node. port.browser.ts has the same exports.
import { parentPort } from 'node:worker_threads';

export function receive(received: (message: unknown) => void): void {
  parentPort?.on('message', received);
}

/** Node tells a worker's end by itself. */
export function showLife(): void {}

export function report(message: unknown, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}
