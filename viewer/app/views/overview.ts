// <view-overview>: every head of every layer as a small picture with its numbers.
import 'fovea/elements';
import type { Trace, TraceEntry } from 'fovea';
import type { HeadMeasure, HeadView, LayerView } from 'fovea/elements';
import { headSummary } from 'fovea/inspect';
import { html, LitElement, nothing } from 'lit';
import { change, Latest, report } from '../events.js';
import { groupsOf, isEmpty } from '../groups.js';
import { follow, type Loading, loadingLine } from '../loading.js';
import type { PageState } from '../state.js';
import { entryTitle, groupTitle, type Strings } from '../strings.js';
import { ui } from '../ui.js';

/** Cells per side of a picture at most. */
const SIDE = 128;
/** Cells of an attention that are all read, for its picture and its numbers. */
const READ_WHOLE = 2 ** 24;

export class ViewOverview extends LitElement {
  static override styles = [ui];
  static override properties = {
    trace: { attribute: false },
    state: { attribute: false },
    strings: { attribute: false },
    heads: { state: true },
    loading: { state: true },
  };
  declare trace: Trace;
  declare state: PageState;
  declare strings: Strings;
  /** By entry name. */
  declare private heads: ReadonlyMap<string, readonly HeadView[]>;
  /** Of what is read of a long text, until its pictures are there. */
  declare private loading: Loading | undefined;
  private readonly latest = new Latest();
  private readFor: Trace | undefined;

  constructor() {
    super();
    this.heads = new Map();
  }

  protected override render() {
    const { strings, state, trace } = this;
    const groups = groupsOf(trace);
    const chosen = groups.find(({ name }) => name === state.place.at?.replace(/\.\d+(?=\.|$)/, '.*'));
    const shown = chosen && this.only ? [chosen] : groups;
    const layers: LayerView[] = shown.flatMap(({ entries }) =>
      entries.map((entry) => ({
        name: entry.name,
        title: entryTitle(entry.name, strings),
        heads: this.heads.get(entry.name) ?? Array.from({ length: entry.shape[0] }, () => ({})),
      })),
    );
    const long = trace.entries.some((entry) => !isWhole(entry));
    return html`<div class="bar">
        ${
          groups.length < 2
            ? nothing
            : html`<label class="field"
                >${strings.kind}
                <select @change=${this.choose}>
                  <option value="" .selected=${!this.only}>${strings.allKinds}</option>
                  ${groups.map(
                    ({ name }) =>
                      html`<option value=${name} .selected=${this.only && name === chosen?.name}>
                        ${groupTitle(name, strings)}
                      </option>`,
                  )}
                </select>
              </label>`
        }
        <label class="field"
          >${strings.sort}
          <select @change=${this.sort}>
            ${Object.entries(strings.sorts).map(
              ([value, title]) =>
                html`<option value=${value} .selected=${value === state.sort}>${title}</option>`,
            )}
          </select>
        </label>
      </div>
      <fovea-heads
        .layers=${layers}
        .sort=${state.sort}
        .locale=${state.locale ?? 'en'}
        @fovea-open=${this.open}
      ></fovea-heads>
      ${this.loading ? loadingLine(this.loading, strings) : nothing}
      <p class="note">${strings.overviewNote} ${long ? strings.noSummary : ''}</p>`;
  }

  private only = false;

  protected override updated(): void {
    if (this.trace === this.readFor) return;
    this.readFor = this.trace;
    this.loading = undefined;
    this.latest
      .run((signal) => this.read(this.trace, signal))
      .catch((error) => {
        this.loading = undefined;
        report(this, error);
      });
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.latest.stop();
    this.readFor = undefined;
  }

  /** Pictures first, all of them; then numbers. */
  private async read(trace: Trace, signal: AbortSignal): Promise<void> {
    const entries = trace.entries.filter((entry) => !isEmpty(entry));
    const heads = new Map<string, HeadView[]>();
    if (entries.every(isWhole)) await this.drawAll(entries, heads, signal);
    else await this.drawInTurn(entries, heads, signal);
    for (const entry of entries.filter(isWhole)) {
      const summaries = await headSummary(await entry.map(), { batch: 0, signal });
      heads.set(
        entry.name,
        heads.get(entry.name)!.map((head, h) => ({ ...head, summary: summaries[h] })),
      );
    }
    if (!signal.aborted) this.heads = new Map(heads);
  }

  private async drawAll(entries: readonly TraceEntry[], heads: Map<string, HeadView[]>, signal: AbortSignal) {
    await Promise.all(entries.map((entry) => entry.map({ signal })));
    performance.mark('overview-begin');
    const draw = async (entry: TraceEntry) => heads.set(entry.name, await picturesOf(entry, signal));
    await Promise.all(entries.map(draw));
    if (signal.aborted) return;
    performance.mark('overview-read');
    this.heads = new Map(heads);
    await this.updateComplete;
    await this.renderRoot.querySelector('fovea-heads')?.updateComplete;
    performance.measure('overview', 'overview-begin');
  }

  /** Of a long text pictures come one by one. */
  private async drawInTurn(
    entries: readonly TraceEntry[],
    heads: Map<string, HeadView[]>,
    signal: AbortSignal,
  ) {
    const told = follow((loading) => {
      if (!signal.aborted) this.loading = loading;
    });
    for (const [n, entry] of entries.entries()) {
      await entry.map({ signal, onProgress: (fraction) => told((n + fraction) / entries.length) });
      heads.set(entry.name, await picturesOf(entry, signal));
      if (!signal.aborted) this.heads = new Map(heads);
    }
    if (!signal.aborted) this.loading = undefined;
  }

  private choose(event: Event): void {
    const name = (event.target as HTMLSelectElement).value;
    this.only = name !== '';
    change(this, { place: { at: name || undefined } });
    this.requestUpdate();
  }

  private sort(event: Event): void {
    change(this, { sort: (event.target as HTMLSelectElement).value as 'head' | HeadMeasure });
  }

  private open({ detail }: CustomEvent<{ name: string; head: number }>): void {
    const entry = this.trace.entries.find(({ name }) => name === detail.name);
    const view = entry && isWhole(entry) ? 'words' : 'map';
    change(
      this,
      { view, place: { at: detail.name, head: detail.head }, word: undefined, box: undefined },
      true,
    );
  }
}

const isWhole = ({ shape: [, Lq, Lk] }: TraceEntry): boolean => Lq * Lk <= READ_WHOLE;

async function picturesOf(entry: TraceEntry, signal: AbortSignal): Promise<HeadView[]> {
  const map = await entry.map();
  const [H, Lq, Lk] = entry.shape;
  const [rows, columns] = [Math.min(SIDE, Lq), Math.min(SIDE, Lk)];
  const estimate = isWhole(entry) ? undefined : 1;
  const size = { rows, columns, reduce: 'max', estimate, signal } as const;
  if (rows === Lq && columns === Lk && H * Lq * Lk <= READ_WHOLE) {
    const { data } = await map.toTensor();
    const own = (head: number) => data.subarray(head * Lq * Lk, (head + 1) * Lq * Lk);
    return Array.from({ length: H }, (_, head) => ({ picture: { data: own(head), rows, columns } }));
  }
  const one = async (head: number): Promise<HeadView> => {
    const { data } = await map.pool({ batch: 0, head, ...size });
    return { picture: { data, rows, columns } };
  };
  return Promise.all(Array.from({ length: H }, (_, head) => one(head)));
}

customElements.define('view-overview', ViewOverview);
