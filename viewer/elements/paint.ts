// Small pictures of weights on a canvas, one pixel a cell, scaled to their own maximum.
import { viridis } from 'fovea/inspect';

export interface Picture {
  /** Row-major [rows, columns], from 0. */
  readonly data: ArrayLike<number>;
  readonly rows: number;
  readonly columns: number;
}

const STEPS = 256;
let table: Uint32Array | undefined;

/** Colours as a canvas holds them, of square roots: small weights show. */
function colours(): Uint32Array {
  table ??= Uint32Array.from({ length: STEPS }, (_, i) => {
    const [red, green, blue] = viridis(Math.sqrt(i / (STEPS - 1)));
    return new Uint32Array(Uint8Array.of(red, green, blue, 255).buffer)[0];
  });
  return table;
}

export function paintPicture(canvas: HTMLCanvasElement, { data, rows, columns }: Picture): void {
  canvas.width = columns;
  canvas.height = rows;
  // Kept where the page's own thread writes: dozens of small ones are not worth the way to a graphics card.
  const context = canvas.getContext('2d', { willReadFrequently: true });
  if (!context || rows * columns === 0) return;
  let most = 0;
  for (let n = 0; n < rows * columns; n++) if (data[n] > most) most = data[n];
  const image = context.createImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const table = colours();
  const factor = most > 0 ? (STEPS - 1) / most : 0;
  for (let n = 0; n < pixels.length; n++) pixels[n] = table[(data[n] * factor) | 0];
  context.putImageData(image, 0, 0);
}
