// <fovea-heads>: all heads of all layers as small pictures with their summary numbers; one that is chosen is opened.
// It computes nothing: pictures and numbers come in.
import type { HeadSummary } from 'fovea/inspect';
import { html, LitElement, nothing, type PropertyValues } from 'lit';
import { headsStyle } from './heads-style.js';
import { type Locale, preferredLocale, stringsOf } from './locale.js';
import { type Picture, paintPicture } from './paint.js';

/** What is known of a head: the numbers of headSummary(). */
export type HeadNumbers = Omit<HeadSummary, 'head'>;

export type HeadMeasure = keyof HeadNumbers;

/** One head: its picture, and its numbers where they are known. */
export interface HeadView {
  readonly picture?: Picture;
  readonly summary?: HeadNumbers;
}

export interface LayerView {
  /** As in the trace: `decoder.0.crossAttention`. */
  readonly name: string;
  /** Shown instead of the name. */
  readonly title?: string;
  readonly heads: readonly HeadView[];
}

const STRINGS = {
  en: {
    head: 'Head',
    entropy: 'entropy',
    distance: 'distance',
    sinkShare: 'first token',
    previous: 'previous',
    same: 'same',
    next: 'next',
    open: 'open',
  },
  ko: {
    head: '헤드',
    entropy: '엔트로피',
    distance: '거리',
    sinkShare: '첫 토큰',
    previous: '이전 토큰',
    same: '같은 토큰',
    next: '다음 토큰',
    open: '열기',
  },
} as const;

/** Where there is no picture yet, or no longer. */
const NONE: Picture = { data: [], rows: 1, columns: 1 };

/** Entropy in nats and distance in tokens as they are, shares in percent. */
const write = (measure: HeadMeasure, value: number): string =>
  measure === 'entropy' || measure === 'distance'
    ? value.toFixed(value < 100 ? 2 : 0)
    : `${(100 * value).toFixed(0)} %`;

/**
 * Properties: `layers` ({ name, title?, heads: { picture, summary }[] }[]), `shown` (the numbers under each picture),
 * `sort` (by which number heads of a layer are ordered; 'head' leaves them), `locale`.
 * Event `fovea-open`: { name, head }.
 */
export class FoveaHeads extends LitElement {
  static override styles = headsStyle;
  static override properties = {
    layers: { attribute: false },
    shown: { attribute: false },
    sort: {},
    locale: {},
    stop: { state: true },
  };
  declare layers: readonly LayerView[];
  declare shown: readonly HeadMeasure[];
  declare sort: 'head' | HeadMeasure;
  declare locale: Locale;
  /** The picture that Tab reaches: layer and place in it. */
  declare private stop: readonly [layer: number, place: number];
  private readonly painted = new WeakMap<HTMLCanvasElement, Picture>();

  constructor() {
    super();
    this.layers = [];
    this.shown = ['entropy', 'distance', 'sinkShare'];
    this.sort = 'head';
    this.locale = preferredLocale();
    this.stop = [0, 0];
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (!changed.has('layers') || this.stop[1] < (this.layers[this.stop[0]]?.heads.length ?? 0)) return;
    this.stop = [
      Math.max(
        0,
        this.layers.findIndex(({ heads }) => heads.length > 0),
      ),
      0,
    ];
  }

  protected override render() {
    const most = Math.max(1, ...this.layers.map(({ heads }) => heads.length));
    return html`<div class="layers" style="--heads: ${most}" @click=${this.open} @keydown=${this.move} @focusin=${this.reach}>
      ${this.layers.map(
        (layer, row) => html`<section role="group" aria-label=${layer.title ?? layer.name}>
          <h3>${layer.title ?? layer.name}</h3>
          <div class="heads">${this.order(layer).map((head, place) => this.cell(layer, row, head, place))}</div>
        </section>`,
      )}
    </div>`;
  }

  /** Numbers of its heads, in the order they are shown. */
  private order({ heads }: LayerView): number[] {
    const numbers = heads.map((_, head) => head);
    const { sort } = this;
    if (sort === 'head') return numbers;
    const rising = sort === 'entropy' || sort === 'distance';
    // What is not known, or not a number, comes last.
    const value = (head: number) => {
      const known = heads[head].summary?.[sort] ?? Number.NaN;
      return Number.isNaN(known) ? Number.MAX_VALUE : rising ? known : -known;
    };
    return numbers.sort((a, b) => value(a) - value(b) || a - b);
  }

  private cell(layer: LayerView, row: number, head: number, place: number) {
    const strings = stringsOf(STRINGS, this.locale);
    const { summary } = layer.heads[head];
    const numbers = summary ? this.shown.map((m) => [strings[m], write(m, summary[m])] as const) : [];
    const spoken = numbers.map(([name, value]) => `${name} ${value}`).join(', ');
    const reached = this.stop[0] === row && this.stop[1] === place;
    return html`<button
      data-row=${row}
      data-place=${place}
      data-name=${layer.name}
      data-head=${head}
      tabindex=${reached ? 0 : -1}
      aria-label="${layer.title ?? layer.name}, ${strings.head} ${head}${spoken && `, ${spoken}`}"
    >
      <canvas width="1" height="1" data-row=${row} data-head=${head}></canvas>
      <span class="name">${strings.head} ${head}</span>
      ${
        numbers.length === 0
          ? nothing
          : html`<span class="numbers"
              >${numbers.map(([name, value]) => html`<span>${name}</span><b>${value}</b>`)}</span
            >`
      }
    </button>`;
  }

  protected override updated(): void {
    for (const canvas of this.renderRoot.querySelectorAll('canvas')) {
      const { row, head } = canvas.dataset;
      const picture = this.layers[Number(row)]?.heads[Number(head)]?.picture;
      if (this.painted.get(canvas) === picture) continue;
      paintPicture(canvas, picture ?? NONE);
      if (picture) this.painted.set(canvas, picture);
      else this.painted.delete(canvas);
    }
  }

  private open(event: Event): void {
    const button = (event.target as Element).closest<HTMLElement>('button');
    if (!button) return;
    const detail = { name: button.dataset.name, head: Number(button.dataset.head) };
    this.dispatchEvent(new CustomEvent('fovea-open', { detail, bubbles: true, composed: true }));
  }

  private reach(event: Event): void {
    const button = (event.target as Element).closest<HTMLElement>('button');
    if (button) this.stop = [Number(button.dataset.row), Number(button.dataset.place)];
  }

  /**
   * Arrows go to the neighbour on the screen, wherever layers and their heads wrap; where none is above or below, to the
   * layer before or after. Home and End go through all.
   */
  private move(event: KeyboardEvent): void {
    const all = [...this.renderRoot.querySelectorAll('button')];
    const from = all.indexOf((event.target as Element).closest('button')!);
    const [row, place] = this.stop;
    const inLayer = (way: -1 | 1) => {
      const there = all.filter(({ dataset }) => Number(dataset.row) === row + way);
      return there[Math.min(place, there.length - 1)];
    };
    const goals: Record<string, () => HTMLElement | undefined> = {
      ArrowLeft: () => all[from - 1],
      ArrowRight: () => all[from + 1],
      ArrowUp: () => neighbour(all, all[from], -1) ?? inLayer(-1),
      ArrowDown: () => neighbour(all, all[from], 1) ?? inLayer(1),
      Home: () => all[0],
      End: () => all.at(-1),
    };
    const goal = goals[event.key];
    if (!goal || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    goal()?.focus();
  }
}

/** Of the nearest row above (−1) or below (1), what stands nearest. */
function neighbour(all: readonly HTMLElement[], from: HTMLElement, way: -1 | 1): HTMLElement | undefined {
  const own = from.getBoundingClientRect();
  const found = all
    .map((button) => ({ button, box: button.getBoundingClientRect() }))
    .map(({ button, box }) => ({
      button,
      far: way * (box.top - own.top),
      aside: Math.abs(box.left - own.left),
    }))
    .filter(({ far }) => far > own.height / 2)
    .sort((a, b) => (Math.abs(a.far - b.far) > own.height / 2 ? a.far - b.far : a.aside - b.aside));
  return found[0]?.button;
}

if (!customElements.get('fovea-heads')) customElements.define('fovea-heads', FoveaHeads);

declare global {
  interface HTMLElementTagNameMap {
    'fovea-heads': FoveaHeads;
  }
}
