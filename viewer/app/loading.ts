// How far a reading is, and how long it will still take.
import { html, nothing } from 'lit';
import type { Strings } from './strings.js';

/** Before so much of it was read, in ms, nobody can tell how long the rest takes. */
const KNOWN = 1000;

export interface Loading {
  readonly fraction: number;
  /** Of the rest; undefined while nobody can tell. */
  readonly seconds?: number;
}

/** Follows one reading from now on; `changed` hears of each step. */
export function follow(changed: (loading: Loading) => void): (fraction: number) => void {
  const start = performance.now();
  changed({ fraction: 0 });
  return (fraction) => {
    const spent = performance.now() - start;
    const rest = fraction > 0 && spent > KNOWN ? (spent * (1 - fraction)) / fraction / 1000 : undefined;
    changed({ fraction, seconds: rest });
  };
}

export function loadingLine({ fraction, seconds }: Loading, strings: Strings) {
  return html`<label class="note" style="display: block"
    >${strings.reading} ${seconds === undefined ? nothing : strings.timeLeft(Math.ceil(seconds))}
    <progress max="1" .value=${fraction}></progress>
  </label>`;
}
