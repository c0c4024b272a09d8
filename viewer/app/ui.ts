// Looks that all parts of the page share.
import { css } from 'lit';

export const ui = css`
  :host {
    display: block;
  }
  :host([hidden]) {
    display: none;
  }
  button,
  select,
  textarea {
    font: inherit;
    color: inherit;
  }
  button.plain,
  select,
  .file {
    min-height: 2.25rem;
    padding: 0.25rem 0.75rem;
    border: 1px solid var(--fovea-line);
    border-radius: 0.5rem;
    background: var(--fovea-surface);
    font-size: 0.875rem;
    cursor: pointer;
  }
  select {
    padding-right: 0.5rem;
  }
  button.plain:hover,
  select:hover,
  .file:hover {
    border-color: var(--fovea-accent);
  }
  button.main {
    border-color: var(--fovea-accent);
    background: var(--fovea-accent);
    color: var(--fovea-on-accent);
  }
  :focus-visible {
    outline: 2px solid var(--fovea-accent);
    outline-offset: 2px;
  }
  label.field {
    display: inline-grid;
    gap: 0.2rem;
    font-size: 0.75rem;
    color: var(--fovea-muted);
  }
  label.field select {
    color: var(--fovea-ink);
  }
  .bar {
    display: flex;
    flex-wrap: wrap;
    align-items: end;
    gap: 0.6rem 0.9rem;
    margin-bottom: 1.25rem;
  }
  .card {
    padding: clamp(1rem, 2.5vw, 1.75rem);
    border: 1px solid var(--fovea-line);
    border-radius: 0.9rem;
    background: var(--fovea-surface);
  }
  .note {
    margin: 0.75rem 0 0;
    font-size: 0.875rem;
    color: var(--fovea-muted);
  }
  progress {
    display: block;
    width: 100%;
    height: 0.4rem;
    margin-top: 0.4rem;
    accent-color: var(--fovea-accent);
  }
  .error {
    margin: 0.75rem 0 0;
    padding: 0.6rem 0.85rem;
    border-radius: 0.5rem;
    background: var(--fovea-warn-ground);
    color: var(--fovea-warn);
    font-size: 0.9375rem;
  }
  .first {
    margin-top: 0;
  }
  .empty {
    display: grid;
    justify-items: center;
    gap: 0.5rem;
    padding: clamp(2rem, 9vh, 6rem) 1rem;
    text-align: center;
    color: var(--fovea-muted);
  }
  .empty h2 {
    margin: 0;
    color: var(--fovea-ink);
    font-size: 1.25rem;
  }
  .empty p {
    max-width: 32rem;
    margin: 0 0 0.5rem;
  }
`;
