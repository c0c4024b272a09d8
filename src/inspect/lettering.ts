// Text as lines for PNG figures: Latin with its accents and Hangul are drawn, any other character is an empty box.
// Also how wide a text is in a figure, which places the labels of SVG figures too.
import { syllable } from './hangul.js';
import { glyphs } from './strokes.js';
import { columnsOf } from './width.js';

/** Lines in pixels from the beginning of the baseline: x and y in turns, y downwards. */
export interface Lettering {
  readonly width: number;
  readonly lines: readonly (readonly number[])[];
}

/** Height of a capital, in em; it has ten units. */
const CAPITAL = 0.72;
const GAP = 2.8;
const SPACE = 4.5;
/** Side of the square of a wide character, in units. */
const WIDE = 11;
const DIGIT = 6;

/** Accents, drawn like letters in a box 4 wide and 2 high; those below hang from the baseline. */
const above: Readonly<Record<string, string>> = {
  '\u0300': '1032',
  '\u0301': '3012',
  '\u0302': '022042',
  '\u0303': '~02113142',
  '\u0304': '0141',
  '\u0306': 'o0042c0',
  '\u0307': '2121',
  '\u0308': '1111 3131',
  '\u030a': 'o1032',
  '\u030b': '2002 4022',
  '\u030c': '002240',
};
const below: Readonly<Record<string, string>> = {
  '\u0323': '2222',
  '\u0326': '2113',
  '\u0327': '~20312313',
  '\u0328': '~30212333',
};

interface Glyph {
  readonly width: number;
  /** In units: x from the left, y from the baseline. */
  readonly lines: readonly (readonly number[])[];
}

const known = new Map<string, Glyph>();

/** Draws a text of `size` pixels an em. */
export function letter(text: string, size: number): Lettering {
  const unit = (size * CAPITAL) / 10;
  const lines: number[][] = [];
  let at = 0;
  for (const { text: grapheme, width } of columnsOf(text.normalize('NFC'))) {
    const glyph = glyphOf(grapheme, width);
    for (const line of glyph.lines) lines.push(line.map((x, n) => (n % 2 === 0 ? at + x : x) * unit));
    at += glyph.width;
  }
  return { width: at * unit, lines };
}

/** Width of a text in pixels, as letter() draws it. */
export function textWidth(text: string, size: number): number {
  const units = columnsOf(text.normalize('NFC')).reduce(
    (sum, { text: grapheme, width }) => sum + glyphOf(grapheme, width).width,
    0,
  );
  return (units * size * CAPITAL) / 10;
}

function glyphOf(grapheme: string, columns: number): Glyph {
  let made = known.get(grapheme);
  if (made === undefined) {
    made = /^\s+$/u.test(grapheme)
      ? { width: SPACE, lines: [] }
      : (square(grapheme) ?? latin(grapheme) ?? box(columns));
    // Every character there is would be too many to keep.
    if (known.size < 4096) known.set(grapheme, made);
  }
  return made;
}

function square(grapheme: string): Glyph | undefined {
  const parts = syllable(grapheme);
  if (parts === undefined || [...grapheme].length > 1) return undefined;
  const lines = parts.flatMap(({ strokes, x, y }) =>
    trace(strokes).map((line) =>
      line.map((value, n) => {
        const [from, to] = n % 2 === 0 ? x : y;
        return WIDE * (from + (value / 6) * (to - from)) - (n % 2 === 0 ? 0 : WIDE - 0.8);
      }),
    ),
  );
  return { width: WIDE + GAP, lines };
}

function latin(grapheme: string): Glyph | undefined {
  const plain = Object.hasOwn(glyphs, grapheme) ? [grapheme] : [...grapheme.normalize('NFD')];
  const [first, ...marks] = plain;
  if (!Object.hasOwn(glyphs, first) || marks.some((mark) => !(mark in above || mark in below)))
    return undefined;
  const dotless = marks.some((mark) => mark in above) && (first === 'i' || first === 'j');
  const strokes = glyphs[first].split(' ').slice(0, dotless ? -1 : undefined);
  const drawn = trace(strokes.join(' '));
  const span = (axis: 0 | 1) => drawn.flatMap((line) => line.filter((_, n) => n % 2 === axis));
  const [left, right, top] = [Math.min(...span(0)), Math.max(...span(0)), Math.min(...span(1))];
  // Digits stand in columns.
  const width = /\d/.test(first) ? DIGIT : right - left;
  const origin = [left - (width - right + left) / 2, 10];
  const lines = drawn.map((line) => line.map((x, n) => x - origin[n % 2]));
  const accents = marks.flatMap((mark) => {
    const down = mark in above ? (top < 2 ? -13.3 : -9.3) : 0.6;
    return trace(above[mark] ?? below[mark]).map((line) =>
      line.map((x, n) => (n % 2 === 0 ? x + width / 2 - 2 : x + down)),
    );
  });
  return { width: width + GAP, lines: [...lines, ...accents] };
}

/** What there is no drawing for. */
function box(columns: number): Glyph {
  const width = columns === 2 ? WIDE : 5 * columns;
  if (columns === 0) return { width, lines: [] };
  return { width: width + GAP, lines: [[0, 0, width, 0, width, -10, 0, -10, 0, 0]] };
}

/** The lines of strokes, in their own units. */
function trace(strokes: string): number[][] {
  return strokes.split(' ').map((stroke) => {
    const kind = /^[~o]/.exec(stroke)?.[0];
    const numbers = Array.from(kind ? stroke.slice(1) : stroke, (digit) => Number.parseInt(digit, 36));
    return kind === 'o' ? arc(numbers) : kind === '~' ? bend(numbers) : numbers;
  });
}

function arc([left, top, right, bottom, from = 0, to = 24]: readonly number[]): number[] {
  const steps = Math.abs(to - from) * 2;
  const [x, y] = [(left + right) / 2, (top + bottom) / 2];
  return Array.from({ length: steps + 1 }, (_, n) => {
    const angle = ((from + ((to - from) * n) / steps) * Math.PI) / 12;
    return [x + (x - left) * Math.cos(angle), y + (y - top) * Math.sin(angle)];
  }).flat();
}

/** Steps from one point of a bent stroke to the next. */
const STEPS = 6;

/** A Catmull–Rom curve through the points. */
function bend(points: readonly number[]): number[] {
  const last = points.length / 2 - 1;
  const at = (n: number, axis: number) => points[2 * Math.min(last, Math.max(0, n)) + axis];
  return Array.from({ length: last * STEPS + 1 }, (_, n) => {
    const from = Math.min(last - 1, Math.floor(n / STEPS));
    return [0, 1].map((axis) =>
      curve(
        [-1, 0, 1, 2].map((k) => at(from + k, axis)),
        n / STEPS - from,
      ),
    );
  }).flat();
}

function curve([a, b, c, d]: readonly number[], t: number): number {
  const [slope, turn, twist] = [c - a, 2 * a - 5 * b + 4 * c - d, 3 * b - a - 3 * c + d];
  return b + (slope * t + turn * t ** 2 + twist * t ** 3) / 2;
}
