// How the frame of the page looks: top bar, messages, what lies over the page while a file is dragged.
import { css } from 'lit';

export const pageStyle = css`
  .top {
    position: sticky;
    top: 0;
    z-index: 10;
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0.35rem 1.25rem;
    padding: 0.5rem clamp(0.75rem, 3vw, 2rem);
    border-bottom: 1px solid var(--fovea-line);
    background: var(--fovea-surface);
  }
  .brand {
    display: flex;
    align-items: center;
    gap: 0.5rem;
    margin: 0;
    font-size: 1.0625rem;
    font-weight: 650;
    letter-spacing: -0.01em;
  }
  .brand img {
    width: 1.625rem;
    height: 1.625rem;
  }
  nav {
    display: flex;
    flex: 1;
    gap: 0.15rem;
  }
  nav a {
    padding: 0.375rem 0.8rem;
    border-radius: 0.5rem;
    color: var(--fovea-muted);
    font-size: 0.9375rem;
    font-weight: 500;
    text-decoration: none;
    white-space: nowrap;
  }
  nav a:hover {
    color: var(--fovea-ink);
  }
  nav a[aria-current] {
    background: color-mix(in oklab, var(--fovea-accent) 14%, transparent);
    color: var(--fovea-ink);
  }
  .tools {
    display: flex;
    gap: 0.4rem;
    margin-left: auto;
  }
  @media (max-width: 54rem) {
    nav {
      order: 3;
      flex-basis: 100%;
    }
  }
  @media (max-width: 30rem) {
    .brand {
      gap: 0;
      font-size: 0;
    }
    nav {
      justify-content: space-between;
    }
    nav a {
      padding: 0.375rem 0.45rem;
    }
    .tools {
      gap: 0.25rem;
    }
    .tools > * {
      padding: 0.25rem 0.4rem;
    }
    .tools select {
      max-width: 5.5rem;
    }
  }
  .tools select {
    max-width: 8rem;
  }
  .skip {
    position: fixed;
    top: 0.5rem;
    left: 0.5rem;
    z-index: 20;
  }
  .skip:not(:focus) {
    clip-path: inset(50%);
  }
  main:focus {
    outline: 0;
  }
  main {
    max-width: 78rem;
    margin: 0 auto;
    padding: 1.25rem clamp(0.75rem, 3vw, 2rem) 3rem;
  }
  .current {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    gap: 0.25rem 0.75rem;
    margin: 0 0 1rem;
    color: var(--fovea-muted);
    font-size: 0.875rem;
  }
  .current b {
    overflow: hidden;
    max-width: 100%;
    color: var(--fovea-ink);
    font-weight: 600;
    text-overflow: ellipsis;
    white-space: nowrap;
  }
  .message {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    margin: 0 0 1rem;
  }
  .message span {
    flex: 1;
    overflow-wrap: anywhere;
  }
  .message button {
    flex: none;
    color: inherit;
    background: none;
    border-color: currentColor;
  }
  .drop {
    position: fixed;
    inset: 0.75rem;
    z-index: 20;
    display: grid;
    place-items: center;
    border: 2px dashed var(--fovea-accent);
    border-radius: 1rem;
    background: color-mix(in oklab, var(--fovea-surface) 88%, transparent);
    font-size: 1.25rem;
    font-weight: 600;
    pointer-events: none;
  }
  .hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
  }
`;
