// What a frame shows of a map: camera, tiles, colours. Draws a frame when told to; says when another one is due.
import type { AttentionMap } from 'fovea';
import { Camera, type Frame } from './camera.js';
import { fittedRange, type Range, type Scale, Spread, validRange } from './colours.js';
import { Overview } from './overview.js';
import { type Colours, Painter } from './painter.js';
import { Scheduler, type Tile } from './scheduler.js';
import type { Subject } from './sketch.js';
import { TileCache } from './tile-cache.js';
import { type Levels, levelOf, overlap, type TilePlace, tilesIn } from './tiles.js';

/** Bytes of tiles that are kept, numbers and colours. */
export const BUDGET = 64 * 2 ** 20;
/** After so many milliseconds of rest the colours are fitted to the view again. */
const REST = 180;
/** Fitted ends that would move by less than this factor stay. */
const STILL = 1.12;

/** What is known of the picture in the frame. */
export interface Seen {
  /** Share of the queries in view that was read, 1 where all is exact; undefined until a picture covers the view. */
  readonly fraction: number | undefined;
  readonly levels: Levels;
  readonly spread: Spread;
  readonly range: Range;
}

export class Surface {
  readonly cache = new TileCache<Tile>(BUDGET);
  camera = new Camera(1, 1, { width: 1, height: 1 });
  scale: Scale = 'linear';
  /** Locked where given. */
  range: Range | undefined;
  table = new Uint32Array(1024);
  private map: AttentionMap | undefined;
  private subject: Subject = { batch: 0, head: 0, reduce: 'mean' };
  /** Distinguishes what is shown. */
  name = '';
  /** What was shown before, until the first picture of what is shown now. */
  private before = '';
  private maps = 0;
  private fitted: { range: Range; scale: Scale; name: string; levels: string } | undefined;
  private colours: Colours | undefined;
  private readonly painter = new Painter();
  private readonly scheduler: Scheduler;
  readonly overview: Overview;
  private counted: { tiles: readonly Tile[]; spread: Spread } = { tiles: [], spread: new Spread() };
  private moved = 0;
  private resting: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly told: { changed(): void; failed(error: unknown): void }) {
    const { changed, failed } = told;
    this.scheduler = new Scheduler(this.cache, { onTiles: changed, onError: failed });
    this.overview = new Overview(changed);
  }

  show(map: AttentionMap | undefined, subject: Subject): void {
    if (map !== this.map) {
      this.stop();
      this.cache.clear();
      this.map = map;
      this.maps++;
    }
    this.subject = subject;
    const name = `${this.maps}/${subject.batch}/${subject.head}/${subject.reduce}`;
    if (name !== this.name) [this.before, this.name] = [this.name, name];
  }

  /** Lays the map out in a frame: the same view of a map of the same size, else all of it. */
  layOut(frame: Frame): void {
    const [rows, columns] = this.map ? this.map.shape.slice(2) : [1, 1];
    const same = this.camera.rows === rows && this.camera.columns === columns;
    this.camera = same ? this.camera.reframed(frame) : new Camera(rows, columns, frame);
  }

  /** Call when the camera moved. */
  touch(): void {
    this.moved = performance.now();
    clearTimeout(this.resting);
    this.resting = setTimeout(this.told.changed, REST + 1);
  }

  get levels(): Levels {
    const { x, y } = this.camera.scale;
    return { queries: levelOf(y), keys: levelOf(x) };
  }

  /** Whether some view of the map shows many cells in one pixel. */
  get isPooled(): boolean {
    const whole = new Camera(this.camera.rows, this.camera.columns, this.camera.frame).scale;
    return Math.min(whole.x, whole.y) < 1;
  }

  get busy(): boolean {
    return this.scheduler.busy;
  }

  /** Draws what there is, `empty` where there is nothing yet. False: call again in the next frame. */
  draw(context: CanvasRenderingContext2D, ratio: number, empty: string): boolean {
    const { canvas } = context;
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.map) return true;
    this.fillMatrix(context, ratio, empty);
    return this.painter.paint(context, this.drawn(), this.camera, this.chooseColours(), ratio);
  }

  /** Draws everything with its final colours. */
  drawFully(context: CanvasRenderingContext2D, ratio: number): void {
    if (!this.map) return;
    new Painter().paint(context, this.drawn(), this.camera, this.chooseColours(), ratio, false);
  }

  /** Asks for what is missing. */
  look(): void {
    const { map, subject, name, levels } = this;
    if (!map) return;
    this.scheduler.look({ map, subject, name, levels, tiles: this.places() });
    const there = this.places().every((place) => this.tileOf(place));
    const rests = performance.now() - this.moved > REST;
    if (there && rests && !this.camera.isWhole) this.overview.look(map, subject, name);
  }

  get seen(): Seen {
    const tiles = this.here();
    const spread = this.spreadOf(tiles);
    const complete = tiles.length > 0 && tiles.length === this.places().length;
    const fraction = complete ? Math.min(...tiles.map((tile) => tile.fraction)) : undefined;
    return { fraction, levels: this.levels, spread, range: this.chooseColours().range };
  }

  /** What the pixel at a cell shows: many cells' weights as one; undefined where nothing was computed. */
  pooledAt(query: number, key: number): { value: number; exact: boolean } | undefined {
    const at = { queries: [query, query + 1], keys: [key, key + 1] } as const;
    const tile = this.here().find((one) => overlap(one, at));
    if (!tile) return undefined;
    const part = (x: number, [from, to]: readonly [number, number], n: number) =>
      Math.min(n - 1, Math.floor(((x + 0.5 - from) / (to - from)) * n));
    const r = part(query, tile.queries, tile.rows);
    const c = part(key, tile.keys, tile.columns);
    return { value: tile.data[r * tile.columns + c], exact: tile.fraction === 1 };
  }

  /** The cells in view, where they are exact, one to a pixel, and at most so many. */
  cells(most: number): { query: number; key: number; weight: number }[] | undefined {
    const { queries, keys } = this.camera.view;
    const [a, b] = [Math.floor(queries[0]), Math.ceil(queries[1])];
    const [c, d] = [Math.floor(keys[0]), Math.ceil(keys[1])];
    const { fraction, levels } = this.seen;
    if (fraction !== 1 || levels.queries + levels.keys > 0 || (b - a) * (d - c) > most) return undefined;
    const made: { query: number; key: number; weight: number }[] = [];
    for (let query = a; query < b; query++) {
      for (let key = c; key < d; key++) {
        const weight = this.pooledAt(query, key)?.value;
        if (weight !== undefined) made.push({ query, key, weight });
      }
    }
    return made;
  }

  stop(): void {
    this.scheduler.stop();
    this.overview.stop();
  }

  private fillMatrix(context: CanvasRenderingContext2D, ratio: number, colour: string): void {
    const { queries, keys } = this.camera.view;
    const from = this.camera.pointOf(keys[0], queries[0]);
    const to = this.camera.pointOf(keys[1], queries[1]);
    context.fillStyle = colour;
    context.fillRect(from.x * ratio, from.y * ratio, (to.x - from.x) * ratio, (to.y - from.y) * ratio);
  }

  private places(): TilePlace[] {
    return tilesIn(this.camera, this.levels, this.camera.view);
  }

  private tileOf({ key }: TilePlace): Tile | undefined {
    return this.cache.get(`${this.name} ${key}`);
  }

  /** The tiles of the view's own level that are there. */
  private here(): Tile[] {
    return this.places().flatMap((place) => this.tileOf(place) ?? []);
  }

  /** All that is worth drawing, what matters most last: own tiles, or under them what else there is. */
  private drawn(): Tile[] {
    const places = this.places();
    const own = places.flatMap((place) => this.tileOf(place) ?? []);
    if (own.length === places.length) return own;
    const { view } = this.camera;
    const { queries, keys } = this.levels;
    const far = ({ levels }: Tile) => Math.abs(levels.queries - queries) + Math.abs(levels.keys - keys);
    const there = [...this.cache.values()].filter((tile) => overlap(tile, view));
    const current = there.filter((tile) => tile.subject === this.name);
    const whole = this.overview.tileOf(this.name);
    const old = current.length === 0 && !whole;
    const shown = old ? there.filter((tile) => tile.subject === this.before) : current;
    return [...(whole ? [whole] : []), ...shown.sort((a, b) => far(b) - far(a))];
  }

  /** The same object while the tiles are the same. */
  private spreadOf(tiles: readonly Tile[]): Spread {
    const { counted } = this;
    if (counted.tiles.length === tiles.length && tiles.every((tile, i) => tile === counted.tiles[i])) {
      return counted.spread;
    }
    const spread = new Spread();
    for (const tile of tiles) spread.add(tile.spread);
    this.counted = { tiles, spread };
    return spread;
  }

  private chooseColours(): Colours {
    const { scale, table } = this;
    const range = validRange(this.range, scale) ?? this.fit();
    const old = this.colours;
    const same =
      old?.table === table && old.scale === scale && old.range[0] === range[0] && old.range[1] === range[1];
    this.colours = same ? old : { table, scale, range };
    return this.colours!;
  }

  /** The fitted range: chosen anew when the view rests, or shows another level or subject. */
  private fit(): Range {
    const { fitted, scale, name } = this;
    const levels = `${this.levels.queries} ${this.levels.keys}`;
    const other = fitted?.scale !== scale || fitted.name !== name || fitted.levels !== levels;
    if (fitted && !other && performance.now() - this.moved < REST) return fitted.range;
    const tiles = this.here();
    if (tiles.length === 0) return fitted?.scale === scale ? fitted.range : fittedRange(new Spread(), scale);
    const range = fittedRange(this.spreadOf(tiles), scale);
    const near = (a: number, b: number) => a === b || (a > 0 && b > 0 && Math.max(a / b, b / a) < STILL);
    const still = fitted && !other && near(range[0], fitted.range[0]) && near(range[1], fitted.range[1]);
    this.fitted = { range: still ? fitted.range : range, scale, name, levels };
    return this.fitted.range;
  }
}
