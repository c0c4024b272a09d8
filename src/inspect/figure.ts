// A figure before it is drawn: one matrix of numbers or several of one size, with labels; and what colour a number has.
import { OptionError } from '../tensor/errors.js';
import { describe } from '../tensor/host.js';
import { type PaletteName, palettes } from './palette.js';

/** One of several matrices. */
export interface Panel {
  readonly title?: string;
  /** Row-major [rows, columns]; NaN leaves its cell empty. */
  readonly values: ArrayLike<number>;
}

/** A heat map, or a grid of heat maps of one size that share labels and colours. What draws in a terminal (HeatMap) is one. */
export interface Figure {
  readonly title?: string;
  /** Labels of the rows, or how many there are. */
  readonly rows: readonly string[] | number;
  readonly columns: readonly string[] | number;
  /** One matrix, row-major [rows, columns]; NaN leaves its cell empty. */
  readonly values?: ArrayLike<number>;
  /** Several, in reading order. */
  readonly panels?: readonly Panel[];
  /** Panels beside each other; default: as many as make a square. */
  readonly across?: number;
  /** What rows and columns are, in a word or two. */
  readonly rowAxis?: string;
  readonly columnAxis?: string;
  readonly palette?: PaletteName;
  /** How numbers become colours; 'log' shows small weights beside large ones. */
  readonly scale?: 'linear' | 'log';
  /** The numbers at both ends of the colours. Default: 0 (or the least, if that is below) to the greatest; in 'log' the
   * least above 0, but at most 10,000 times below the greatest. Numbers outside have the end's colour. */
  readonly range?: readonly [low: number, high: number];
}

/** Most cells of a figure: larger matrices are pooled first (`map.pool`). */
export const MOST_CELLS = 2 ** 22;

export interface CheckedFigure {
  readonly title: string;
  readonly rows: number;
  readonly columns: number;
  readonly rowLabels?: readonly string[];
  readonly columnLabels?: readonly string[];
  readonly panels: readonly Panel[];
  readonly across: number;
  readonly rowAxis: string;
  readonly columnAxis: string;
  readonly palette: PaletteName;
  readonly colors: ColorScale;
}

/** @throws OptionError for what is missing, wrong or too large. */
export function checkFigure(what: string, figure: Figure): CheckedFigure {
  const [rows, rowLabels] = side(`${what}: rows`, figure.rows);
  const [columns, columnLabels] = side(`${what}: columns`, figure.columns);
  const panels = figure.panels ?? (figure.values === undefined ? [] : [{ values: figure.values }]);
  if (panels.length === 0) throw new OptionError(`${what}: expected values, or at least one panel`);
  panels.forEach(({ values }, n) => {
    if (values?.length !== rows * columns)
      throw new OptionError(
        `${what}: ${panels.length > 1 ? `panel ${n} has ` : ''}${values?.length} values, expected ${rows} rows × ${columns} columns`,
      );
  });
  if (panels.length * rows * columns > MOST_CELLS)
    throw new OptionError(`${what}: more than ${MOST_CELLS} cells; pool the map first (map.pool)`);
  const { title = '', rowAxis = '', columnAxis = '', palette = 'viridis' } = figure;
  const { across = Math.ceil(Math.sqrt(panels.length)) } = figure;
  if (!Number.isInteger(across) || across < 1)
    throw new OptionError(`${what}: across is a whole number from 1, got ${describe(across)}`);
  if (!Object.hasOwn(palettes, palette))
    throw new OptionError(
      `${what}: palette is ${Object.keys(palettes).join(' or ')}, got ${describe(palette)}`,
    );
  const colors = colorScale(what, panels, figure);
  return {
    title,
    rows,
    columns,
    rowLabels,
    columnLabels,
    panels,
    across,
    rowAxis,
    columnAxis,
    palette,
    colors,
  };
}

function side(what: string, given: readonly string[] | number): [number, (readonly string[])?] {
  if (Array.isArray(given) && given.length > 0) return [given.length, given];
  if (Number.isSafeInteger(given) && (given as number) > 0) return [given as number];
  const got = Array.isArray(given) ? 'none' : describe(given);
  throw new OptionError(`${what}: expected labels, or how many there are, got ${got}`);
}

export interface ColorScale {
  /** Where between both ends a number lies, 0 to 1; NaN for NaN. */
  place(value: number): number;
  /** Numbers to write beside the colour bar. */
  readonly ticks: readonly { readonly place: number; readonly text: string }[];
}

function colorScale(what: string, panels: readonly Panel[], { scale = 'linear', range }: Figure): ColorScale {
  if (scale !== 'linear' && scale !== 'log')
    throw new OptionError(`${what}: scale is linear or log, got ${describe(scale)}`);
  const log = scale === 'log';
  const [low, high] = range ?? fitted(panels, log);
  if (!(Number.isFinite(low) && Number.isFinite(high) && low < high && !(log && low <= 0)))
    throw new OptionError(
      `${what}: range is [low, high] with low below high${log ? ' and above 0' : ''}, got [${low}, ${high}]`,
    );
  const bend = log ? Math.log : (x: number) => x;
  const [from, to] = [bend(low), bend(high)];
  const place = (value: number) =>
    value <= low ? 0 : value >= high ? 1 : (bend(value) - from) / (to - from);
  const numbers = log ? decades(low, high) : steps(low, high);
  return { place, ticks: numbers.map((value) => ({ place: place(value), text: spell(value) })) };
}

function fitted(panels: readonly Panel[], log: boolean): readonly [number, number] {
  let [low, high] = [log ? Number.POSITIVE_INFINITY : 0, Number.NEGATIVE_INFINITY];
  for (const { values } of panels) {
    for (let n = 0; n < values.length; n++) {
      const value = values[n];
      if (!Number.isFinite(value) || (log && value <= 0)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (high === Number.NEGATIVE_INFINITY) return log ? [1e-4, 1] : [0, 1];
  if (log) return [Math.max(low < high ? low : high / 10, high / 1e4), high];
  return [low, low < high ? high : low + 1];
}

/** Three to six round numbers. */
function steps(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((n) => n * power >= rough * 0.999)!;
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, n) => (first + n) * step);
}

/** Powers of ten, both ends instead where fewer than two lie between. */
function decades(low: number, high: number): number[] {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
  const powers = Array.from({ length: Math.max(0, last - first + 1) }, (_, n) => 10 ** (first + n));
  return powers.length >= 2 ? powers : [low, high];
}

const spell = (value: number): string => String(Number(value.toPrecision(3)));
