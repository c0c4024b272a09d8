// The row of controls over the map.
import { html, nothing } from 'lit';
import type { Scale } from './colours.js';
import type { Reduce } from './sketch.js';
import type { MapStrings } from './strings.js';

export interface ControlsPlace {
  readonly words: MapStrings;
  readonly reduce: Reduce;
  readonly scale: Scale;
  /** Whether a pixel ever shows more than one cell. */
  readonly pooled: boolean;
  readonly whole: boolean;
  readonly closest: boolean;
  setReduce(value: Reduce): void;
  setScale(value: Scale): void;
  zoom(factor: number): void;
  showAll(): void;
  save(kind: 'png' | 'svg'): void;
}

export function controls(place: ControlsPlace) {
  const { words } = place;
  return html`<div class="controls">
    ${
      place.pooled
        ? choice(
            words.reduce,
            'reduce',
            ['mean', 'max', 'sum'] as const,
            words,
            place.reduce,
            place.setReduce,
          )
        : nothing
    }
    ${choice(words.scale, 'scale', ['linear', 'log'] as const, words, place.scale, place.setScale)}
    <span class="space"></span>
    <div class="group" role="group" aria-label=${words.zoom}>
      ${button(words.zoomOut, minus, place.whole, () => place.zoom(0.5))}
      ${button(words.whole, frame, place.whole, place.showAll)}
      ${button(words.zoomIn, plus, place.closest, () => place.zoom(2))}
    </div>
    <div class="group" role="group" aria-label=${words.save}>
      <button class="save" title=${words.savePng} aria-label=${words.savePng} @click=${() => place.save('png')}>
        ${down}PNG
      </button>
      <button class="save" title=${words.saveSvg} aria-label=${words.saveSvg} @click=${() => place.save('svg')}>
        ${down}SVG
      </button>
    </div>
  </div>`;
}

function choice<T extends 'mean' | 'max' | 'sum' | 'linear' | 'log'>(
  label: string,
  name: string,
  values: readonly T[],
  words: MapStrings,
  chosen: string,
  choose: (value: T) => void,
) {
  return html`<div class="choice" role="radiogroup" aria-label=${label} title=${label}>
    ${values.map(
      (value) => html`<label>
        <input type="radio" name=${name} value=${value} .checked=${value === chosen} @change=${() => choose(value)} />
        <span>${words[value]}</span>
      </label>`,
    )}
  </div>`;
}

function button(label: string, icon: unknown, disabled: boolean, act: () => void) {
  return html`<button class="icon" title=${label} aria-label=${label} ?disabled=${disabled} @click=${act}>
    ${icon}
  </button>`;
}

const icon = (path: string) => html`<svg viewBox="0 0 16 16" aria-hidden="true"><path d=${path} /></svg>`;
const plus = icon('M8 3.5v9M3.5 8h9');
const minus = icon('M3.5 8h9');
const frame = icon('M2.5 6V2.5H6M10 2.5h3.5V6M13.5 10v3.5H10M6 13.5H2.5V10');
const down = icon('M8 2.5v7.5M4.8 7l3.2 3.2L11.2 7M3 13.2h10');
