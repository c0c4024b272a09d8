// A heat map for the terminal: target words down, source words across, a cell's colour its weight.
// Truecolor, 256 colours or none; as wide as the terminal. Where there are many rows, half blocks put two on a line.
import { OptionError } from '../tensor/errors.js';
import { isLight, nearest256, type Rgb, viridis } from './palette.js';
import { columnsOf, displayWidth, harmless, padWidth } from './width.js';

export type ColorMode = 'truecolor' | '256' | 'none';

export interface HeatMap {
  /** Labels of the rows, e.g. target words. */
  rows: readonly string[];
  /** Labels of the columns, e.g. source words. */
  columns: readonly string[];
  /** Row-major [rows, columns], each from 0 to 1. */
  values: ArrayLike<number>;
}

export interface HeatMapOptions {
  color?: ColorMode;
  /** Columns of the terminal; default 80. */
  width?: number;
  /** Two rows a line, in half blocks (colour only). Default: with more than 40 rows. */
  compact?: boolean;
}

/** What a stream can show. NO_COLOR wins over FORCE_COLOR (0 none, 1 or 2 for 256, 3 or any other for truecolor). */
export function colorMode(env: Readonly<Record<string, string | undefined>>, isTerminal: boolean): ColorMode {
  if (env.NO_COLOR) return 'none';
  const forced = env.FORCE_COLOR;
  if (forced === '0' || forced === 'false') return 'none';
  if (forced === '1' || forced === '2') return '256';
  if (forced !== undefined) return 'truecolor';
  if (!isTerminal || env.TERM === 'dumb') return 'none';
  if (/^(truecolor|24bit)$/i.test(env.COLORTERM ?? '') || env.WT_SESSION) return 'truecolor';
  if (/^(iTerm\.app|vscode|WezTerm|ghostty)$/.test(env.TERM_PROGRAM ?? '')) return 'truecolor';
  return /-direct$|kitty|alacritty/.test(env.TERM ?? '') ? 'truecolor' : '256';
}

/** Draws the map: lines joined by newlines, none at the end; '' where it has no row or column. Labels are made
 * harmless first. Columns that do not fit the width follow below, under their own labels.
 * @throws OptionError if values are not rows × columns. */
export function drawHeatMap(map: HeatMap, options: HeatMapOptions = {}): string {
  const { color = 'none', width = 80 } = options;
  const { rows, columns, values } = map;
  if (values.length !== rows.length * columns.length)
    throw new OptionError(
      `drawHeatMap: ${values.length} values, expected ${rows.length} rows × ${columns.length} columns`,
    );
  if (values.length === 0) return '';
  const compact = color !== 'none' && (options.compact ?? rows.length > 40);
  const layout = arrange(map, Math.max(16, width), compact);
  return layout.bands
    .map((band) => {
      const row = (i: number) =>
        i < rows.length ? band.widths.map((_, j) => values[i * columns.length + band.first + j]) : null;
      const lines = band.header.map((line) => ' '.repeat(layout.margin) + line);
      layout.labels.forEach((label, i) => {
        const cells = compact
          ? halfBlocks(row(2 * i)!, row(2 * i + 1), band.widths, color)
          : (color === 'none' ? plainCells : colorCells)(row(i)!, band.widths, color);
        lines.push(`${padWidth(label, layout.margin - 1, 'left')} ${cells}`);
      });
      return lines.map((line) => line.trimEnd()).join('\n');
    })
    .join('\n\n');
}

/** Columns drawn side by side. */
interface Band {
  first: number;
  /** Width of each. */
  widths: number[];
  header: string[];
}

interface Layout {
  /** One a line. */
  labels: string[];
  /** Width of the labels and a space. */
  margin: number;
  bands: Band[];
}

const NARROW = 3;
/** Most letters of a label written downwards. */
const DEEP = 12;

/** Labels across where they fit, else written downwards over narrow columns, in as many bands as it takes. */
function arrange(map: HeatMap, width: number, compact: boolean): Layout {
  let labels = map.rows.map(harmless);
  if (compact)
    labels = labels.flatMap((label, i) => (i % 2 === 1 ? [] : [labels.slice(i, i + 2).join(' · ') || label]));
  const tops = map.columns.map(harmless);
  const margin = 1 + Math.min(Math.floor(width / 3), Math.max(...labels.map(displayWidth)));
  const across = tops.map((top) => Math.max(NARROW, displayWidth(top)) + 1);
  if (margin + across.reduce((sum, x) => sum + x, 0) <= width) {
    const header = [tops.map((top, i) => padWidth(top, across[i], 'center')).join('')];
    return { labels, margin, bands: [{ first: 0, widths: across, header }] };
  }
  const count = Math.max(1, Math.floor((width - margin) / NARROW));
  const bands: Band[] = [];
  for (let first = 0; first < tops.length; first += count) {
    const part = tops.slice(first, first + count);
    bands.push({ first, widths: part.map(() => NARROW), header: writeDown(part) });
  }
  return { labels, margin, bands };
}

/** Labels letter under letter, ending on the last line. */
function writeDown(labels: string[]): string[] {
  const letters = labels.map((label) => {
    const all = columnsOf(label).map(({ text }) => text);
    return all.length > DEEP ? [...all.slice(0, DEEP - 1), '…'] : all;
  });
  const height = Math.max(...letters.map(({ length }) => length));
  return Array.from({ length: height }, (_, line) =>
    letters.map((word) => padWidth(word[line - height + word.length] ?? '', NARROW, 'center')).join(''),
  );
}

const percent = (value: number): string => String(Math.min(99, Math.round(100 * value)));

/** Without colour: percent in every cell, a point for less than one. */
function plainCells(values: number[], widths: number[]): string {
  return values
    .map((value, i) =>
      padWidth(
        value >= 0.995 ? '100' : value < 0.005 || Number.isNaN(value) ? '·' : percent(value),
        widths[i],
        'center',
      ),
    )
    .join('');
}

/** With colour: a filled cell, percent in those from 10. */
function colorCells(values: number[], widths: number[], mode: ColorMode): string {
  const cells = values.map((value, i) => {
    const color = viridis(value);
    const text = value >= 0.095 ? percent(value) : '';
    const ink: Rgb = isLight(color) ? [0, 0, 0] : [255, 255, 255];
    return paint(padWidth(text, widths[i], 'center'), mode, ink, color);
  });
  return cells.join('') + RESET;
}

/** Two rows in one line: the upper in the ink of ▀, the lower behind it. */
function halfBlocks(upper: number[], lower: number[] | null, widths: number[], mode: ColorMode): string {
  const cells = upper.map((value, i) =>
    paint('▀'.repeat(widths[i]), mode, viridis(value), lower === null ? null : viridis(lower[i])),
  );
  return cells.join(lower === null ? RESET : '') + RESET;
}

const RESET = '\x1b[0m';

function paint(text: string, mode: ColorMode, ink: Rgb, ground: Rgb | null): string {
  const code = (kind: 38 | 48, color: Rgb) =>
    mode === 'truecolor' ? `${kind};2;${color.join(';')}` : `${kind};5;${nearest256(color)}`;
  return `\x1b[${code(38, ink)}${ground === null ? '' : `;${code(48, ground)}`}m${text}`;
}
