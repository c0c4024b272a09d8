// How a matrix is cut into tiles: 256 × 256 pixels, a pixel being 2^level cells, along each axis a level of its own.
import type { MapView, Span } from './camera.js';

export const TILE = 256;
/** Levels of both axes up to this sum are exact: the four finest where cells are square. */
const EXACT = 6;

export interface Levels {
  readonly queries: number;
  readonly keys: number;
}

export interface Size {
  readonly rows: number;
  readonly columns: number;
}

/** A rectangle of whole cells, and the pixels it is drawn with. */
export interface Region {
  readonly queries: Span;
  readonly keys: Span;
  readonly rows: number;
  readonly columns: number;
}

export interface TilePlace extends Region {
  readonly levels: Levels;
  /** Which tile of its level, from above and from the left. */
  readonly i: number;
  readonly j: number;
  readonly key: string;
}

/** The level at which a cell of `scale` pixels is drawn: tiles' pixels are between 0.9 and 1.8 of the screen's. */
export function levelOf(scale: number): number {
  return Math.max(0, Math.ceil(-Math.log2(scale) - 0.15));
}

export function isExactLevel({ queries, keys }: Levels): boolean {
  return queries + keys <= EXACT;
}

export function tileAt(size: Size, levels: Levels, i: number, j: number): TilePlace {
  const [queries, rows] = part(i, levels.queries, size.rows);
  const [keys, columns] = part(j, levels.keys, size.columns);
  return { levels, i, j, key: `${levels.queries}.${levels.keys}.${i}.${j}`, queries, keys, rows, columns };
}

/** The tiles that a view touches, those in its middle first. */
export function tilesIn(size: Size, levels: Levels, view: MapView): TilePlace[] {
  const [top, bottom] = reach(view.queries, levels.queries, size.rows);
  const [left, right] = reach(view.keys, levels.keys, size.columns);
  const made: TilePlace[] = [];
  for (let i = top; i < bottom; i++) {
    for (let j = left; j < right; j++) made.push(tileAt(size, levels, i, j));
  }
  const middle = ({ queries, keys }: MapView) => [queries[0] + queries[1], keys[0] + keys[1]];
  const [y, x] = middle(view);
  const far = (tile: TilePlace) => {
    const [b, a] = middle(tile);
    return Math.hypot((b - y) / 2 ** levels.queries, (a - x) / 2 ** levels.keys);
  };
  return made.sort((a, b) => far(a) - far(b));
}

/** The smallest region that holds all of some tiles of one level. */
export function regionOf(tiles: readonly TilePlace[]): Region {
  const { levels } = tiles[0];
  const hull = (spans: Span[]): Span => [
    Math.min(...spans.map(([from]) => from)),
    Math.max(...spans.map(([, to]) => to)),
  ];
  const queries = hull(tiles.map((tile) => tile.queries));
  const keys = hull(tiles.map((tile) => tile.keys));
  return {
    queries,
    keys,
    rows: Math.ceil((queries[1] - queries[0]) / 2 ** levels.queries),
    columns: Math.ceil((keys[1] - keys[0]) / 2 ** levels.keys),
  };
}

/** Whether a picture of the region has, pixel by pixel, the cells that its tiles have. */
export function isAligned({ queries, keys }: Region, levels: Levels): boolean {
  return (
    (queries[1] - queries[0]) % 2 ** levels.queries === 0 && (keys[1] - keys[0]) % 2 ** levels.keys === 0
  );
}

/** The part of a picture of `region`, of any size, that lies on a tile: nearest pixels. */
export function cut(
  picture: { readonly data: Float32Array; readonly shape: readonly number[] },
  region: Region,
  tile: TilePlace,
): Float32Array<ArrayBuffer> {
  const { rows, columns } = tile;
  const [height, width] = picture.shape;
  const out = new Float32Array(rows * columns);
  const top = (tile.queries[0] - region.queries[0]) / 2 ** tile.levels.queries;
  const left = (tile.keys[0] - region.keys[0]) / 2 ** tile.levels.keys;
  const [perRow, perColumn] = [height / region.rows, width / region.columns];
  for (let r = 0; r < rows; r++) {
    const from = Math.floor((top + r) * perRow) * width;
    if (perColumn === 1) {
      out.set(picture.data.subarray(from + left, from + left + columns), r * columns);
    } else {
      for (let c = 0; c < columns; c++) {
        out[r * columns + c] = picture.data[from + Math.floor((left + c) * perColumn)];
      }
    }
  }
  return out;
}

/** Whether two parts of a matrix share anything. */
export function overlap(a: MapView, b: MapView): boolean {
  const meet = ([p, q]: Span, [r, s]: Span) => p < s && r < q;
  return meet(a.queries, b.queries) && meet(a.keys, b.keys);
}

function part(index: number, level: number, length: number): [span: Span, pixels: number] {
  const cells = TILE * 2 ** level;
  const from = index * cells;
  const to = Math.min(length, from + cells);
  return [[from, to], Math.ceil((to - from) / 2 ** level)];
}

function reach([from, to]: Span, level: number, length: number): [first: number, end: number] {
  const cells = TILE * 2 ** level;
  const end = Math.ceil(Math.min(to, length) / cells);
  return [Math.min(Math.floor(Math.max(0, from) / cells), Math.max(0, end - 1)), end];
}
