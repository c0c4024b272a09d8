// A few values of which one holds, as buttons side by side.
import { css, html } from 'lit';

export const choiceStyle = css`
  fieldset {
    margin: 0;
    padding: 0;
    border: 0;
    font-size: 0.75rem;
    color: var(--fovea-muted);
  }
  legend {
    margin-bottom: 0.2rem;
    padding: 0;
  }
  .choices {
    display: inline-flex;
    border: 1px solid var(--fovea-line);
    border-radius: 0.5rem;
    overflow: hidden;
  }
  .choices button {
    min-height: 2.125rem;
    padding: 0.2rem 0.7rem;
    border: 0;
    background: var(--fovea-surface);
    color: var(--fovea-ink);
    font-size: 0.875rem;
    cursor: pointer;
  }
  .choices button + button {
    border-left: 1px solid var(--fovea-line);
  }
  .choices button[aria-pressed='true'] {
    background: color-mix(in oklab, var(--fovea-accent) 16%, var(--fovea-surface));
    font-weight: 600;
  }
  .choices button:focus-visible {
    outline-offset: -2px;
  }
`;

export function choice<T extends string>(
  label: string,
  options: Readonly<Record<T, string>>,
  chosen: T,
  pick: (value: T) => void,
) {
  return html`<fieldset>
    <legend>${label}</legend>
    <div class="choices">
      ${(Object.keys(options) as T[]).map(
        (value) =>
          html`<button aria-pressed=${value === chosen} @click=${() => pick(value)}>${options[value]}</button>`,
      )}
    </div>
  </fieldset>`;
}
