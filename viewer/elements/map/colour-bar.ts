// The colour bar: what the colours mean, how often they occur, and two ends to drag.
import { css, html, LitElement, type PropertyValues, svg } from 'lit';
import { type Locale, preferredLocale, stringsOf } from '../locale.js';
import { positionOf, type Range, type Scale, Spread, valueAt } from './colours.js';
import { LABEL, labelPlaces, weightText } from './numbers.js';
import { mapStrings } from './strings.js';
import { styles as shared } from './styles.js';

/** Bars of the histogram. */
const BARS = 64;
/** Steps of the arrow keys over the whole bar. */
const STEPS = 50;
/** Ends closer than this share of the bar do not come. */
const CLOSEST = 0.02;

type End = 'low' | 'high';

interface Drag {
  readonly end: End | 'both';
  /** Where it began, 0 to 1, and the range then. */
  readonly from: number;
  readonly range: Range;
}

export class ColourBar extends LitElement {
  static override properties = {
    palette: { attribute: false },
    scale: {},
    range: { attribute: false },
    spread: { attribute: false },
    locked: { type: Boolean },
    locale: {},
  };

  /** Colours of 0 to 1, from below. */
  declare palette: readonly string[];
  declare scale: Scale;
  declare range: Range;
  declare spread: Spread;
  declare locked: boolean;
  declare locale: Locale;
  /** All that the bar can show; stays while an end is dragged. */
  private domain: Range = [0, 1];
  private dragging: Drag | undefined;

  constructor() {
    super();
    this.palette = ['#000', '#fff'];
    this.scale = 'linear';
    this.range = [0, 1];
    this.spread = new Spread();
    this.locked = false;
    this.locale = preferredLocale();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.dragging = undefined;
  }

  override willUpdate(changed: PropertyValues): void {
    const ours = ['scale', 'range', 'spread'].some((name) => changed.has(name));
    if (ours && !this.dragging) this.domain = domainOf(this.scale, this.range, this.spread);
  }

  override render() {
    const words = stringsOf(mapStrings, this.locale);
    const [low, high] = this.range.map((value) => positionOf(value, this.scale, this.domain));
    const stops = this.palette.map((colour, i) => {
      const place = low + (i / (this.palette.length - 1)) * (high - low);
      return `${colour} ${(100 * place).toFixed(2)}%`;
    });
    const text = (p: number) => weightText(valueAt(p, this.scale, this.domain), 2);
    const ends = this.range.map((value) => weightText(value, 2));
    const [least, most] = labelPlaces(ends[0] === text(0) ? 0 : low, ends[1] === text(1) ? 1 : high);
    const inner = [0, 0.25, 0.5, 0.75, 1].filter(
      (p) => Math.abs(p - least) >= LABEL && Math.abs(p - most) >= LABEL,
    );
    return html`
      <div class="scale" role="group" aria-label=${words.colourBar} @pointerdown=${this.grab} @dblclick=${this.refit}>
        <svg class="spread" viewBox="0 0 1 1" preserveAspectRatio="none" aria-hidden="true">
          ${svg`<path d=${this.histogram()} />`}
        </svg>
        <div class="colours" style="background: linear-gradient(to top, ${stops.join(', ')})"></div>
        <div class="labels" aria-hidden="true">
          ${inner.map((p) => html`<span style="bottom: ${100 * p}%">${text(p)}</span>`)}
          <span class="end" style="bottom: ${100 * least}%">${ends[0]}</span>
          <span class="end" style="bottom: ${100 * most}%">${ends[1]}</span>
        </div>
        ${this.handle('low', words.low, low)}${this.handle('high', words.high, high)}
      </div>
      <button class="fit" ?disabled=${!this.locked} @click=${this.refit}
        title=${this.locked ? words.fitTitle : words.fitted}>${words.fit}</button>
    `;
  }

  private handle(end: End, label: string, place: number) {
    const value = this.range[end === 'low' ? 0 : 1];
    return html`<div class="handle" data-end=${end} tabindex="0" role="slider" style="bottom: ${100 * place}%"
      aria-label=${label} aria-orientation="vertical" aria-valuemin=${this.domain[0]} aria-valuemax=${this.domain[1]}
      aria-valuenow=${value} aria-valuetext=${weightText(value)} @keydown=${(event: KeyboardEvent) => this.key(event, end)}
    ></div>`;
  }

  /** The spread of values along the bar as an area that grows to the left. */
  private histogram(): string {
    const counts = new Float64Array(BARS);
    for (const [value, count] of this.spread.entries()) {
      const place = positionOf(value, this.scale, this.domain);
      counts[Math.min(BARS - 1, Math.floor(place * BARS))] += count;
    }
    const most = Math.log1p(Math.max(...counts));
    if (most === 0) return '';
    const points = Array.from(counts, (count, i) => {
      const x = (1 - Math.log1p(count) / most).toFixed(3);
      return `H${x}V${(1 - (i + 1) / BARS).toFixed(4)}`;
    });
    return `M1 1${points.join('')}H1Z`;
  }

  private placeOf(event: PointerEvent): number {
    const { top, height } = this.renderRoot.querySelector('.colours')!.getBoundingClientRect();
    return 1 - (event.clientY - top) / height;
  }

  private readonly grab = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    const place = this.placeOf(event);
    const [low, high] = this.range.map((value) => positionOf(value, this.scale, this.domain));
    const handle = (event.target as HTMLElement).dataset.end as End | undefined;
    let end: End | 'both' = handle ?? 'both';
    if (!handle && (place <= low || place >= high)) end = place <= low ? 'low' : 'high';
    this.dragging = { end, from: place, range: this.range };
    const scale = event.currentTarget as HTMLElement;
    scale.setPointerCapture(event.pointerId);
    const move = (next: PointerEvent) => this.dragging && this.drag(this.dragging, this.placeOf(next));
    const drop = () => {
      scale.removeEventListener('pointermove', move);
      this.dragging = undefined;
      this.requestUpdate('range');
    };
    scale.addEventListener('pointermove', move);
    scale.addEventListener('lostpointercapture', drop, { once: true });
    if (!handle && end !== 'both') this.drag(this.dragging, place);
  };

  private drag({ end, from, range }: Drag, place: number): void {
    if (end === 'both') {
      const [low, high] = range.map((value) => positionOf(value, this.scale, this.domain));
      const shift = Math.min(1 - high, Math.max(-low, place - from));
      this.choose(low + shift, high + shift);
    } else {
      this.move(end, place);
    }
  }

  private move(end: End, place: number): void {
    const [low, high] = this.range.map((value) => positionOf(value, this.scale, this.domain));
    if (end === 'low') this.choose(Math.min(Math.max(0, place), high - CLOSEST), high);
    else this.choose(low, Math.max(Math.min(1, place), low + CLOSEST));
  }

  private choose(low: number, high: number): void {
    const detail = [valueAt(low, this.scale, this.domain), valueAt(high, this.scale, this.domain)];
    this.dispatchEvent(new CustomEvent('range', { detail }));
  }

  private key(event: KeyboardEvent, end: End): void {
    const place = positionOf(this.range[end === 'low' ? 0 : 1], this.scale, this.domain);
    const steps: Record<string, number> = {
      ArrowUp: 1,
      ArrowRight: 1,
      ArrowDown: -1,
      ArrowLeft: -1,
      PageUp: 5,
      PageDown: -5,
      Home: -STEPS,
      End: STEPS,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    this.move(end, place + step / STEPS);
  }

  private readonly refit = (): void => {
    this.dispatchEvent(new CustomEvent('fit'));
  };

  static override styles = [
    shared,
    css`
      :host { --_from: 24px; display: flex; flex-direction: column; gap: 10px; width: 92px; }
      .scale { position: relative; flex: 1; margin: 6px 0; touch-action: none; cursor: ns-resize; }
      .spread { position: absolute; left: 0; top: 0; width: 22px; height: 100%; }
      .spread path { fill: var(--_muted); }
      .colours { position: absolute; left: var(--_from); top: 0; width: 14px; height: 100%; border-radius: 3px;
        box-shadow: inset 0 0 0 1px var(--_hair); }
      .labels span { position: absolute; left: calc(var(--_from) + 24px); transform: translateY(50%); font-size: 11px; color: var(--_muted);
        white-space: nowrap; font-variant-numeric: tabular-nums; pointer-events: none; }
      .labels .end { color: var(--_ink); font-weight: 600; }
      .handle { position: absolute; left: calc(var(--_from) - 4px); width: 22px; height: 16px; margin-bottom: -8px; border-radius: 4px;
        cursor: ns-resize; outline: none; }
      .handle::before { content: ''; position: absolute; left: 0; right: 0; top: 6px; height: 4px; border-radius: 2px;
        background: var(--_surface); box-shadow: 0 0 0 1.5px var(--_ink); transition: box-shadow 0.12s; }
      .handle:hover::before { box-shadow: 0 0 0 2px var(--_accent); }
      .handle:focus-visible::before { box-shadow: 0 0 0 3px var(--_accent); }
      .fit { align-self: flex-start; margin-left: max(0px, calc(var(--_from) - 10px)); }
      /* A narrow map needs the histogram's room. */
      @container (max-width: 480px) { :host { --_from: 4px; width: 54px; } .spread { display: none; } }
      @media (prefers-reduced-motion: reduce) { .handle::before { transition: none; } }
    `,
  ];
}

/** All values in view, and the range. Logarithmic: at most eight decades. */
function domainOf(scale: Scale, [low, high]: Range, spread: Spread): Range {
  const top = Math.max(high, spread.most);
  if (scale === 'linear') return [Math.min(0, low), top];
  return [Math.min(low, Math.max(spread.least, top * 1e-8)), top];
}

if (!customElements.get('fovea-colour-bar')) customElements.define('fovea-colour-bar', ColourBar);
