// What went wrong, in a line, and the way to go on.
import { EngineError } from 'fovea';
import { html, nothing } from 'lit';
import { explain, type Strings } from './strings.js';

/** What the page says itself, in the language it has by then. */
export type Words = (strings: Strings) => string;

export const isWords = (error: unknown): error is Words => typeof error === 'function';

/** A dead engine starts again with the page, whose address says where it was; other work may be tried again. */
export function failure(error: unknown, strings: Strings, before?: string, retry?: () => void) {
  const dead = error instanceof EngineError;
  const [action, label] = dead ? [() => location.reload(), strings.reload] : [retry, strings.retry];
  return html`<span>${explain(error, strings, before)}</span>
    ${action ? html`<button class="plain" @click=${action}>${label}</button>` : nothing}`;
}

/** Told by the page's own message, with the way to go on. */
const told = new WeakSet<Error>();

export function pageTells(error: Error): void {
  told.add(error);
}

const isTold = (error: unknown) => error instanceof Error && told.has(error);

/** Of what a view shows in place of its content. */
export const roleOf = (error: unknown) => (isTold(error) ? nothing : 'alert');

/** As failure(), in a view: the page's own message is not said twice. */
export function failureHere(error: unknown, strings: Strings, before?: string, retry?: () => void) {
  return isTold(error) ? explain(error, strings, before) : failure(error, strings, before, retry);
}
