// <view-live>: a sentence, its translation, and where the model looked, as one types.
import 'fovea/elements';
import { css, html, LitElement, nothing } from 'lit';
import { change, Latest, report } from '../events.js';
import { failureHere, roleOf } from '../failure.js';
import { select } from '../groups.js';
import type { Live } from '../live.js';
import { readWords, type WordWeights } from '../reading.js';
import '../selection-bar.js';
import { EXAMPLES, LIVE, type PageState, type Place, sentenceOf } from '../state.js';
import { percentText, type Strings, sideTitle } from '../strings.js';
import { ui } from '../ui.js';

/** Typing that pauses this long, in ms, is translated. */
const PAUSE = 250;

export class ViewLive extends LitElement {
  static override styles = [
    ui,
    css`
      .columns {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr));
        gap: 1rem;
      }
      .card > h2 {
        margin: 0 0 0.5rem;
        font-size: 0.8125rem;
        font-weight: 600;
        color: var(--fovea-muted);
      }
      textarea {
        box-sizing: border-box;
        width: 100%;
        min-height: 3.9rem;
        padding: 0;
        border: 0;
        background: none;
        font-size: 1.375rem;
        line-height: 1.4;
        resize: vertical;
        field-sizing: content;
      }
      textarea:focus-visible {
        outline: 0;
      }
      .card:has(textarea:focus-visible) {
        outline: 2px solid var(--fovea-accent);
        outline-offset: -1px;
      }
      output {
        display: block;
        min-height: 3.9rem;
        font-size: 1.375rem;
        line-height: 1.4;
      }
      output.old {
        color: var(--fovea-muted);
      }
      .examples {
        display: flex;
        flex-wrap: wrap;
        gap: 0.4rem;
        margin: 0.9rem 0 1.25rem;
      }
      .examples button {
        border-radius: 99rem;
        font-size: 0.8125rem;
        min-height: 2rem;
      }
      .look {
        margin-top: 1rem;
      }
      .look header {
        display: flex;
        flex-wrap: wrap;
        justify-content: space-between;
        gap: 0.75rem;
        margin-bottom: 1.25rem;
      }
      .bar {
        margin: 0;
      }
      .figures {
        align-self: end;
        margin: 0;
        font-size: 0.8125rem;
        color: var(--fovea-muted);
      }
    `,
  ];
  static override properties = {
    live: { attribute: false },
    /** Told on every change of `live`, which is the same object. */
    version: { attribute: false },
    state: { attribute: false },
    strings: { attribute: false },
    words: { state: true },
  };
  declare live: Live;
  declare version: number;
  declare state: PageState;
  declare strings: Strings;
  declare private words: WordWeights | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly latest = new Latest();
  private readFor = '';
  private typed: string | undefined;

  protected override render() {
    const { strings, live } = this;
    const text = this.typed ?? sentenceOf(this.state);
    const old = live.phase !== 'done' || live.error !== undefined;
    return html`<div class="columns">
        <section class="card">
          <h2><label for="sentence">${strings.sentence}</label></h2>
          <textarea
            id="sentence"
            lang="en"
            spellcheck="true"
            placeholder=${strings.sentenceHint}
            .value=${text}
            @input=${this.type}
          ></textarea>
        </section>
        <section class="card" aria-live="polite">
          <h2>${strings.translation}</h2>
          <output for="sentence" lang="fr" class=${old ? 'old' : ''}>${
            text.trim() === '' ? '' : live.result?.translation.text
          }</output>
          ${this.status(text)}
        </section>
      </div>
      <div class="examples" role="group" aria-label=${strings.examples}>
        ${EXAMPLES.map((example) => html`<button class="plain" lang="en" @click=${() => this.take(example)}>${example}</button>`)}
      </div>
      ${this.attention(text)}`;
  }

  private status(text: string) {
    const { strings, live } = this;
    if (live.error !== undefined) {
      const [before, retry] = live.modelFailed
        ? [strings.noModel, () => void live.translate(text)]
        : [undefined, undefined];
      return html`<p class="error" role=${roleOf(live.error)}>${failureHere(live.error, strings, before, retry)}</p>`;
    }
    if (live.phase === 'loading') {
      const loaded = live.fraction >= 1;
      return html`<label class="note"
        >${loaded ? strings.startingModel : strings.loadingModel}
        <progress max="1" .value=${live.fraction}></progress>
      </label>`;
    }
    if (text.trim() === '') return html`<p class="note">${strings.blank}</p>`;
    if (live.phase === 'working') return html`<p class="note">${strings.working}</p>`;
    return nothing;
  }

  private attention(text: string) {
    const { strings, words, live, state } = this;
    const result = live.result;
    if (!words || !result || text.trim() === '') return nothing;
    const [entry] = select(result.trace, state.place).entries;
    return html`<section class="card look">
      <header>
        <div class="bar">
          <selection-bar
            .trace=${result.trace}
            .place=${state.place}
            .strings=${strings}
            @selection-change=${({ detail }: CustomEvent<Place>) => change(this, { place: detail })}
          ></selection-bar>
        </div>
        <p class="figures">
          ${strings.probability} ${percentText(Math.exp(result.translation.logProbability))} · ${result.milliseconds.toFixed(0)} ${strings.milliseconds}
        </p>
      </header>
      <fovea-words
        .queries=${words.queries}
        .keys=${words.keys}
        .weights=${words.weights}
        .queryTitle=${sideTitle(entry.predicts ?? entry.queries, strings.queriesSide, strings)}
        .keyTitle=${sideTitle(entry.keys, strings.keysSide, strings)}
        .locale=${state.locale ?? 'en'}
        look=${state.look}
      ></fovea-words>
    </section>`;
  }

  protected override updated(): void {
    const { result } = this.live;
    if (!result) return;
    const { place } = this.state;
    const wanted = JSON.stringify([result.source, place]);
    if (wanted === this.readFor) return;
    this.readFor = wanted;
    this.latest
      .run(() => readWords(result.trace, select(result.trace, place), { units: 'words', measure: 'weights' }))
      .then((words) => {
        if (words) this.words = words;
      })
      .catch((error) => report(this, error));
  }

  private type(event: Event): void {
    this.typed = (event.target as HTMLTextAreaElement).value;
    this.requestUpdate();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.send(), PAUSE);
  }

  private take(text: string): void {
    clearTimeout(this.timer);
    this.typed = text;
    this.send();
  }

  private send(): void {
    const text = this.typed ?? '';
    this.typed = undefined;
    change(this, { text, trace: LIVE, word: undefined });
  }
}

customElements.define('view-live', ViewLive);
