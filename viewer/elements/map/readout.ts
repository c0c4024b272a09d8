// The line under the map: which cell, its exact weight, and what the pixel shows where it stands for many cells.
import { html, nothing } from 'lit';
import type { CellReading } from './cell-reader.js';
import type { Cell } from './crosshair.js';
import { countText, weightText } from './numbers.js';
import type { MapStrings } from './strings.js';

export interface ReadoutPlace {
  readonly words: MapStrings;
  readonly cell: Cell | undefined;
  /** Of that cell. */
  readonly reading: CellReading | undefined;
  readonly queryLabel?: string;
  readonly keyLabel?: string;
  /** What many cells' weights are shown as here. */
  readonly pooled?: { readonly name: string; readonly value: number; readonly exact: boolean };
}

export function readout({ words, cell, reading, queryLabel, keyLabel, pooled }: ReadoutPlace) {
  if (!cell) return html`<div class="readout" part="readout">${words.hint}</div>`;
  const token = (label: string | undefined) =>
    label === undefined ? nothing : html`<span class="token">${label}</span>`;
  const logWeight = reading && reading.weight > 0 ? Math.log(reading.weight) : Number.NEGATIVE_INFINITY;
  return html`<div class="readout" part="readout">
    <span>${words.query} <b>${countText(cell.query)}</b>${token(queryLabel)}</span>
    <span aria-hidden="true">→</span>
    <span>${words.key} <b>${countText(cell.key)}</b>${token(keyLabel)}</span>
    <span class="weight">${words.weight} <b>${reading ? weightText(reading.weight, 5) : '…'}</b></span>
    <span>${words.logWeight} <b>${reading ? weightText(logWeight, 4) : '…'}</b></span>
    <span>${words.score} <b>${reading ? weightText(reading.score, 4) : '…'}</b></span>
    ${
      pooled
        ? html`<span>${pooled.name} <b>${pooled.exact ? '' : '≈ '}${weightText(pooled.value, 3)}</b></span>`
        : nothing
    }
  </div>`;
}
