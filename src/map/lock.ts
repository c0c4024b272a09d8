// Questions that would do the same work take turns, so that the later finds it done.
import type { Progress } from './progress.js';

export class Lock {
  private last: Promise<unknown> = Promise.resolve();

  /** Runs `work` after all that came before; rejects at once when the watch is stopped meanwhile. */
  async run<T>(watch: Progress, work: () => Promise<T>): Promise<T> {
    const before = this.last;
    let leave = () => {};
    const own = new Promise<void>((resolve) => {
      leave = resolve;
    });
    this.last = before.then(() => own);
    try {
      await watch.wait(before);
      return await work();
    } finally {
      leave();
    }
  }
}
