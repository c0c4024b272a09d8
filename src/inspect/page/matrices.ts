// The numbers of the offline page: weights decoded, averaged over heads, joined by word, coloured.
import { viridis } from '../palette.js';
import type { PageMap, Side } from './data.js';

/** What is shown as one: a word with its tokens, or a token. */
export interface Unit {
  readonly text: string;
  readonly tokens: readonly number[];
}

export interface Matrix {
  readonly rows: readonly Unit[];
  readonly columns: readonly Unit[];
  /** Row-major. */
  readonly values: Float32Array;
  readonly low: number;
  readonly high: number;
}

const decoded = new WeakMap<PageMap, Float32Array>();

/** [heads, rows, columns] */
function weightsOf(map: PageMap): Float32Array {
  let made = decoded.get(map);
  if (made === undefined) {
    const bytes = atob(map.weights);
    const step = (map.high - map.low) / 65535;
    made = Float32Array.from(
      { length: bytes.length / 2 },
      (_, n) => map.low + step * (bytes.charCodeAt(2 * n) + 256 * bytes.charCodeAt(2 * n + 1)),
    );
    decoded.set(map, made);
  }
  return made;
}

/** One head, or the mean of some maps' heads. Columns of a word are added, its rows averaged: rows still sum to 1. */
export function matrixOf(maps: readonly PageMap[], head: number | undefined, subwords: boolean): Matrix {
  const [{ rows: down, columns: across, low, high }] = maps;
  const [rows, columns] = [unitsOf(down, subwords), unitsOf(across, subwords)];
  const [height, width] = [down.tokens.length, across.tokens.length];
  const values = new Float32Array(rows.length * columns.length);
  for (const map of maps) {
    const weights = weightsOf(map);
    const heads = head === undefined ? map.heads.map((_, h) => h) : [head];
    for (const h of heads)
      rows.forEach(({ tokens: own }, i) => {
        columns.forEach(({ tokens: theirs }, j) => {
          let sum = 0;
          for (const a of own) for (const b of theirs) sum += weights[(h * height + a) * width + b];
          values[i * columns.length + j] += sum / (own.length * heads.length * maps.length);
        });
      });
  }
  return { rows, columns, values, low, high };
}

function unitsOf({ tokens, words, spelled }: Side, subwords: boolean): Unit[] {
  if (subwords || words === undefined)
    return tokens.map((text, n) => ({ text: text.trim() || text, tokens: [n] }));
  const units: { text: string; tokens: number[]; word: number }[] = [];
  tokens.forEach((text, n) => {
    const word = words[n];
    const last = units.at(-1);
    if (word >= 0 && last?.word === word) last.tokens.push(n);
    else units.push({ text: word >= 0 ? (spelled?.[word] ?? text) : text, tokens: [n], word });
  });
  return units;
}

/** Colours of numbers, and of a matrix from its least to its greatest. */
export function colorsOf(
  { values, low }: Matrix,
  log: boolean,
): (value: number) => readonly [number, number, number] {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  const span = most - low || 1;
  return (value) => {
    const share = (value - low) / span;
    return viridis(log ? 1 + Math.log10(Math.max(share, 1e-3)) / 3 : share);
  };
}

/** Draws a matrix with one pixel a cell; the style makes it larger. */
export function paint(canvas: HTMLCanvasElement, matrix: Matrix, log: boolean): void {
  const { rows, columns, values } = matrix;
  canvas.width = columns.length;
  canvas.height = rows.length;
  const image = new ImageData(canvas.width, canvas.height);
  const color = colorsOf(matrix, log);
  values.forEach((value, n) => {
    image.data.set([...color(value), 255], 4 * n);
  });
  canvas.getContext('2d')!.putImageData(image, 0, 0);
}
