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
  /** Another, for the right side of Compare: an address, or FILE and a name. */
  readonly second?: string;
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
  /** undefined: as suits the map's size, until the reader chooses. */
  readonly scale?: 'linear' | 'log';
  readonly range?: readonly [number, number];
  readonly locale?: Locale;
  readonly theme?: 'light' | 'dark';
}

/** `trace` of the translation made in the page, and of a file from disk (which no address can open again). */
export const LIVE = 'live';
export const FILE = 'file:';

/** What Live offers, the first at once. */
export const EXAMPLES = [
  'Who is taking responsibility for the loss?',
  'I have never seen such a beautiful sunset.',
  'We were all present at the meeting yesterday.',
  'She told me that she would not come back.',
] as const;

/** What Live translates: an example until something was written, or taken away. */
export const sentenceOf = ({ text }: Pick<PageState, 'text'>): string => text ?? EXAMPLES[0];

const MEASURES = ['entropy', 'distance', 'sinkShare', 'previous', 'same', 'next'] as const;
const DEFAULTS = {
  look: 'arcs',
  units: 'words',
  measure: 'weights',
  sort: 'head',
  reduce: 'mean',
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
    second: fields.get('trace2') === LIVE ? undefined : text('trace2'),
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
    scale: choice('scale', ['linear', 'log']),
    range: parseRange(fields.get('range')),
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
    trace2: state.second,
    text: state.text,
    at: place.at,
    head: place.head,
    at2: other.at,
    head2: other.head,
    word: word && `${word.side === 'query' ? 'q' : 'k'}${word.index}`,
    box: box && [...box.queries, ...box.keys].map(brief).join(','),
    scale: state.scale,
    range: range?.map((x) => Number(x.toPrecision(4))).join(','),
    lang: state.locale,
    theme: state.theme,
  };
  for (const name of Object.keys(DEFAULTS) as (keyof typeof DEFAULTS)[])
    if (state[name] !== DEFAULTS[name]) fields[name] = state[name];
  const list = Object.entries(fields).filter(([, value]) => value !== undefined && value !== '');
  return new URLSearchParams(list.map(([name, value]) => [name, String(value)])).toString();
}

/** Within a thousandth of a cell; no cell is a billion away. */
const brief = (x: number): number => Number(Math.min(1e9, Math.max(-1e9, x)).toFixed(3));

function numbers(text: string | null, count: number): number[] | undefined {
  const list = (text ?? '').split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  return list.length === count && list.every(Number.isFinite) ? list : undefined;
}

/** Ends in either order. */
function rising(a: number, b: number): readonly [number, number] | undefined {
  return a === b ? undefined : [Math.min(a, b), Math.max(a, b)];
}

function parseRange(text: string | null): PageState['range'] {
  const list = numbers(text, 2);
  return list && rising(list[0], list[1]);
}

function parseBox(text: string | null): Box | undefined {
  const list = numbers(text, 4);
  const [queries, keys] = list ? [rising(list[0], list[1]), rising(list[2], list[3])] : [];
  return queries && keys && { queries, keys };
}

function parseWord(text: string | null): WordPlace | undefined {
  const match = /^([qk])(\d{1,7})$/.exec(text ?? '');
  return match ? { side: match[1] === 'q' ? 'query' : 'key', index: Number(match[2]) } : undefined;
}
