// Reads the exact weight of the cell that is pointed at, once the pointer rests for a moment.
import type { AttentionMap } from 'fovea';
import type { Subject } from './sketch.js';

export interface CellReading {
  readonly query: number;
  readonly key: number;
  readonly weight: number;
}

/** Milliseconds. */
const REST = 40;

export class CellReader {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private turn = 0;

  constructor(
    private readonly told: (reading: CellReading) => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  read(map: AttentionMap, { batch, head }: Subject, query: number, key: number): void {
    this.stop();
    const turn = this.turn;
    this.timer = setTimeout(async () => {
      try {
        const { data } = await map.tile({ batch, head, queries: [query, query + 1], keys: [key, key + 1] });
        if (turn === this.turn) this.told({ query, key, weight: data[0] });
      } catch (error) {
        if (turn === this.turn) this.failed(error);
      }
    }, REST);
  }

  /** Forgets what was asked. */
  stop(): void {
    clearTimeout(this.timer);
    this.turn++;
  }
}
