// The attentions of a trace by kind: `decoder.*.crossAttention` has one per layer. What a place (see state.ts) names.
import type { Trace, TraceEntry } from 'fovea';
import type { Place } from './state.js';

export interface Group {
  /** Its entries' name with * for the layer, or the one entry's own. */
  readonly name: string;
  readonly entries: readonly TraceEntry[];
}

const starred = (name: string): string => name.replace(/(^|[._])\d+(?=[._]|$)/, '$1*');

/** Entries whose names differ in the first number only, and which stand on the same texts. */
export function groupsOf({ entries }: Trace): Group[] {
  const groups = new Map<string, TraceEntry[]>();
  for (const entry of entries) {
    const { name, queries, keys, predicts, shape } = entry;
    const key = JSON.stringify([starred(name), queries, keys, predicts, shape]);
    const list = groups.get(key);
    if (list) list.push(entry);
    else groups.set(key, [entry]);
  }
  return [...groups.values()].map((entries) => ({
    name: entries.length > 1 ? starred(entries[0].name) : entries[0].name,
    entries,
  }));
}

/** What a place stands for in a trace. */
export interface Selection {
  readonly group: Group;
  /** One layer's, or all of the group. */
  readonly entries: readonly TraceEntry[];
  /** One head, or all. */
  readonly heads: readonly number[];
}

/** The group that tells most at first sight: cross-attention where there is any. */
function foremost(groups: readonly Group[]): Group {
  return groups.find(({ name }) => /cross/i.test(name)) ?? groups[0];
}

/** Resolves a place; what the trace does not have falls back to the nearest that it has. */
export function select(trace: Trace, { at, head }: Place): Selection {
  const groups = groupsOf(trace);
  const group =
    groups.find(({ name, entries }) => name === at || entries.some((entry) => entry.name === at)) ??
    foremost(groups);
  const entry = group.entries.find(({ name }) => name === at);
  const entries = entry ? [entry] : group.entries;
  const count = entries[0].shape[0];
  const all = Array.from({ length: count }, (_, h) => h);
  return { group, entries, heads: head !== undefined && head < count ? [head] : all };
}

/** Whether a sentence fits the screen as words. */
export const WORDS_LIMIT = 400;

/** Whether there is no weight at all to show. */
export const isEmpty = ({ shape }: TraceEntry): boolean => shape.includes(0);

export const isLong = ({ shape: [, Lq, Lk] }: TraceEntry): boolean => Lq > WORDS_LIMIT || Lk > WORDS_LIMIT;
