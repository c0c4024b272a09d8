// One small picture of the whole map: the minimap's, and what lies under tiles that are not there yet.
import type { AttentionMap } from 'fovea';
import { Spread } from './colours.js';
import type { Tile } from './scheduler.js';
import { type Subject, sketch } from './sketch.js';

/** Pixels of its longer side at most. */
const PIXELS = 160;
/** Milliseconds that it is sharpened. */
const ENOUGH = 300;

export class Overview {
  private name = '';
  private tile: Tile | undefined;
  private running: AbortController | undefined;

  constructor(private readonly changed: () => void) {}

  tileOf(name: string): Tile | undefined {
    return name === this.name ? this.tile : undefined;
  }

  /** Makes the picture, unless it is there or on its way. */
  look(map: AttentionMap, subject: Subject, name: string): void {
    if (name === this.name) return;
    this.stop();
    this.name = name;
    this.running = new AbortController();
    // Without a picture there is no minimap, and the tiles tell what went wrong.
    this.make(map, subject, name, this.running).catch(() => {});
  }

  stop(): void {
    this.running?.abort();
    this.running = undefined;
    this.tile = undefined;
    this.name = '';
  }

  private async make(
    map: AttentionMap,
    subject: Subject,
    name: string,
    stop: AbortController,
  ): Promise<void> {
    const { signal } = stop;
    const [queries, keys] = map.shape.slice(2);
    const [rows, columns] = [Math.min(PIXELS, queries), Math.min(PIXELS, keys)];
    const region = { queries: [0, queries], keys: [0, keys], rows, columns } as const;
    for await (const { data, shape, fraction } of sketch(map, subject, region, signal)) {
      if (signal.aborted) return;
      const numbers = data as Float32Array<ArrayBuffer>;
      const [height, width] = shape;
      // What comes much later would take the engine from what is looked at.
      if (!this.tile) setTimeout(() => stop.abort(), ENOUGH);
      this.tile = {
        ...{ subject: name, key: 'overview', i: 0, j: 0, levels: { queries: 99, keys: 99 } },
        ...{ queries: region.queries, keys: region.keys, rows: height, columns: width },
        ...{ data: numbers, spread: Spread.of(numbers), fraction, spent: 0, bytes: 0 },
      };
      this.changed();
    }
  }
}
