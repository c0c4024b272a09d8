// <map-pane>: one head's map with its labels, and the words beside the crosshair.
import 'fovea/elements';
import type { AttentionMap, TokenText, Trace, TraceEntry } from 'fovea';
import { css, html, LitElement, nothing } from 'lit';
import { Latest } from './events.js';
import { failureHere, roleOf } from './failure.js';
import { isEmpty } from './groups.js';
import { follow, type Loading, loadingLine } from './loading.js';
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
    loading: { state: true },
    failed: { state: true },
  };
  declare trace: Trace;
  declare place: Place;
  declare state: PageState;
  declare box: Box | undefined;
  declare strings: Strings;
  declare private map: AttentionMap | undefined;
  declare private cell: Cell | undefined;
  /** Of q and k, while they are read. */
  declare private loading: Loading;
  declare private failed: unknown;
  private readonly latest = new Latest();
  private readFor: TraceEntry | undefined;

  constructor() {
    super();
    this.loading = { fraction: 0 };
  }

  protected override render() {
    const { entries, heads } = selectOne(this.trace, this.place);
    const [entry] = entries;
    if (isEmpty(entry)) return html`<p class="note">${this.strings.noCells}</p>`;
    const [rows, columns] = [rowText(this.trace, entry), columnText(this.trace, entry)];
    return html`<div class="frame">${this.picture(heads[0], rows?.tokens, columns?.tokens)}</div>
      ${this.words(rows, columns)}`;
  }

  private picture(head: number, rows: readonly string[] | undefined, columns: readonly string[] | undefined) {
    const { strings, state, map, failed } = this;
    if (failed !== undefined)
      return html`<p class="error" role=${roleOf(failed)}>${failureHere(failed, strings, undefined, () => this.read())}</p>`;
    if (map === undefined) return loadingLine(this.loading, strings);
    return html`<fovea-map
      .map=${map}
      .batch=${0}
      .head=${head}
      .queryLabels=${rows}
      .keyLabels=${columns}
      .reduce=${state.reduce}
      .scale=${state.scale}
      .range=${state.range}
      .view=${this.box}
      .locale=${state.locale ?? 'en'}
      @fovea-cell=${this.point}
    ></fovea-map>`;
  }

  private words(rows: TokenText | undefined, columns: TokenText | undefined) {
    const { strings, cell } = this;
    if (!cell || !(rows || columns)) return html`<div class="cell"></div>`;
    return html`<dl class="cell">
      ${side(strings.query, cell.query, rows)} ${side(strings.key, cell.key, columns)}
    </dl>`;
  }

  protected override updated(): void {
    const [entry] = selectOne(this.trace, this.place).entries;
    if (this.readFor === entry) return;
    this.readFor = entry;
    this.cell = undefined;
    this.read();
  }

  private read(): void {
    const entry = this.readFor!;
    this.map = undefined;
    this.failed = undefined;
    const onProgress = follow((loading) => {
      if (entry === this.readFor) this.loading = loading;
    });
    this.latest
      .run((signal) => entry.map({ signal, onProgress }))
      .then((map) => {
        if (map) this.map = map;
      })
      .catch((error) => {
        this.failed = error;
      });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.latest.stop();
    this.readFor = undefined;
  }

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
