// How a long reading is watched: told how far it is, stopped by a signal between parts, and other work let in between.
import { OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';

/** What every reading that may take long accepts. */
export interface Watch {
  /** Ends the reading between two parts: it rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Told after each part what share of the work is done, up to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** Milliseconds of work between two turns of the event loop. */
const TURN = 16;

/** Lets everything that waits have its turn. Timers that follow each other wait 4 ms in browsers: a message does not. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => {
        port1.close();
        resolve();
      };
      port2.postMessage(0);
    }
  });
}

/** Throws OptionError. */
export function checkWatch({ signal, onProgress }: Watch): void {
  if (signal !== undefined && typeof (signal as Partial<AbortSignal> | null)?.throwIfAborted !== 'function') {
    throw new OptionError(`signal is an AbortSignal, got ${describe(signal)}`);
  }
  if (onProgress !== undefined && typeof onProgress !== 'function') {
    throw new OptionError(`onProgress is a function, got ${describe(onProgress)}`);
  }
}

/** The progress of one reading over `total` units of work. */
export class Progress {
  private done = 0;
  private since: number | undefined;

  constructor(
    private readonly total: number,
    private readonly watch: Watch = {},
  ) {
    checkWatch(watch);
    watch.signal?.throwIfAborted();
  }

  /** Call before each part: now and then it lets the event loop turn, so that a signal can be heard. */
  async next(): Promise<void> {
    this.since ??= performance.now();
    if (performance.now() - this.since > TURN) {
      await turn();
      this.since = performance.now();
    }
    this.watch.signal?.throwIfAborted();
  }

  /** Waits for a promise, and no longer than until the signal: then it rejects with its reason. */
  async wait<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.watch;
    if (signal === undefined) return promise;
    signal.throwIfAborted();
    let heard = () => {};
    const stopped = new Promise<never>((_, reject) => {
      heard = () => reject(signal.reason);
      signal.addEventListener('abort', heard);
    });
    try {
      return await Promise.race([promise, stopped]);
    } finally {
      signal.removeEventListener('abort', heard);
    }
  }

  /** Of work that comes on top, and is only stopped. */
  aside(): Progress {
    return new Progress(1, { signal: this.watch.signal });
  }

  advance(units: number): void {
    this.done += units;
    this.watch.onProgress?.(this.done < this.total ? this.done / this.total : 1);
  }
}
