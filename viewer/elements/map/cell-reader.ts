// Reads the exact weight of the cell that is pointed at, once the pointer rests for a moment.
import type { AttentionMap } from 'fovea';
import type { Cell } from './crosshair.js';
import type { Subject } from './sketch.js';

export interface CellReading extends Cell {
  readonly weight: number;
  /** −∞ where the weight is 0. */
  readonly score: number;
}

/** Milliseconds. */
const REST = 40;

export class CellReader {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private reading: AbortController | undefined;

  constructor(
    private readonly told: (reading: CellReading) => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  read(map: AttentionMap, { batch, head }: Subject, { query, key }: Cell): void {
    this.stop();
    this.reading = new AbortController();
    const { signal } = this.reading;
    this.timer = setTimeout(async () => {
      try {
        const place = { batch, head, queries: [query, query + 1], keys: [key, key + 1], signal } as const;
        const row = map.logSumExp({ batch, head, query, signal });
        const [{ data }, logSumExp] = await Promise.all([map.tile(place), row]);
        const [weight] = data;
        if (!signal.aborted) this.told({ query, key, weight, score: Math.log(weight) + logSumExp });
      } catch (error) {
        if (!signal.aborted) this.failed(error);
      }
    }, REST);
  }

  /** Forgets what was asked. */
  stop(): void {
    clearTimeout(this.timer);
    this.reading?.abort();
  }
}
