// <view-compare>: two heads, layers or traces side by side; what one shows, the other shows too.
import type { Trace } from 'fovea';
import { css, html, LitElement, nothing } from 'lit';
import { change } from '../events.js';
import { failure, isWords } from '../failure.js';
import '../map-pane.js';
import { selectOne } from '../selection-bar.js';
import type { Box, PageState, Place } from '../state.js';
import type { Strings } from '../strings.js';
import { ui } from '../ui.js';

export class ViewCompare extends LitElement {
  static override styles = [
    ui,
    css`
      .sides {
        display: grid;
        grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
        gap: 1rem;
      }
      .linked {
        margin: 0;
        align-self: center;
      }
      map-pane {
        --pane-height: clamp(18rem, 54vh, 40rem);
        margin-top: 0.9rem;
      }
      section .bar {
        margin: 0;
      }
      h2 {
        margin: 0 0 0.6rem;
        font-size: 0.9375rem;
      }
    `,
  ];
  static override properties = {
    trace: { attribute: false },
    name: { attribute: false },
    second: { attribute: false },
    secondName: { attribute: false },
    failed: { attribute: false },
    state: { attribute: false },
    strings: { attribute: false },
  };
  declare trace: Trace;
  declare name: string;
  /** Another trace, for the right side: that of `state.second`, once it is there. */
  declare second: Trace | undefined;
  declare secondName: string;
  /** Why it is not; words say all by themselves. */
  declare failed: unknown;
  declare state: PageState;
  declare strings: Strings;

  protected override render() {
    const { trace, state, strings } = this;
    return html`<div class="bar">
        <button class="plain" @click=${this.askSecond}>${strings.openSecond}</button>
        ${
          state.second === undefined
            ? nothing
            : html`<button class="plain" @click=${this.closeSecond}>${strings.closeSecond}</button>`
        }
        <p class="note linked">${strings.linked}</p>
      </div>
      <div class="sides">
        ${this.side(state.second === undefined ? strings.left : this.name, trace, state.place, 'place')}
        ${this.right()}
      </div>`;
  }

  private right() {
    const { trace, second, secondName, failed, state, strings } = this;
    const right = state.second === undefined ? trace : second;
    const title = state.second === undefined ? strings.right : secondName;
    if (right) return this.side(title, right, otherPlace(trace, right, state.place, state.other), 'other');
    return html`<section class="card" aria-label=${title}>
      <h2>${title}</h2>
      ${
        failed === undefined
          ? html`<p class="note" role="status">${strings.reading}</p>`
          : html`<p class="error" role="alert">
              ${isWords(failed) ? failed(strings) : failure(failed, strings, strings.badTrace)}
            </p>`
      }
    </section>`;
  }

  private side(title: string, trace: Trace, place: Place, name: 'place' | 'other') {
    const { state, strings } = this;
    const box = name === 'place' ? state.box : this.scale(trace, place, state.box, false);
    const viewed = ({ detail }: CustomEvent<Box>) =>
      change(this, { box: name === 'place' ? detail : this.scale(trace, place, detail, true) });
    return html`<section class="card" aria-label=${title}>
      <h2>${title}</h2>
      <div class="bar">
        <selection-bar
          single
          .trace=${trace}
          .place=${place}
          .strings=${strings}
          @selection-change=${({ detail }: CustomEvent<Place>) => change(this, { [name]: detail }, true)}
        ></selection-bar>
      </div>
      <map-pane
        .trace=${trace}
        .place=${place}
        .state=${state}
        .box=${box}
        .strings=${strings}
        @fovea-view=${viewed}
        @fovea-settings=${({ detail }: CustomEvent<Partial<PageState>>) => change(this, detail)}
      ></map-pane>
    </section>`;
  }

  /** Lengths may differ: the same part of the whole is shown. `back` is from this side to the left one. */
  private scale(trace: Trace, place: Place, box: Box | undefined, back: boolean): Box | undefined {
    const [, Lq, Lk] = selectOne(this.trace, this.state.place).entries[0].shape;
    const [, Mq, Mk] = selectOne(trace, place).entries[0].shape;
    if (Lq * Lk * Mq * Mk === 0) return undefined;
    const [y, x] = back ? [Lq / Mq, Lk / Mk] : [Mq / Lq, Mk / Lk];
    return (
      box && {
        queries: [box.queries[0] * y, box.queries[1] * y],
        keys: [box.keys[0] * x, box.keys[1] * x],
      }
    );
  }

  private askSecond(): void {
    this.dispatchEvent(new CustomEvent('page-open-second', { bubbles: true, composed: true }));
  }

  private closeSecond(): void {
    change(this, { second: undefined }, true);
  }
}

/** What stands on the right where nothing was chosen: the same of another trace, the next head of the same. */
function otherPlace(left: Trace, right: Trace, place: Place, other: Place): Place {
  if (other.at !== undefined || other.head !== undefined) return other;
  if (left !== right) return place;
  const { entries, heads } = selectOne(left, place);
  const [{ name, shape }] = entries;
  return { at: name, head: heads.length === 0 ? undefined : (heads[0] + 1) % shape[0] };
}

customElements.define('view-compare', ViewCompare);
