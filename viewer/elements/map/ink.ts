// The element's colours as computed, for what is drawn outside of style sheets.
import { html } from 'lit';
import type { Ink, Tone } from './marks.js';

const NAMES = ['ink', 'muted', 'accent', 'surface', 'empty'] as const;

/** Has every colour as its own; inkOf() reads them. */
export const inkTemplate = html`<div hidden>${NAMES.map((name) => html`<i class="ink-${name}"></i>`)}</div>`;

export function colourOf(root: ParentNode, name: (typeof NAMES)[number]): string {
  return getComputedStyle(root.querySelector(`.ink-${name}`)!).color;
}

export function inkOf(root: ParentNode, host: Element): Ink {
  const tones = ['ink', 'muted', 'accent'] satisfies Tone[];
  const colours = Object.fromEntries(tones.map((tone) => [tone, colourOf(root, tone)]));
  const font = getComputedStyle(host).fontFamily;
  return { colours: colours as Record<Tone, string>, background: colourOf(root, 'surface'), font };
}
