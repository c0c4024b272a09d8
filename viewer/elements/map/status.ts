// What is told of the picture: how much of it was read, what went wrong, and, to screen readers, which cell is pointed at.
import { html, nothing } from 'lit';
import { type Labels, labelOf } from '../labels.js';
import type { CellReading } from './cell-reader.js';
import { countText, percentText, weightText } from './numbers.js';
import type { Reduce } from './sketch.js';
import type { MapStrings } from './strings.js';

/** Nothing where all is exact. */
export function chip(words: MapStrings, fraction: number | undefined, busy: boolean, reduce: Reduce) {
  const dot = html`<span class="dot ${busy ? 'busy' : ''}"></span>`;
  if (fraction === undefined) return html`<div class="chip">${dot}${words.computing}</div>`;
  if (fraction === 1) return nothing;
  const percent = percentText(fraction);
  const bound = reduce === 'max' ? ` · ${words.lowerBound}` : '';
  return html`<div class="chip" title=${words.sampledTitle(percent)}>${dot}${words.sampled(percent)}${bound}</div>`;
}

export function message(words: MapStrings, failure: string | undefined, there: 'map' | 'none' | 'empty') {
  if (failure !== undefined) {
    return html`<div class="message error" role="alert"><div><b>${words.failed}</b>${failure}</div></div>`;
  }
  if (there === 'map') return nothing;
  return html`<div class="message"><div>${words[there]}</div></div>`;
}

export function spoken(
  words: MapStrings,
  reading: CellReading | undefined,
  queryLabels: Labels,
  keyLabels: Labels,
): string {
  if (!reading) return '';
  const name = (labels: Labels, i: number) => [countText(i), labelOf(labels, i)].filter(Boolean).join(' ');
  const [query, key] = [name(queryLabels, reading.query), name(keyLabels, reading.key)];
  return words.cell(query, key, weightText(reading.weight));
}
