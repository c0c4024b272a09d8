// Where everything of a figure stands, in pixels of a picture not yet drawn: SVG and PNG draw the same.
import type { CheckedFigure } from './figure.js';
import { textWidth as penWidth } from './lettering.js';
import { fitWidth } from './width.js';

export interface DrawnText {
  readonly text: string;
  /** Where its baseline begins, is centred, or ends. */
  readonly x: number;
  readonly y: number;
  readonly anchor: 'start' | 'middle' | 'end';
  readonly size: number;
  /** Degrees, clockwise. */
  readonly turn?: 0 | -45 | -90;
  readonly bold?: boolean;
}

/** A grid of coloured cells. */
export interface DrawnCells {
  readonly x: number;
  readonly y: number;
  readonly rows: number;
  readonly columns: number;
  readonly width: number;
  readonly height: number;
  /** Row-major: 0 to 255, or −1 for none. */
  readonly levels: Int16Array;
}

export interface Drawing {
  readonly width: number;
  readonly height: number;
  readonly texts: readonly DrawnText[];
  readonly panels: readonly DrawnCells[];
  /** The colour bar. */
  readonly bar: DrawnCells;
  /** x1, y1, x2, y2 of each. */
  readonly lines: readonly (readonly [number, number, number, number])[];
}

const MARGIN = 12;
const TITLE = 15;
const LABEL = 12;
const SMALL = 11;
/** Longest side of a map on its own, and of one in a grid, where cells are small enough. */
const ALONE = 480;
const AMONG = 132;
const LARGEST_CELL = 30;
/** Labels make a map on its own larger, up to this, so that all of them can be written. */
const WITH_LABELS = 1000;
const READABLE = 10;
/** Least cell of a grid's map whose rows and columns get labels. */
const LABELLED = 8;
/** Longest label, in columns of text. */
const LONGEST = 28;
const GAP = 14;

/** Other fonts are a little wider than the pen's. */
const textWidth = (text: string, size: number) => 1.08 * penWidth(text, size);

interface Labels {
  readonly texts: readonly string[];
  readonly size: number;
  /** Every how many-th is written. */
  readonly every: number;
  readonly turn: 0 | -45 | -90;
  /** How far they reach from the map. */
  readonly reach: number;
}

export function layOut(figure: CheckedFigure): Drawing {
  const { rows, columns, panels, across, title, rowAxis, columnAxis } = figure;
  const alone = panels.length === 1;
  const longest = alone ? ALONE : AMONG;
  const most = Math.max(rows, columns);
  const least = alone && figure.rowLabels && figure.columnLabels ? Math.floor(WITH_LABELS / most) : 1;
  const fitting = Math.max(Math.floor(longest / most), Math.min(READABLE, least));
  const cell = Math.max(1, Math.min(LARGEST_CELL, fitting));
  const labelled = alone || cell >= LABELLED;
  const left = labels(labelled ? figure.rowLabels : undefined, cell, false);
  const top = labels(labelled ? figure.columnLabels : undefined, cell, true);
  const [mapWidth, mapHeight] = [columns * cell, rows * cell];
  const headed = panels.some((panel) => panel.title) ? SMALL + 6 : 0;
  const x0 = MARGIN + (rowAxis ? SMALL + 8 : 0) + left.reach;
  const y0 = MARGIN + (title ? TITLE + 12 : 0) + (columnAxis ? SMALL + 8 : 0) + top.reach;
  const down = Math.ceil(panels.length / across);
  const beside = Math.min(across, panels.length);
  const [stepX, stepY] = [mapWidth + GAP, mapHeight + GAP + headed];
  const [endX, endY] = [x0 + beside * stepX - GAP, y0 + headed + (down - 1) * stepY + mapHeight];

  const texts: DrawnText[] = [];
  const grids: DrawnCells[] = [];
  panels.forEach((panel, n) => {
    const x = x0 + (n % across) * stepX;
    const y = y0 + headed + Math.floor(n / across) * stepY;
    // The first row's labels stand between its titles and its maps.
    if (panel.title) {
      const at = n < across ? y - top.reach - 6 : y - 6;
      texts.push({ text: cut(panel.title), x, y: at, anchor: 'start', size: SMALL });
    }
    grids.push({
      x,
      y,
      rows,
      columns,
      width: mapWidth,
      height: mapHeight,
      levels: levels(panel.values, figure),
    });
    if (n % across === 0) texts.push(...rowTexts(left, x, y, cell));
    if (n < across) texts.push(...columnTexts(top, x, y, cell));
  });
  if (title)
    texts.push({ text: title, x: MARGIN, y: MARGIN + TITLE - 2, anchor: 'start', size: TITLE, bold: true });
  const axis = { anchor: 'middle', size: SMALL } as const;
  const first = y0 + headed - top.reach;
  if (columnAxis) texts.push({ text: columnAxis, x: (x0 + endX) / 2, y: first - headed - 8, ...axis });
  if (rowAxis)
    texts.push({ text: rowAxis, x: MARGIN + SMALL - 2, y: (y0 + headed + endY) / 2, turn: -90, ...axis });

  const bar = colorBar(figure, slantEnd(top, endX, columns, cell) + GAP + 4, y0 + headed, endY - y0 - headed);
  const width = Math.max(bar.end, MARGIN + (title ? 1.12 * textWidth(title, TITLE) : 0)) + MARGIN;
  const height = Math.max(endY, bar.cells.y + bar.cells.height) + MARGIN;
  return {
    width: Math.ceil(width),
    height: Math.ceil(height),
    texts: [...texts, ...bar.texts],
    panels: grids,
    bar: bar.cells,
    lines: bar.lines,
  };
}

const cut = (text: string) => fitWidth(text.replace(/\s+/gu, ' ').trim(), LONGEST);

/** Labels beside (`turning`: above) a map whose cells have this size. */
function labels(given: readonly string[] | undefined, cell: number, turning: boolean): Labels {
  if (given === undefined) return { texts: [], size: 0, every: 1, turn: 0, reach: 0 };
  const texts = given.map(cut);
  const size = Math.max(7, Math.min(LABEL, cell - 1));
  const every = Math.max(1, Math.ceil((size + 1) / cell));
  const widest = texts.reduce((most, text) => Math.max(most, textWidth(text, size)), 0);
  const flat = !turning || widest <= cell - 4;
  const turn = flat ? 0 : cell >= 17 ? -45 : -90;
  const reach = turning && flat ? size + 4 : turn === -45 ? (widest + size) * Math.SQRT1_2 + 6 : widest + 8;
  return { texts, size, every, turn, reach: Math.ceil(reach) };
}

function rowTexts({ texts, size, every }: Labels, x: number, y: number, cell: number): DrawnText[] {
  return texts.flatMap((text, i) =>
    i % every === 0
      ? [{ text, x: x - 6, y: y + (i + 0.5) * cell + 0.36 * size, anchor: 'end', size } as const]
      : [],
  );
}

function columnTexts({ texts, size, every, turn }: Labels, x: number, y: number, cell: number): DrawnText[] {
  return texts.flatMap((text, j): DrawnText[] => {
    if (j % every !== 0) return [];
    const middle = x + (j + 0.5) * cell;
    if (turn === 0) return [{ text, x: middle, y: y - 5, anchor: 'middle', size } as const];
    // The middle of a turned label's height stands over its column.
    const aside = turn === -90 ? 0.36 * size : 0.25 * size;
    return [{ text, x: middle + aside, y: y - 5, anchor: 'start', size, turn } as const];
  });
}

/** Where labels at a slant end on the right: the last ones reach over the map. */
function slantEnd({ texts, size, turn }: Labels, end: number, columns: number, cell: number): number {
  if (turn !== -45) return end;
  const reaches = texts.map(
    (text, j) => end - (columns - j - 0.5) * cell + (textWidth(text, size) + size / 2) * Math.SQRT1_2,
  );
  // The bar begins below the labels' feet: a little overhang is not in its way.
  return Math.max(end, Math.max(...reaches) - 40);
}

function levels(values: ArrayLike<number>, { colors }: CheckedFigure): Int16Array {
  const made = new Int16Array(values.length);
  for (let n = 0; n < made.length; n++) {
    const place = colors.place(values[n]);
    made[n] = Number.isNaN(place) ? -1 : Math.round(255 * place);
  }
  return made;
}

const BAR = 12;

function colorBar({ colors }: CheckedFigure, x: number, y: number, available: number) {
  const height = Math.max(60, Math.min(200, available));
  const texts: DrawnText[] = [];
  const lines: [number, number, number, number][] = [];
  let end = x + BAR;
  for (const { place, text } of colors.ticks) {
    const at = y + (1 - place) * height;
    lines.push([x + BAR, at, x + BAR + 3, at]);
    texts.push({ text, x: x + BAR + 6, y: at + 0.36 * SMALL, anchor: 'start', size: SMALL });
    end = Math.max(end, x + BAR + 6 + textWidth(text, SMALL));
  }
  const cells = {
    x,
    y,
    rows: 256,
    columns: 1,
    width: BAR,
    height,
    levels: Int16Array.from({ length: 256 }, (_, n) => 255 - n),
  };
  return { cells, texts, lines, end };
}
