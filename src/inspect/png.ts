// Figures as PNG, with no font and no native code: text is drawn with a pen, see lettering.ts.
import { encode } from 'fast-png';
import { Progress, type Watch } from '../map/progress.js';
import { OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import { checkFigure, type Figure } from './figure.js';
import { type DrawnCells, type DrawnText, layOut } from './layout.js';
import { letter } from './lettering.js';
import { coloursOf, type PaletteName, type Rgb } from './palette.js';

export interface PngOptions extends Watch {
  /** Pixels of the picture for one of the layout's: 2 is for screens and slides, 4 for print. Default 2. */
  readonly scale?: number;
}

/** Most pixels of a picture. */
const MOST_PIXELS = 2 ** 26;
/** Pixels between two looks at the clock. */
const PART = 2 ** 17;
/** Width of a pen's line, in em. */
const PEN = 0.095;

/**
 * A figure as a PNG file, the same picture as drawSvg(). Its letters are Latin with accents, and Hangul; a character of
 * another script is an empty box: draw SVG for those.
 * Rejects with OptionError for a figure that is empty, too large or does not fit, and for a scale that is not 1 to 8, and
 * with the signal's reason.
 */
export async function drawPng(figure: Figure, { scale = 2, ...watch }: PngOptions = {}): Promise<Uint8Array> {
  if (!(typeof scale === 'number' && scale >= 1 && scale <= 8))
    throw new OptionError(`drawPng: scale is a number from 1 to 8, got ${describe(scale)}`);
  const checked = checkFigure('drawPng', figure);
  const drawing = layOut(checked);
  const [width, height] = [drawing.width, drawing.height].map((side) => Math.round(side * scale));
  if (width * height > MOST_PIXELS)
    throw new OptionError(
      `drawPng: ${width} × ${height} pixels, more than ${MOST_PIXELS}; use a smaller scale`,
    );
  const progress = new Progress(height, watch);
  const ink = new Float32Array(width * height);
  for (const text of drawing.texts) {
    await progress.next();
    drawText(ink, width, text, scale);
  }
  for (const line of drawing.lines)
    drawLine(
      ink,
      width,
      line.map((x) => x * scale),
      scale / 2,
    );
  const grids = [...drawing.panels, drawing.bar].map((cells) => new Grid(cells, scale, checked.palette));
  const data = new Uint8Array(3 * width * height).fill(255);
  const step = Math.max(1, Math.floor(PART / width));
  for (let from = 0; from < height; from += step) {
    await progress.next();
    const to = Math.min(height, from + step);
    for (let y = from; y < to; y++) {
      const line = data.subarray(3 * y * width, 3 * (y + 1) * width);
      for (const grid of grids) grid.drawLine(y, line);
      blend(ink.subarray(y * width, (y + 1) * width), line);
    }
    progress.advance(to - from);
  }
  await progress.next();
  return encode({ width, height, data, channels: 3 });
}

/** Grey of text. */
const INK = 0x22;

function blend(ink: Float32Array, line: Uint8Array): void {
  for (let x = 0; x < ink.length; x++) {
    if (ink[x] === 0) continue;
    const at = 3 * x;
    for (let c = at; c < at + 3; c++) line[c] = Math.round(line[c] + (INK - line[c]) * ink[x]);
  }
}

/** Cells whose edges lie on pixels, drawn from the top down. */
class Grid {
  private readonly colours: readonly Rgb[];
  private readonly rows: Int32Array;
  private readonly columns: Int32Array;
  private row = 0;

  constructor(
    private readonly cells: DrawnCells,
    scale: number,
    palette: PaletteName,
  ) {
    const { x, y, width, height } = cells;
    const edges = (origin: number, side: number, count: number) =>
      Int32Array.from({ length: count + 1 }, (_, n) => Math.round((origin + (side * n) / count) * scale));
    this.rows = edges(y, height, cells.rows);
    this.columns = edges(x, width, cells.columns);
    this.colours = coloursOf(palette);
  }

  /** Draws what lies on line y, which is below the line before. */
  drawLine(y: number, line: Uint8Array): void {
    const { columns, levels } = this.cells;
    while (this.row < this.cells.rows && this.rows[this.row + 1] <= y) this.row++;
    if (this.row === this.cells.rows || y < this.rows[this.row]) return;
    for (let j = 0; j < columns; j++) {
      const level = levels[this.row * columns + j];
      if (level < 0) continue;
      const [r, g, b] = this.colours[level];
      for (let at = 3 * this.columns[j]; at < 3 * this.columns[j + 1]; at += 3) {
        line[at] = r;
        line[at + 1] = g;
        line[at + 2] = b;
      }
    }
  }
}

function drawText(ink: Float32Array, stride: number, drawn: DrawnText, scale: number): void {
  const { text, anchor, size, turn = 0, bold } = drawn;
  const { width, lines } = letter(text, size * scale);
  const back = anchor === 'start' ? 0 : anchor === 'middle' ? width / 2 : width;
  const [cos, sin] = [Math.cos((turn * Math.PI) / 180), Math.sin((turn * Math.PI) / 180)];
  const pen = (size * scale * PEN * (bold ? 1.4 : 1)) / 2;
  for (const line of lines) {
    const placed = line.map((_, n) => {
      const even = n - (n % 2);
      const [x, y] = [line[even] - back, line[even + 1]];
      return n % 2 === 0 ? drawn.x * scale + x * cos - y * sin : drawn.y * scale + x * sin + y * cos;
    });
    // A dot is a little wider than a line.
    drawLine(
      ink,
      stride,
      placed,
      line.length === 4 && line[0] === line[2] && line[1] === line[3] ? 1.3 * pen : pen,
    );
  }
}

/** Inks what lies within a radius of a line, by how much of a pixel it covers. */
function drawLine(ink: Float32Array, stride: number, line: readonly number[], radius: number): void {
  const height = ink.length / stride;
  for (let n = 0; n + 3 < line.length; n += 2) {
    const [x1, y1, x2, y2] = line.slice(n, n + 4);
    const [dx, dy] = [x2 - x1, y2 - y1];
    const reach = radius + 1;
    const [left, right] = [Math.floor(Math.min(x1, x2) - reach), Math.ceil(Math.max(x1, x2) + reach)];
    const [top, bottom] = [Math.floor(Math.min(y1, y2) - reach), Math.ceil(Math.max(y1, y2) + reach)];
    for (let y = Math.max(0, top); y < Math.min(height, bottom); y++) {
      for (let x = Math.max(0, left); x < Math.min(stride, right); x++) {
        const [px, py] = [x + 0.5 - x1, y + 0.5 - y1];
        const along = dx === 0 && dy === 0 ? 0 : (px * dx + py * dy) / (dx * dx + dy * dy);
        const t = Math.min(1, Math.max(0, along));
        const cover = radius + 0.5 - Math.hypot(px - t * dx, py - t * dy);
        if (cover > 0) ink[y * stride + x] = Math.max(ink[y * stride + x], Math.min(1, cover));
      }
    }
  }
}
