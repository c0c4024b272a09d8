// <fovea-words>: two lists of words and the weights between them. Hovering or focusing a word shows what it attends to
// and what attends to it, as arcs or as shading. It computes nothing: weights come in, words go out.
import { html, LitElement, nothing, type PropertyValues } from 'lit';
import { visible } from './labels.js';
import { type Locale, preferredLocale, stringsOf } from './locale.js';
import { arcsBetween } from './words-arcs.js';
import { wordsStyle } from './words-style.js';

export type Side = 'query' | 'key';

/** A word of one of the two lists. */
export interface WordPlace {
  side: Side;
  index: number;
}

const STRINGS = {
  en: {
    attends: 'attends to',
    attended: 'is attended to by',
    left: 'outside these words',
    hint: 'Point at a word, or move with the arrow keys; Enter keeps it.',
    empty: 'There are no words to show.',
    query: 'Queries',
    key: 'Keys',
  },
  ko: {
    attends: '이 단어가 보는 단어:',
    attended: '이 단어를 보는 단어:',
    left: '이 단어들 밖',
    hint: '단어를 가리키거나 화살표 키로 옮기세요. Enter로 고정합니다.',
    empty: '보여 줄 단어가 없습니다.',
    query: '쿼리',
    key: '키',
  },
} as const;

/** Partners named in words below the picture. */
const NAMED = 4;

/**
 * How the two lists stand, the first that fits: each on one line, in large, middle or small letters, with arcs from line to
 * line; else a column each, with arcs from column to column. Lines that wrap would have arcs run through their words.
 */
const ROWS = ['large', 'middle', 'small'] as const;

/**
 * Properties: `queries` and `keys` (words), `weights` [queries × keys] row-major, `look` ('arcs' or 'shading'), `locale`,
 * `queryTitle` and `keyTitle` above the lists, `pinned` (the word that stays chosen).
 * Event `fovea-word`: { side, index, pinned } when another word is looked at; index −1 for none.
 */
export class FoveaWords extends LitElement {
  static override styles = wordsStyle;
  static override properties = {
    queries: { attribute: false },
    keys: { attribute: false },
    weights: { attribute: false },
    look: { reflect: true },
    locale: {},
    queryTitle: {},
    keyTitle: {},
    pinned: { attribute: false },
    looked: { state: true },
    width: { state: true },
  };
  declare queries: readonly string[];
  declare keys: readonly string[];
  declare weights: ArrayLike<number>;
  declare look: 'arcs' | 'shading';
  declare locale: Locale;
  declare queryTitle: string;
  declare keyTitle: string;
  declare pinned: WordPlace | undefined;
  declare private looked: WordPlace | undefined;
  /** In which the words are laid out. */
  declare private width: number;
  /** Whether a word was looked at by keys, so that its partners are to be spoken. */
  private byKeys = false;
  /** The word that Tab reaches on each side. */
  private stop = { query: 0, key: 0 };
  private readonly watcher = new ResizeObserver(() => {
    this.width = this.clientWidth;
  });

  constructor() {
    super();
    this.queries = [];
    this.keys = [];
    this.weights = [];
    this.look = 'arcs';
    this.locale = preferredLocale();
    this.queryTitle = '';
    this.keyTitle = '';
    this.width = 0;
  }

  override connectedCallback(): void {
    super.connectedCallback();
    this.watcher.observe(this);
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.watcher.disconnect();
  }

  /** The word in question. */
  private get active(): WordPlace | undefined {
    const place = this.looked ?? this.pinned;
    return place && place.index in this.list(place.side) ? place : undefined;
  }

  private list(side: Side): readonly string[] {
    return side === 'query' ? this.queries : this.keys;
  }

  /** 0 where none is known, or it is no number. */
  private weight(query: number, key: number): number {
    return Math.max(0, this.weights[query * this.keys.length + key] || 0);
  }

  /** Weights between a word and each word of the other side. */
  private partners({ side, index }: WordPlace): number[] {
    return side === 'query'
      ? this.keys.map((_, key) => this.weight(index, key))
      : this.queries.map((_, query) => this.weight(query, index));
  }

  protected override willUpdate(changed: PropertyValues): void {
    if (changed.has('queries') || changed.has('keys')) {
      this.looked = undefined;
      this.stop = { query: 0, key: 0 };
    }
  }

  private get strings() {
    return stringsOf(STRINGS, this.locale);
  }

  protected override render() {
    const { strings } = this;
    if (this.queries.length === 0 || this.keys.length === 0)
      return html`<p class="hint">${strings.empty}</p>`;
    const shades = this.shades();
    return html`<div
        class="frame"
        @pointerover=${this.over}
        @pointerleave=${() => this.lookAt(undefined)}
        @focusin=${this.over}
        @focusout=${() => this.lookAt(undefined)}
        @click=${this.pin}
        @keydown=${this.move}
      >
        ${this.line('key', this.keyTitle, shades.key)}
        <div class="between"></div>
        ${this.line('query', this.queryTitle, shades.query)}
        <svg aria-hidden="true"></svg>
      </div>
      <p class="readout" role="status" aria-live=${this.byKeys ? 'polite' : 'off'}>${this.readout()}</p>`;
  }

  private line(side: Side, title: string, shades: readonly number[]) {
    const { active } = this;
    const heading = title === '' ? nothing : html`<h3 class=${side}>${title}</h3>`;
    return html`${side === 'key' ? heading : nothing}
      <div class="line ${side}" role="group" aria-label=${title || this.strings[side]}>
        ${this.list(side).map((word, index) => {
          const own = active?.side === side && active.index === index;
          const pinned = this.pinned?.side === side && this.pinned.index === index;
          return html`<button
            class="word ${own ? 'own' : ''} ${shades[index] > DEEP ? 'deep' : ''}"
            style="--share: ${(100 * density(shades[index])).toFixed(1)}%"
            data-side=${side}
            data-index=${index}
            tabindex=${this.stop[side] === index ? 0 : -1}
            aria-pressed=${pinned}
            >${visible(word)}</button
          >`;
        })}
      </div>
      ${side === 'query' ? heading : nothing}`;
  }

  /** How strongly each word is shaded, 0 to 1. */
  private shades(): Record<Side, number[]> {
    const none = (list: readonly string[]) => list.map(() => 0);
    const shades = { query: none(this.queries), key: none(this.keys) };
    const { active } = this;
    if (active) shades[active.side === 'query' ? 'key' : 'query'] = scaled(this.partners(active));
    else if (this.look === 'shading')
      shades.key = scaled(
        this.keys.map((_, key) => this.queries.reduce((sum, _, query) => sum + this.weight(query, key), 0)),
      );
    return shades;
  }

  /** In words: who the partners are. */
  private readout() {
    const { active, strings } = this;
    if (!active) return html`<span class="hint">${strings.hint}</span>`;
    const weights = this.partners(active);
    const other = this.list(active.side === 'query' ? 'key' : 'query');
    const best = [...weights.keys()].sort((a, b) => weights[b] - weights[a]).slice(0, NAMED);
    const left = 1 - weights.reduce((sum, weight) => sum + weight, 0);
    return html`<b>${visible(this.list(active.side)[active.index])}</b>
      <span class="verb">${active.side === 'query' ? strings.attends : strings.attended}</span>
      ${best
        .filter((index) => weights[index] >= 0.005)
        .map(
          (index) =>
            html` <span class="part">${visible(other[index])} <i>${percent(weights[index])}</i></span>`,
        )}
      ${
        active.side === 'query' && left > 0.02
          ? html`<span class="part rest">${strings.left} <i>${percent(left)}</i></span>`
          : nothing
      }`;
  }

  protected override updated(changed: PropertyValues): void {
    const frame = this.renderRoot.querySelector<HTMLElement>('.frame');
    if (!frame) return;
    if (['queries', 'keys', 'look', 'width'].some((name) => changed.has(name))) this.layOut(frame);
    const arcs = this.look === 'arcs' ? this.arcs(this.beside) : [];
    frame.querySelector('svg')!.replaceChildren(...arcs);
  }

  private layOut(frame: HTMLElement): void {
    const onOneLine = (line: Element) =>
      (line.firstElementChild as HTMLElement).offsetTop === (line.lastElementChild as HTMLElement).offsetTop;
    const fits = (letters: string) => {
      frame.dataset.layout = letters;
      return [...frame.querySelectorAll('.line')].every(onOneLine);
    };
    if (this.look !== 'arcs') frame.dataset.layout = 'text';
    else if (!ROWS.some(fits)) frame.dataset.layout = 'columns';
  }

  /** Whether the lists stand side by side. */
  private get beside(): boolean {
    return this.renderRoot.querySelector<HTMLElement>('.frame')!.dataset.layout === 'columns';
  }

  private arcs(beside: boolean): SVGElement[] {
    const boxes = (side: Side) =>
      [...this.renderRoot.querySelectorAll<HTMLElement>(`[data-side=${side}]`)].map((word) => {
        const { offsetLeft: x, offsetTop: y, offsetWidth: width, offsetHeight: height } = word;
        return { x, y, width, height };
      });
    const weight = (query: number, key: number) => this.weight(query, key);
    return arcsBetween(boxes('query'), boxes('key'), weight, this.active, beside);
  }

  private over(event: Event): void {
    const place = placeOf(event);
    if (!place) return;
    this.byKeys = event.type === 'focusin';
    this.stop[place.side] = place.index;
    this.lookAt(place);
  }

  private lookAt(place: WordPlace | undefined): void {
    if (place?.side === this.looked?.side && place?.index === this.looked?.index) return;
    this.looked = place;
    this.tell();
  }

  private pin(event: Event): void {
    const place = placeOf(event);
    const same = place?.side === this.pinned?.side && place?.index === this.pinned?.index;
    this.pinned = same ? undefined : place;
    this.tell();
  }

  private tell(): void {
    const { side, index } = this.active ?? { side: 'query', index: -1 };
    const detail = { side, index, pinned: this.pinned };
    this.dispatchEvent(new CustomEvent('fovea-word', { detail, bubbles: true, composed: true }));
  }

  /** Arrows go along a list, and from one to the other; Escape lets go. */
  private move(event: KeyboardEvent): void {
    const place = placeOf(event);
    if (!place) return;
    const { side, index } = place;
    const last = this.list(side).length - 1;
    const back = (): WordPlace => ({ side, index: Math.max(0, index - 1) });
    const on = (): WordPlace => ({ side, index: Math.min(last, index + 1) });
    const key = (): WordPlace => ({ side: 'key', index: this.stop.key });
    const query = (): WordPlace => ({ side: 'query', index: this.stop.query });
    const { beside } = this;
    const goals: Record<string, () => WordPlace> = {
      ArrowLeft: beside ? key : back,
      ArrowRight: beside ? query : on,
      ArrowUp: beside ? back : key,
      ArrowDown: beside ? on : query,
      Home: () => ({ side, index: 0 }),
      End: () => ({ side, index: last }),
    };
    if (event.key === 'Escape') {
      this.pinned = undefined;
      this.tell();
    }
    const goal = goals[event.key]?.();
    if (!goal) return;
    event.preventDefault();
    this.renderRoot
      .querySelector<HTMLElement>(`[data-side=${goal.side}][data-index="${goal.index}"]`)
      ?.focus();
  }
}

function placeOf(event: Event): WordPlace | undefined {
  const word = (event.target as Element).closest<HTMLElement>('[data-side]');
  return word ? { side: word.dataset.side as Side, index: Number(word.dataset.index) } : undefined;
}

/** Share from which a word is written in the colour for deep ground. */
const DEEP = 0.55;

/** How densely a share is painted. Densities between the two parts would leave either ink below a contrast of 4.5. */
const density = (share: number): number =>
  share > DEEP ? 0.85 + 0.15 * ((share - DEEP) / (1 - DEEP)) : 0.42 * (share / DEEP);

/** Shares of the largest. */
function scaled(weights: readonly number[]): number[] {
  const most = weights.reduce((a, b) => Math.max(a, b), 0);
  return most > 0 ? weights.map((weight) => weight / most) : [...weights];
}

const percent = (weight: number): string => `${(100 * weight).toFixed(weight < 0.0995 ? 1 : 0)} %`;

if (!customElements.get('fovea-words')) customElements.define('fovea-words', FoveaWords);

declare global {
  interface HTMLElementTagNameMap {
    'fovea-words': FoveaWords;
  }
}
