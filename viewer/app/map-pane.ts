// <map-pane>: one head's map with its labels, and the words beside the crosshair.
import 'fovea/elements';
import type { AttentionMap, TokenText, Trace } from 'fovea';
import { css, html, LitElement, nothing } from 'lit';
import { Latest, report } from './events.js';
import { columnText, contextOf, rowText } from './reading.js';
import { selectOne } from './selection-bar.js';
import type { Box, PageState, Place } from './state.js';
import type { Strings } from './strings.js';
import { ui } from './ui.js';

/** What <fovea-map> tells of the cell under the crosshair. */
interface Cell {
  query: number;
  key: number;
}

export class MapPane extends LitElement {
  static override styles = [
    ui,
    css`
      .frame {
        height: var(--pane-height, clamp(20rem, 66vh, 48rem));
      }
      fovea-map {
        width: 100%;
        height: 100%;
      }
      .cell {
        display: grid;
        grid-template-columns: auto 1fr;
        gap: 0.3rem 0.9rem;
        margin: 0.9rem 0 0;
        min-height: 3.5rem;
        align-content: start;
        font-size: 0.9375rem;
      }
      dt {
        color: var(--fovea-muted);
      }
      dd {
        margin: 0;
        overflow-wrap: anywhere;
      }
      mark {
        padding: 0 0.15em;
        border-radius: 0.2em;
        background: color-mix(in oklab, var(--fovea-accent) 24%, transparent);
        color: inherit;
        font-weight: 600;
      }
      .around {
        color: var(--fovea-muted);
      }
    `,
  ];
  static override properties = {
    trace: { attribute: false },
    place: { attribute: false },
    state: { attribute: false },
    box: { attribute: false },
    strings: { attribute: false },
    map: { state: true },
    cell: { state: true },
    fraction: { state: true },
  };
  declare trace: Trace;
  declare place: Place;
  declare state: PageState;
  declare box: Box | undefined;
  declare strings: Strings;
  declare private map: AttentionMap | undefined;
  declare private cell: Cell | undefined;
  /** Of q and k, while they are read. */
  declare private fraction: number;
  private readonly latest = new Latest();
  private readFor: readonly unknown[] = [];

  constructor() {
    super();
    this.fraction = 0;
  }

  protected override render() {
    const { strings, state, trace, map } = this;
    const { entries, heads } = selectOne(trace, this.place);
    const [entry] = entries;
    const [rows, columns] = [rowText(trace, entry), columnText(trace, entry)];
    return html`<div class="frame">
        ${
          map === undefined
            ? html`<label class="note"
                >${strings.reading} <progress max="1" .value=${this.fraction}></progress
              ></label>`
            : html`<fovea-map
                .map=${map}
                .batch=${0}
                .head=${heads[0]}
                .queryLabels=${rows?.tokens}
                .keyLabels=${columns?.tokens}
                .reduce=${state.reduce}
                .scale=${state.scale}
                .range=${state.range}
                .view=${this.box}
                .locale=${state.locale ?? 'en'}
                @fovea-cell=${this.point}
              ></fovea-map>`
        }
      </div>
      ${this.words(rows, columns)}`;
  }

  private words(rows: TokenText | undefined, columns: TokenText | undefined) {
    const { strings, cell } = this;
    if (!cell || !(rows || columns)) return html`<div class="cell"></div>`;
    return html`<dl class="cell">
      ${side(strings.query, cell.query, rows)} ${side(strings.key, cell.key, columns)}
    </dl>`;
  }

  protected override updated(): void {
    const { trace, place } = this;
    const { entries } = selectOne(trace, place);
    if (this.readFor[0] === trace && this.readFor[1] === entries[0]) return;
    this.readFor = [trace, entries[0]];
    this.map = undefined;
    this.cell = undefined;
    this.fraction = 0;
    this.latest
      .run((signal) => entries[0].map({ signal, onProgress: this.progress }))
      .then((map) => {
        if (map) this.map = map;
      })
      .catch((error) => report(this, error));
  }

  private readonly progress = (fraction: number): void => {
    this.fraction = fraction;
  };

  /** The last words stay when nothing is pointed at any more. */
  private point({ detail }: CustomEvent<Cell | null>): void {
    if (detail) this.cell = detail;
  }
}

function side(title: string, token: number, text: TokenText | undefined) {
  const context = contextOf(text, token);
  return html`<dt>${title} ${token}</dt>
    <dd>
      ${
        context
          ? html`<span class="around">${context.before}</span><mark>${context.own}</mark
              ><span class="around">${context.after}</span>`
          : nothing
      }
    </dd>`;
}

customElements.define('map-pane', MapPane);
