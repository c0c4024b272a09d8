// The shape of a worker as its owner sees it, on every platform.

export interface WorkerHandle {
  post(message: unknown, transfer?: ArrayBuffer[]): void;
  /** `died` is called, perhaps more than once, when the worker cannot start, throws or ends. */
  listen(received: (message: unknown) => void, died: (reason: unknown) => void): void;
  /** True once the worker is known to have ended; can be asked while events wait. False where nothing tells. */
  isDead(): boolean;
  terminate(): Promise<void>;
}
