// Draws tiles into a canvas: those of the view's own level over whatever else is there. Tiles are recoloured from their
// numbers when the colours change, a few in each frame.
import type { Camera } from './camera.js';
import { colourise, type Range, type Scale } from './colours.js';
import type { Tile } from './scheduler.js';

/** How numbers become colours. */
export interface Colours {
  readonly table: Uint32Array;
  readonly scale: Scale;
  readonly range: Range;
}

/** Says where cells lie. */
export type Placing = Pick<Camera, 'pointOf'>;

/** Milliseconds of colouring in one frame. */
const COLOURING = 6;
/** Drawn pixels larger than this on the screen keep sharp edges. */
const SHARP = 2;

interface Coloured {
  readonly canvas: OffscreenCanvas;
  colours: Colours;
}

export class Painter {
  private readonly coloured = new WeakMap<Tile, Coloured>();

  /** Draws tiles in order. False: some still have old colours (or none), and another frame is due. */
  paint(
    context: CanvasRenderingContext2D,
    tiles: readonly Tile[],
    camera: Placing,
    colours: Colours,
    ratio: number,
    patient = true,
  ): boolean {
    const end = patient ? performance.now() + COLOURING : Number.POSITIVE_INFINITY;
    // What was never coloured cannot be drawn: it comes before what only has old colours.
    const stale = tiles.filter((tile) => this.coloured.get(tile)?.colours !== colours);
    stale.sort((a, b) => Number(this.coloured.has(a)) - Number(this.coloured.has(b)));
    let done = 0;
    for (; done < stale.length && performance.now() < end; done++) this.colour(stale[done], colours);
    for (const tile of tiles) {
      const canvas = this.coloured.get(tile)?.canvas;
      if (canvas) draw(context, canvas, tile, camera, ratio);
    }
    return done === stale.length;
  }

  private colour(tile: Tile, colours: Colours): void {
    const canvas = this.coloured.get(tile)?.canvas ?? new OffscreenCanvas(tile.columns, tile.rows);
    const context = canvas.getContext('2d')!;
    const image = context.createImageData(tile.columns, tile.rows);
    const pixels = new Uint32Array(image.data.buffer);
    colourise(tile.data, pixels, colours.table, colours.scale, colours.range);
    context.putImageData(image, 0, 0);
    this.coloured.set(tile, { canvas, colours });
  }
}

/** Edges lie on whole device pixels, so that neighbours meet without a seam. */
function draw(
  context: CanvasRenderingContext2D,
  canvas: OffscreenCanvas,
  { queries, keys }: Tile,
  camera: Placing,
  ratio: number,
): void {
  const from = camera.pointOf(keys[0], queries[0]);
  const to = camera.pointOf(keys[1], queries[1]);
  const [x, y] = [Math.round(from.x * ratio), Math.round(from.y * ratio)];
  const [width, height] = [Math.round(to.x * ratio) - x, Math.round(to.y * ratio) - y];
  if (width < 1 || height < 1) return;
  const magnified = Math.min(width / canvas.width, height / canvas.height);
  context.imageSmoothingEnabled = magnified < SHARP;
  context.imageSmoothingQuality = 'medium';
  context.drawImage(canvas, x, y, width, height);
}
