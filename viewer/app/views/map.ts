// <view-map>: deep zoom into the matrix of one head.
import type { Trace } from 'fovea';
import { html, LitElement } from 'lit';
import { change } from '../events.js';
import '../map-pane.js';
import '../selection-bar.js';
import type { Box, PageState, Place } from '../state.js';
import type { Strings } from '../strings.js';
import { ui } from '../ui.js';

export class ViewMap extends LitElement {
  static override styles = [ui];
  static override properties = {
    trace: { attribute: false },
    state: { attribute: false },
    strings: { attribute: false },
  };
  declare trace: Trace;
  declare state: PageState;
  declare strings: Strings;

  protected override render() {
    const { trace, state, strings } = this;
    return html`<div class="bar">
        <selection-bar
          single
          .trace=${trace}
          .place=${state.place}
          .strings=${strings}
          @selection-change=${({ detail }: CustomEvent<Place>) => change(this, { place: detail }, true)}
        ></selection-bar>
      </div>
      <map-pane
        class="card"
        .trace=${trace}
        .place=${state.place}
        .state=${state}
        .box=${state.box}
        .strings=${strings}
        @fovea-view=${({ detail }: CustomEvent<Box>) => change(this, { box: detail })}
        @fovea-settings=${({ detail }: CustomEvent<Partial<PageState>>) => change(this, detail)}
      ></map-pane>`;
  }
}

customElements.define('view-map', ViewMap);
