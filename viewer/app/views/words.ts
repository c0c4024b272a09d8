// <view-words>: both sentences as text, and the weights between their words or tokens.
import 'fovea/elements';
import type { Trace, TraceEntry } from 'fovea';
import type { WordPlace } from 'fovea/elements';
import { html, LitElement, nothing } from 'lit';
import { choice, choiceStyle } from '../choice.js';
import { change, Latest } from '../events.js';
import { failureHere, roleOf } from '../failure.js';
import { isEmpty, isLong, select } from '../groups.js';
import { readWords, type WordWeights } from '../reading.js';
import '../selection-bar.js';
import type { PageState, Place } from '../state.js';
import { type Strings, sideTitle } from '../strings.js';
import { ui } from '../ui.js';

export class ViewWords extends LitElement {
  static override styles = [ui, choiceStyle];
  static override properties = {
    trace: { attribute: false },
    state: { attribute: false },
    strings: { attribute: false },
    words: { state: true },
    failed: { state: true },
  };
  declare trace: Trace;
  declare state: PageState;
  declare strings: Strings;
  declare private words: WordWeights | undefined;
  declare private failed: unknown;
  private readonly latest = new Latest();
  private readFor: readonly unknown[] = [];

  protected override render() {
    const { strings, state, trace } = this;
    const { entries } = select(trace, state.place);
    return html`<div class="bar">
        <selection-bar
          .trace=${trace}
          .place=${state.place}
          .strings=${strings}
          @selection-change=${({ detail }: CustomEvent<Place>) => change(this, { place: detail }, true)}
        ></selection-bar>
        ${choice(strings.look, strings.looks, state.look, (look) => change(this, { look }))}
        ${choice(strings.units, strings.unit, state.units, (units) => change(this, { units, word: undefined }))}
        ${choice(strings.measure, strings.measures, state.measure, (measure) => change(this, { measure }))}
      </div>
      <div class="card">${this.body(entries[0])}</div>`;
  }

  private body(entry: TraceEntry) {
    const { strings, words, failed } = this;
    if (isEmpty(entry)) return html`<p class="note first">${strings.noCells}</p>`;
    if (isLong(entry))
      return html`<div class="empty">
        <p>${strings.tooLong}</p>
        <button class="plain main" @click=${() => change(this, { view: 'map' }, true)}>${strings.toMap}</button>
      </div>`;
    if (failed !== undefined)
      return html`<p class="error first" role=${roleOf(failed)}>${failureHere(failed, strings, undefined, () => this.read())}</p>`;
    if (!words) return html`<p class="note first" role="status">${strings.reading}</p>`;
    return this.sentences(entry, words);
  }

  private sentences(entry: TraceEntry, words: WordWeights) {
    const { strings, state } = this;
    const { queries, keys } = words;
    const { word } = state;
    const there = word !== undefined && word.index < (word.side === 'query' ? queries : keys).length;
    return html`<fovea-words
        .queries=${queries}
        .keys=${keys}
        .weights=${words.weights}
        .queryTitle=${sideTitle(entry.predicts ?? entry.queries, strings.queriesSide, strings)}
        .keyTitle=${sideTitle(entry.keys, strings.keysSide, strings)}
        .pinned=${there ? word : undefined}
        .locale=${state.locale ?? 'en'}
        look=${state.look}
        @fovea-word=${this.pin}
      ></fovea-words>
      ${words.asAsked ? nothing : html`<p class="note">${strings.noValues}</p>`}`;
  }

  protected override updated(): void {
    const { trace, state } = this;
    const wanted = [trace, state.place.at, state.place.head, state.units, state.measure];
    if (wanted.every((value, n) => value === this.readFor[n])) return;
    this.readFor = wanted;
    this.read();
  }

  private read(): void {
    const { trace, state } = this;
    const selection = select(trace, state.place);
    this.failed = undefined;
    this.latest.stop();
    if (isLong(selection.entries[0]) || isEmpty(selection.entries[0])) return;
    this.latest
      .run(() => readWords(trace, selection, state))
      .then((words) => {
        if (words) this.words = words;
      })
      .catch((error) => {
        this.failed = error;
      });
  }

  private pin({ detail }: CustomEvent<{ pinned?: WordPlace }>): void {
    const { pinned } = detail;
    const { word } = this.state;
    if (pinned?.side !== word?.side || pinned?.index !== word?.index) change(this, { word: pinned });
  }
}

customElements.define('view-words', ViewWords);
