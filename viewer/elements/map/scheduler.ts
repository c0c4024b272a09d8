// Decides what to compute: for the newest view first a quick picture of all that is missing, then, at the finest levels,
// exact tiles from the middle outwards; above these the picture goes on getting sharper. What left the view is stopped.
import type { AttentionMap, PooledWeights } from 'fovea';
import { Spread } from './colours.js';
import { type Subject, sketch } from './sketch.js';
import type { TileCache } from './tile-cache.js';
import {
  cut,
  isAligned,
  isExactLevel,
  type Levels,
  overlap,
  type Region,
  regionOf,
  type TilePlace,
} from './tiles.js';

export interface Tile extends TilePlace {
  /** Name of its subject. */
  readonly subject: string;
  readonly data: Float32Array<ArrayBuffer>;
  readonly spread: Spread;
  /** Share of its queries that was read: 1 is exact. */
  readonly fraction: number;
  /** Milliseconds that went into it, for all that was computed with it. */
  readonly spent: number;
  readonly bytes: number;
}

/** What the frame shows. */
export interface Want {
  readonly map: AttentionMap;
  readonly subject: Subject;
  /** Distinguishes subjects in the cache. */
  readonly name: string;
  readonly levels: Levels;
  /** Tiles in view, the most important first. */
  readonly tiles: readonly TilePlace[];
}

interface Job {
  readonly name: string;
  readonly region: Region;
  readonly levels: Levels;
  readonly stop: AbortController;
  /** Tiles that it makes. */
  readonly tiles: readonly TilePlace[];
  /** Whether it has given a picture. */
  given: boolean;
}

/** Exact tiles computed at a time: one is computed while the next is on its way. */
const AT_ONCE = 2;
/** How long one view is sharpened, in milliseconds; longer where it then becomes exact soon. */
const PATIENCE = 20_000;
const SOON = 45_000;
/** Milliseconds of cutting a picture into tiles before the page may draw a frame. */
const TAKING = 6;
/** Numbers and colours of a tile. */
const BYTES_PER_PIXEL = 8;

export class Scheduler {
  private want: Want | undefined;
  private sharpening: Job | undefined;
  private readonly exact = new Map<string, Job>();

  constructor(
    private readonly cache: TileCache<Tile>,
    private readonly told: { onTiles(): void; onError(error: unknown): void },
  ) {}

  /** Whether anything is being computed. */
  get busy(): boolean {
    return this.sharpening !== undefined || this.exact.size > 0;
  }

  look(want: Want): void {
    this.want = want;
    this.next();
  }

  stop(): void {
    this.want = undefined;
    this.sharpening?.stop.abort();
    this.sharpening = undefined;
    for (const job of this.exact.values()) job.stop.abort();
    this.exact.clear();
  }

  private tile(place: TilePlace): Tile | undefined {
    return this.cache.peek(`${this.want?.name} ${place.key}`);
  }

  /** Stops what nobody looks at, and starts what comes next. */
  private next(): void {
    const { want } = this;
    if (!want) return;
    this.stopStale(want);
    if (this.sharpening && !this.sharpening.given) return;
    const missing = want.tiles.filter((place) => !this.tile(place));
    if (missing.length > 0) {
      if (this.sharpening && missing.every((place) => this.sharpening!.tiles.includes(place))) return;
      this.sharpening?.stop.abort();
      this.sharpen(want, missing);
    } else if (isExactLevel(want.levels)) {
      for (const place of want.tiles) {
        if (this.exact.size >= AT_ONCE) break;
        if (this.tile(place)!.fraction < 1 && !this.exact.has(place.key)) this.compute(want, place);
      }
    } else if (!this.sharpening) {
      const rough = this.roughest(want.tiles);
      if (rough.length > 0) this.sharpen(want, rough);
    }
  }

  private stopStale({ name, tiles, levels }: Want): void {
    const keys = new Set(tiles.map(({ key }) => key));
    for (const [key, job] of this.exact) {
      if (job.name === name && keys.has(key)) continue;
      job.stop.abort();
      this.exact.delete(key);
    }
    const job = this.sharpening;
    if (!job) return;
    // A first picture is let come, or a moving view would never show any.
    const useful = job.given
      ? sameLevels(job.levels, levels) && job.tiles.some(({ key }) => keys.has(key))
      : tiles.some((place) => overlap(place, job.region));
    if (job.name === name && useful) return;
    job.stop.abort();
    this.sharpening = undefined;
  }

  /** Tiles that less was read of than of others, where patience is left. */
  private roughest(tiles: readonly TilePlace[]): TilePlace[] {
    const open = tiles.filter((place) => {
      const { fraction, spent } = this.tile(place)!;
      return fraction < 1 && spent < PATIENCE;
    });
    const least = Math.min(...open.map((place) => this.tile(place)!.fraction));
    return open.filter((place) => this.tile(place)!.fraction <= 2 * least);
  }

  private sharpen(want: Want, tiles: readonly TilePlace[]): void {
    const region = regionOf(tiles);
    const inside = want.tiles.filter((place) => overlap(place, region));
    const job: Job = {
      name: want.name,
      region,
      levels: want.levels,
      stop: new AbortController(),
      tiles: inside,
      given: false,
    };
    this.sharpening = job;
    this.run(job, async () => {
      const start = performance.now();
      for await (const picture of sketch(want.map, want.subject, region, job.stop.signal)) {
        if (job.stop.signal.aborted) return;
        const spent = performance.now() - start;
        await this.take(job, picture, spent);
        if (job.stop.signal.aborted) return;
        job.given = true;
        if (isExactLevel(job.levels)) return;
        if (spent > PATIENCE && spent / picture.fraction > SOON) return;
        // The view may have moved on meanwhile.
        this.next();
        if (job.stop.signal.aborted) return;
      }
    }).finally(() => {
      if (this.sharpening === job) this.sharpening = undefined;
      this.next();
    });
  }

  private compute(want: Want, place: TilePlace): void {
    const stop = new AbortController();
    const job: Job = {
      name: want.name,
      region: place,
      levels: place.levels,
      stop,
      tiles: [place],
      given: false,
    };
    this.exact.set(place.key, job);
    this.run(job, async () => {
      const { queries, keys, rows, columns } = place;
      const request = { ...want.subject, queries, keys, rows, columns, signal: stop.signal };
      await this.take(job, await want.map.pool(request), 0);
    }).finally(() => {
      if (this.exact.get(place.key) === job) this.exact.delete(place.key);
      this.next();
    });
  }

  private async run(job: Job, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (job.stop.signal.aborted) return;
      this.stop();
      this.told.onError(error);
    }
  }

  /** Keeps what a picture has of each tile, where it is better than what is there; a few milliseconds' worth at a time. */
  private async take(job: Job, picture: PooledWeights, spent: number): Promise<void> {
    let end = performance.now() + TAKING;
    for (const place of job.tiles) {
      if (performance.now() > end) {
        this.told.onTiles();
        await new Promise((resolve) => setTimeout(resolve));
        if (job.stop.signal.aborted) return;
        end = performance.now() + TAKING;
      }
      this.keep(job, place, picture, spent);
    }
    this.told.onTiles();
  }

  private keep(job: Job, place: TilePlace, picture: PooledWeights, spent: number): void {
    const alone = job.tiles.length === 1 && job.tiles[0] === job.region;
    const fits = alone || !isExactLevel(job.levels) || isAligned(job.region, job.levels);
    const fraction = fits ? picture.fraction : Math.min(picture.fraction, 0.999);
    const key = `${job.name} ${place.key}`;
    const before = this.cache.peek(key);
    if (before && before.fraction >= fraction && before.spent >= spent) return;
    if (before && before.fraction > fraction) {
      this.cache.set(key, { ...before, spent });
      return;
    }
    const data = alone ? (picture.data as Float32Array<ArrayBuffer>) : cut(picture, job.region, place);
    const bytes = BYTES_PER_PIXEL * data.length;
    this.cache.set(key, {
      ...{ ...place, subject: job.name, data, spread: Spread.of(data) },
      ...{ fraction, spent, bytes },
    });
  }
}

function sameLevels(a: Levels, b: Levels): boolean {
  return a.queries === b.queries && a.keys === b.keys;
}
