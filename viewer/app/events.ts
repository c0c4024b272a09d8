// What views tell the page, which alone holds the state.
import type { PageState } from './state.js';

export interface StateChange {
  readonly patch: Partial<PageState>;
  /** Whether Back returns to what was before. */
  readonly push: boolean;
}

/** Asks the page for another state. */
export function change(from: EventTarget, patch: Partial<PageState>, push = false): void {
  const detail: StateChange = { patch, push };
  from.dispatchEvent(new CustomEvent('page-change', { detail, bubbles: true, composed: true }));
}

/** Hands the page an error for its message line. */
export function report(from: EventTarget, error: unknown): void {
  from.dispatchEvent(new CustomEvent('page-error', { detail: error, bubbles: true, composed: true }));
}

/** Of several works begun one after another, only the newest's result counts. */
export class Latest {
  private number = 0;
  private controller = new AbortController();

  /** Aborts the work before; `undefined` if newer work began meanwhile. */
  async run<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    this.stop();
    const number = this.number;
    try {
      const result = await work(this.controller.signal);
      return number === this.number ? result : undefined;
    } catch (error) {
      if (number === this.number) throw error;
      return undefined;
    }
  }

  stop(): void {
    this.number++;
    this.controller.abort();
    this.controller = new AbortController();
  }
}
