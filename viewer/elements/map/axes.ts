// The axes as marks: tokens beside their cells where they fit, else numbers at round places.
import { type Labels, labelOf } from '../labels.js';
import type { Camera, Span } from './camera.js';
import type { Mark } from './marks.js';
import { countText } from './numbers.js';

/** Space of the axes around the frame, in CSS pixels. */
export interface Gutters {
  readonly left: number;
  readonly top: number;
  /** Keys' labels are turned. */
  readonly slanted: boolean;
}

export interface AxesPlace {
  readonly camera: Camera;
  readonly gutters: Gutters;
  readonly queryLabels: Labels;
  readonly keyLabels: Labels;
  readonly names: { readonly queries: string; readonly keys: string };
  readonly measure: (text: string) => number;
  /** The cell that is pointed at: its labels stand out. */
  readonly cell?: { readonly query: number; readonly key: number };
}

export const FONT = 11.5;
/** Pixels that a label needs across its own direction. */
const LINE = 12;
const GAP = 7;
const TICK = 4;
/** Height of an axis of numbers, with its name. */
const NUMBERED = 40;
/** Longest labels. */
const WIDEST = { left: 124, top: 96 };
/** Labels looked at to choose the gutters. */
const LOOKED_AT = 400;
const SLANT = 45;
const SINE = Math.SQRT1_2;

/** The longest beginning that fits, with an ellipsis. */
export function shorten(text: string, width: number, measure: (text: string) => number): string {
  if (measure(text) <= width) return text;
  const letters = Array.from(text);
  let [low, high] = [0, letters.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (measure(`${letters.slice(0, middle).join('')}…`) <= width) low = middle;
    else high = middle - 1;
  }
  return `${letters.slice(0, low).join('')}…`;
}

/** Space for the labels there are; numbers need less. */
export function guttersFor(
  rows: number,
  columns: number,
  queryLabels: Labels,
  keyLabels: Labels,
  measure: (text: string) => number,
  width: number,
): Gutters {
  const numbers = Math.max(measure(countText(rows)), 24) + GAP + TICK + 28;
  const widest = (labels: Labels, length: number) => {
    let most = 0;
    for (let i = 0; i < Math.min(length, LOOKED_AT); i++)
      most = Math.max(most, measure(labelOf(labels, i) ?? ''));
    return most;
  };
  const byQueries = widest(queryLabels, rows);
  const byKeys = widest(keyLabels, columns);
  const left = Math.ceil(Math.max(numbers, Math.min(WIDEST.left, byQueries, width / 4) + GAP + 22));
  if (byKeys === 0) return { left, top: NUMBERED, slanted: false };
  const slanted = byKeys + GAP > Math.min(120, (width - left) / columns);
  const top = slanted ? Math.min(WIDEST.top, byKeys) * SINE + 2 * GAP + 24 : 42;
  return { left, top: Math.round(Math.max(NUMBERED, top)), slanted };
}

/** Which axes have labels beside their cells now. */
export function shownLabels(camera: Camera, queryLabels: Labels, keyLabels: Labels) {
  const { x, y } = camera.scale;
  return { queries: queryLabels !== undefined && y >= LINE, keys: keyLabels !== undefined && x >= LINE };
}

export function axes(place: AxesPlace): Mark[] {
  return [...queryAxis(place), ...keyAxis(place)];
}

function queryAxis({ camera, gutters, queryLabels, names, measure, cell }: AxesPlace): Mark[] {
  const { queries } = camera.view;
  const edge = Math.max(0, camera.pointOf(0, 0).x);
  const size = camera.scale.y;
  const marks: Mark[] = [];
  if (shownLabels(camera, queryLabels, undefined).queries) {
    for (const i of cellsIn(queries)) {
      const y = camera.pointOf(0, i + 0.5).y;
      const text = labelOf(queryLabels, i);
      if (text === undefined || y < 3 || y > camera.frame.height - 3) continue;
      const strong = cell?.query === i;
      const shown = shorten(text, gutters.left - GAP - 20, measure);
      marks.push({
        kind: 'text',
        x: edge - GAP,
        y,
        text: shown,
        anchor: 'end',
        tone: strong ? 'accent' : 'ink',
        strong,
      });
    }
  } else {
    for (const i of ticks(queries, 46 / size)) {
      const y = camera.pointOf(0, i + cellOffset(size)).y;
      if (y < 0 || y > camera.frame.height || i + cellOffset(size) > camera.rows) continue;
      marks.push({ kind: 'line', x1: edge - TICK, y1: y, x2: edge, y2: y, tone: 'muted' });
      marks.push({ kind: 'text', x: edge - TICK - 4, y, text: countText(i), anchor: 'end', tone: 'muted' });
    }
  }
  const middle = { x: edge - gutters.left + 9, y: camera.frame.height / 2 };
  marks.push({ kind: 'text', ...middle, text: names.queries, anchor: 'middle', tone: 'muted', turn: -90 });
  return marks;
}

function keyAxis({ camera, gutters, keyLabels, names, measure, cell }: AxesPlace): Mark[] {
  const { keys } = camera.view;
  const edge = Math.max(0, camera.pointOf(0, 0).y);
  const size = camera.scale.x;
  const marks: Mark[] = [];
  const labelled = shownLabels(camera, undefined, keyLabels).keys;
  if (labelled) {
    for (const j of cellsIn(keys)) {
      const x = camera.pointOf(j + 0.5, 0).x;
      const text = labelOf(keyLabels, j);
      if (text === undefined || x < 3 || x > camera.frame.width - 3) continue;
      const strong = cell?.key === j;
      const tone = strong ? 'accent' : 'ink';
      if (gutters.slanted) {
        const shown = shorten(text, (gutters.top - 22 - 2 * GAP) / SINE, measure);
        marks.push({
          kind: 'text',
          x,
          y: edge - GAP,
          text: shown,
          anchor: 'start',
          tone,
          strong,
          turn: -SLANT,
        });
      } else {
        const shown = shorten(text, size - 4, measure);
        marks.push({ kind: 'text', x, y: edge - GAP - 4, text: shown, anchor: 'middle', tone, strong });
      }
    }
  } else {
    for (const j of ticks(keys, 84 / size)) {
      const x = camera.pointOf(j + cellOffset(size), 0).x;
      if (x < 0 || x > camera.frame.width || j + cellOffset(size) > camera.columns) continue;
      marks.push({ kind: 'line', x1: x, y1: edge - TICK, x2: x, y2: edge, tone: 'muted' });
      marks.push({
        kind: 'text',
        x,
        y: edge - TICK - 8,
        text: countText(j),
        anchor: 'middle',
        tone: 'muted',
      });
    }
  }
  // Numbers are low where turned labels are high.
  const y = edge - (labelled ? gutters.top : Math.min(gutters.top, NUMBERED)) + 9;
  marks.push({
    kind: 'text',
    x: camera.frame.width / 2,
    y,
    text: names.keys,
    anchor: 'middle',
    tone: 'muted',
  });
  return marks;
}

/** Where a cell's number stands: at its middle once it can be seen. */
const cellOffset = (size: number) => (size >= 4 ? 0.5 : 0);

function* cellsIn([from, to]: Span): Generator<number> {
  for (let i = Math.floor(from); i < Math.ceil(to); i++) yield i;
}

/** Whole numbers 1, 2 or 5 times a power of ten apart, at least `least`. */
export function ticks([from, to]: Span, least: number): number[] {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, least)));
  const step =
    [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= least * (1 - 1e-9)) ?? power;
  const made: number[] = [];
  // Views that begin before the matrix begin at -0.
  for (let i = Math.ceil(Math.floor(from) / step) * step + 0; i <= to; i += step)
    if (i >= Math.floor(from)) made.push(i);
  return made;
}
