// How <fovea-words> looks. Colours come from custom properties of the page where it sets them.
import { css } from 'lit';

export const wordsStyle = css`
  :host {
    --ink: var(--fovea-ink, light-dark(#1b1d21, #e9ebee));
    --muted: var(--fovea-muted, light-dark(#5b616b, #a3aab4));
    --accent: var(--fovea-accent, light-dark(#1c6391, #6cc3d5));
    --on-accent: var(--fovea-on-accent, light-dark(#ffffff, #0e1216));
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
    gap: 0.3rem 0.15rem;
  }
  .between {
    height: clamp(4.5rem, 16vh, 9rem);
  }
  :host([look='shading']) .between {
    height: 1.75rem;
  }
  .word {
    position: relative;
    z-index: 1;
    margin: 0;
    padding: 0.15rem 0.4rem;
    border: 0;
    border-radius: 0.35rem;
    background: color-mix(in oklab, var(--accent) var(--share, 0%), transparent);
    color: inherit;
    font: inherit;
    font-size: 1.1875rem;
    line-height: 1.5;
    white-space: pre;
    cursor: pointer;
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
    min-height: 1.6em;
    margin: 1.1rem 0 0;
    font-size: 0.9375rem;
    line-height: 1.6;
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
