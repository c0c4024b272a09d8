// How <fovea-heads> looks.
import { css } from 'lit';

export const headsStyle = css`
  :host {
    --ink: var(--fovea-ink, light-dark(#1b1d21, #e9ebee));
    --muted: var(--fovea-muted, light-dark(#5b616b, #a3aab4));
    --line: var(--fovea-line, light-dark(#dcdfe4, #30353c));
    --surface: var(--fovea-surface, light-dark(#ffffff, #1a1d21));
    --accent: var(--fovea-accent, light-dark(#1c6391, #6cc3d5));
    display: block;
    color: var(--ink);
  }
  .layers {
    display: grid;
    grid-template-columns: repeat(
      auto-fill,
      minmax(min(100%, calc(var(--heads) * 8.7rem - 0.6rem)), 1fr)
    );
    gap: 1.25rem 1.5rem;
  }
  h3 {
    margin: 0 0 0.5rem;
    font-size: 0.875rem;
    font-weight: 600;
  }
  .heads {
    display: grid;
    grid-template-columns: repeat(auto-fill, minmax(8.1rem, 1fr));
    gap: 0.6rem;
  }
  button {
    display: grid;
    gap: 0.35rem;
    align-content: start;
    margin: 0;
    padding: 0.5rem;
    border: 1px solid var(--line);
    border-radius: 0.5rem;
    background: var(--surface);
    color: inherit;
    font: inherit;
    font-size: 0.8125rem;
    text-align: left;
    cursor: pointer;
    contain: content;
  }
  button:hover {
    border-color: var(--accent);
  }
  button:focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 1px;
  }
  canvas {
    width: 100%;
    aspect-ratio: 4 / 3;
    border-radius: 0.25rem;
    background: #440154;
    image-rendering: pixelated;
  }
  .name {
    font-weight: 600;
  }
  .numbers {
    display: grid;
    grid-template-columns: 1fr auto;
    gap: 0.05rem 0.5rem;
    font-size: 0.75rem;
    color: var(--muted);
  }
  .numbers b {
    color: var(--ink);
    font-weight: 500;
    font-variant-numeric: tabular-nums;
    text-align: right;
  }
`;
