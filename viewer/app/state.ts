// What the page shows, as its address says it: everything after the #, checked when read, defaults left out.
import type { HeadMeasure, Locale, WordPlace } from 'fovea/elements';

export const VIEWS = ['live', 'overview', 'words', 'map', 'compare'] as const;
export type View = (typeof VIEWS)[number];

/** An attention, or the mean of one kind in all layers (`decoder.*.crossAttention`), and a head, or the mean of all. */
export interface Place {
  readonly at?: string;
  readonly head?: number;
}

export interface Box {
  readonly queries: readonly [number, number];
  readonly keys: readonly [number, number];
}

export interface PageState {
  readonly view?: View;
  /** Address of a trace relative to the page, LIVE, or FILE and a name. */
  readonly trace?: string;
  /** The sentence of Live. */
  readonly text?: string;
  readonly place: Place;
  /** The right side of Compare. */
  readonly other: Place;
  readonly look: 'arcs' | 'shading';
  readonly units: 'words' | 'tokens';
  readonly measure: 'weights' | 'norms';
  readonly word?: WordPlace;
  readonly sort: 'head' | HeadMeasure;
  /** What the map shows, in cells, and its colours. */
  readonly box?: Box;
  readonly reduce: 'mean' | 'max' | 'sum';
  readonly scale: 'linear' | 'log';
  readonly range?: readonly [number, number];
  readonly locale?: Locale;
  readonly theme?: 'light' | 'dark';
}

/** `trace` of the translation made in the page, and of a file from disk (which no address can open again). */
export const LIVE = 'live';
export const FILE = 'file:';

const MEASURES = ['entropy', 'distance', 'sinkShare', 'previous', 'same', 'next'] as const;
const DEFAULTS = {
  look: 'arcs',
  units: 'words',
  measure: 'weights',
  sort: 'head',
  reduce: 'mean',
  scale: 'linear',
} as const;

/** Reads an address; what is not legal there is as if it were not there. */
export function parseState(hash: string): PageState {
  const fields = new URLSearchParams(hash.replace(/^#/, ''));
  const choice = <T extends string>(name: string, choices: readonly T[]) =>
    choices.find((value) => value === fields.get(name));
  const text = (name: string) => fields.get(name) || undefined;
  const whole = (name: string) =>
    /^\d{1,6}$/.test(fields.get(name) ?? '') ? Number(fields.get(name)) : undefined;
  return {
    view: choice('view', VIEWS),
    trace: text('trace'),
    text: text('text'),
    place: { at: text('at'), head: whole('head') },
    other: { at: text('at2'), head: whole('head2') },
    look: choice('look', ['arcs', 'shading']) ?? DEFAULTS.look,
    units: choice('units', ['words', 'tokens']) ?? DEFAULTS.units,
    measure: choice('measure', ['weights', 'norms']) ?? DEFAULTS.measure,
    word: parseWord(fields.get('word')),
    sort: choice('sort', MEASURES) ?? DEFAULTS.sort,
    box: parseBox(fields.get('box')),
    reduce: choice('reduce', ['mean', 'max', 'sum']) ?? DEFAULTS.reduce,
    scale: choice('scale', ['linear', 'log']) ?? DEFAULTS.scale,
    range: numbers(fields.get('range'), 2) as [number, number] | undefined,
    locale: choice('lang', ['en', 'ko']),
    theme: choice('theme', ['light', 'dark']),
  };
}

/** The address of a state, without the #. */
export function formatState(state: PageState): string {
  const { place, other, word, box, range } = state;
  const fields: Record<string, string | number | undefined> = {
    view: state.view,
    trace: state.trace,
    text: state.text,
    at: place.at,
    head: place.head,
    at2: other.at,
    head2: other.head,
    word: word && `${word.side === 'query' ? 'q' : 'k'}${word.index}`,
    box: box && [...box.queries, ...box.keys].map(brief).join(','),
    range: range?.map((x) => Number(x.toPrecision(4))).join(','),
    lang: state.locale,
    theme: state.theme,
  };
  for (const name of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[])
    if (state[name] !== DEFAULTS[name]) fields[name] = state[name];
  const list = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '');
  return new URLSearchParams(list.map(([name, value]) => [name, String(value)])).toString();
}

const brief = (x: number): number => Number(x.toFixed(3));

function numbers(text: string | null, count: number): number[] | undefined {
  const list = (text ?? '').split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  return list.length === count && list.every(Number.isFinite) ? list : undefined;
}

function parseBox(text: string | null): Box | undefined {
  const list = numbers(text, 4);
  if (!list) return undefined;
  const [a, b, c, d] = list;
  return a < b && c < d ? { queries: [a, b], keys: [c, d] } : undefined;
}

function parseWord(text: string | null): WordPlace | undefined {
  const match = /^([qk])(\d{1,7})$/.exec(text ?? '');
  return match ? { side: match[1] === 'q' ? 'query' : 'key', index: Number(match[2]) } : undefined;
}
