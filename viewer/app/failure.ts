// What went wrong, in a line, and the way to go on.
import { EngineError } from 'fovea';
import { html, nothing } from 'lit';
import { explain, type Strings } from './strings.js';

/** A dead engine starts again with the page, whose address says where it was; other work may be tried again. */
export function failure(error: unknown, strings: Strings, before?: string, retry?: () => void) {
  const dead = error instanceof EngineError;
  const [action, label] = dead ? [() => location.reload(), strings.reload] : [retry, strings.retry];
  return html`<span>${explain(error, strings, before)}</span>
    ${action ? html`<button class="plain" @click=${action}>${label}</button>` : nothing}`;
}
