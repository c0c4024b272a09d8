// How <fovea-words> looks. Colours come from custom properties of the page where it sets them.
import { css } from 'lit';

export const wordsStyle = css`
  :host {
    --ink: var(--fovea-ink, light-dark(#1b1d21, #e9ebee));
    --muted: var(--fovea-muted, light-dark(#5b616b, #a3aab4));
    --accent: var(--fovea-accent, light-dark(#1c6391, #6cc3d5));
    --on-accent: var(--fovea-on-accent, light-dark(#ffffff, #0e1216));
    --surface: var(--fovea-surface, light-dark(#ffffff, #1a1d21));
    display: block;
    color: var(--ink);
  }
  .frame {
    position: relative;
  }
  svg {
    position: absolute;
    inset: 0;
    width: 100%;
    height: 100%;
    overflow: visible;
    pointer-events: none;
    fill: none;
    stroke: var(--accent);
    stroke-linecap: round;
  }
  h3 {
    margin: 0 0 0.4rem;
    font-size: 0.8125rem;
    font-weight: 600;
    color: var(--muted);
  }
  h3.query {
    margin: 0.4rem 0 0;
  }
  .line {
    display: flex;
    flex-wrap: wrap;
    gap: 0.3em 0.15em;
    font-size: 1.1875rem;
  }
  .between {
    height: clamp(4.5rem, 16vh, 9rem);
  }
  [data-layout='text'] .between {
    height: 1.75rem;
  }
  [data-layout='middle'] .line {
    font-size: 1.0625rem;
  }
  [data-layout='small'] .line {
    font-size: 0.875rem;
    column-gap: 0;
  }
  [data-layout='columns'] {
    display: grid;
    grid-template: auto auto / minmax(0, max-content) clamp(4rem, 28%, 16rem) minmax(0, max-content);
    gap: 0.2rem 0;
  }
  [data-layout='columns'] .line {
    grid-row: 2;
    flex-flow: column;
    align-items: flex-start;
    gap: 0;
    font-size: 0.9375rem;
  }
  [data-layout='columns'] .line.key {
    align-items: flex-end;
  }
  [data-layout='columns'] h3 {
    grid-area: 1 / 3;
    margin: 0;
    padding: 0 0.4rem;
  }
  [data-layout='columns'] h3.key {
    grid-column: 1;
    text-align: right;
  }
  [data-layout='columns'] .between {
    grid-area: 2 / 2;
    height: auto;
  }
  [data-layout='columns'] .word {
    padding-block: 0.05rem;
    line-height: 1.35;
    text-align: inherit;
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  .word {
    position: relative;
    z-index: 1;
    margin: 0;
    padding: 0.13em 0.34em;
    border: 0;
    border-radius: 0.35rem;
    background: color-mix(in oklab, var(--accent) var(--share, 0%), transparent);
    color: inherit;
    font: inherit;
    line-height: 1.5;
    white-space: pre;
    cursor: pointer;
    /* Arrow keys bring a word into view above the readout, which may lie over the last ones. */
    scroll-margin-block: 1rem 5rem;
    transition: background-color 120ms;
  }
  .word.deep {
    color: var(--on-accent);
  }
  .word.own {
    color: inherit;
    background: none;
    box-shadow: inset 0 0 0 2px var(--ink);
  }
  .word[aria-pressed='true'] {
    text-decoration: underline 2px;
    text-underline-offset: 0.25em;
  }
  .word:focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
  }
  .readout {
    position: sticky;
    bottom: 0;
    z-index: 2;
    min-height: 1.6em;
    margin: 0.7rem 0 0;
    padding: 0.4rem 0 0;
    background: var(--surface);
    box-shadow: 0 -0.4rem 0.4rem var(--surface);
    font-size: 0.9375rem;
    line-height: 1.6;
  }
  /* A hint tells nothing worth the words it would lie over. */
  .readout:has(.hint) {
    position: static;
  }
  .verb {
    margin: 0 0.35rem;
    color: var(--muted);
  }
  .part {
    display: inline-block;
    margin-right: 0.9rem;
  }
  .part i {
    font-style: normal;
    font-variant-numeric: tabular-nums;
    color: var(--muted);
  }
  .rest,
  .hint {
    color: var(--muted);
  }
  @media (prefers-reduced-motion: reduce) {
    .word {
      transition: none;
    }
  }
`;
