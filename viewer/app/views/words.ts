// <view-words>: both sentences as text, and the weights between their words or tokens.
import 'fovea/elements';
import type { Trace } from 'fovea';
import type { WordPlace } from 'fovea/elements';
import { html, LitElement, nothing } from 'lit';
import { choice, choiceStyle } from '../choice.js';
import { change, Latest, report } from '../events.js';
import { isLong, select } from '../groups.js';
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
  };
  declare trace: Trace;
  declare state: PageState;
  declare strings: Strings;
  declare private words: WordWeights | undefined;
  private readonly latest = new Latest();
  private readFor: readonly unknown[] = [];

  protected override render() {
    const { strings, state, trace, words } = this;
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
      ${
        isLong(entries[0])
          ? html`<div class="empty card">
              <p>${strings.tooLong}</p>
              <button class="plain main" @click=${() => change(this, { view: 'map' }, true)}>${strings.toMap}</button>
            </div>`
          : html`<div class="card">
              ${
                words === undefined
                  ? html`<p class="note" style="margin: 0">${strings.reading}</p>`
                  : html`<fovea-words
                        .queries=${words.queries}
                        .keys=${words.keys}
                        .weights=${words.weights}
                        .queryTitle=${sideTitle(entries[0].predicts ?? entries[0].queries, strings.queriesSide, strings)}
                        .keyTitle=${sideTitle(entries[0].keys, strings.keysSide, strings)}
                        .pinned=${state.word}
                        .locale=${state.locale ?? 'en'}
                        look=${state.look}
                        @fovea-word=${this.pin}
                      ></fovea-words>
                      ${words.asAsked ? nothing : html`<p class="note">${strings.noValues}</p>`}`
              }
            </div>`
      }`;
  }

  protected override updated(): void {
    const { trace, state } = this;
    const wanted = [trace, state.place.at, state.place.head, state.units, state.measure];
    if (wanted.every((value, n) => value === this.readFor[n])) return;
    this.readFor = wanted;
    const selection = select(trace, state.place);
    if (isLong(selection.entries[0])) return;
    this.latest
      .run(() => readWords(trace, selection, state))
      .then((words) => {
        if (words) this.words = words;
      })
      .catch((error) => report(this, error));
  }

  private pin({ detail }: CustomEvent<{ pinned?: WordPlace }>): void {
    const { pinned } = detail;
    const { word } = this.state;
    if (pinned?.side !== word?.side || pinned?.index !== word?.index) change(this, { word: pinned });
  }
}

customElements.define('view-words', ViewWords);
