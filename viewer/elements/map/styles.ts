// What the parts of the map share: colours that pages may set, by day and by night, and buttons.
import { css } from 'lit';

export const styles = css`
  :host {
    --_surface: var(--fovea-surface, light-dark(#ffffff, #14161b));
    --_raised: var(--fovea-raised, light-dark(#f4f5f7, #20242c));
    --_empty: var(--fovea-empty, light-dark(#e7e9ee, #1e222a));
    --_ink: var(--fovea-ink, light-dark(#1b1f27, #e9ebf0));
    --_muted: var(--fovea-muted, light-dark(#667085, #98a1b3));
    --_hair: var(--fovea-hair, light-dark(#1b1f271f, #ffffff26));
    --_accent: var(--fovea-accent, light-dark(#2468d0, #7cb2ff));
    font-family: var(--fovea-font, system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Apple SD Gothic Neo',
      'Malgun Gothic', 'Noto Sans KR', sans-serif);
    font-size: 13px;
    line-height: 1.4;
    color: var(--_ink);
    box-sizing: border-box;
  }
  *, *::before, *::after { box-sizing: border-box; }
  button {
    font: inherit;
    font-size: 12px;
    color: var(--_ink);
    background: var(--_raised);
    border: 1px solid var(--_hair);
    border-radius: 7px;
    height: 28px;
    padding: 0 10px;
    cursor: pointer;
    transition: background 0.12s, border-color 0.12s, color 0.12s;
  }
  button:hover:not(:disabled) { border-color: var(--_accent); color: var(--_accent); }
  button:disabled { opacity: 0.45; cursor: default; }
  button:focus-visible { outline: 2px solid var(--_accent); outline-offset: 1px; }
  @media (prefers-reduced-motion: reduce) { button { transition: none; } }
`;
