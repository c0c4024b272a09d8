// <fovea-map>: any attention map as a picture to zoom into, from all of it down to single exact weights.
import type { AttentionMap } from 'fovea';
import { html, LitElement, nothing, type PropertyValues } from 'lit';
import { type Labels, labelOf } from './labels.js';
import { type Locale, preferredLocale, stringsOf } from './locale.js';
import { axes, type Gutters, guttersFor } from './map/axes.js';
import { isNear, type MapView } from './map/camera.js';
import './map/colour-bar.js';
import { type Range, type Scale, validRange } from './map/colours.js';
import { controls } from './map/controls.js';
import type { Cell } from './map/crosshair.js';
import { type FigureParts, figurePng, figureSvg, saveFigure } from './map/figure.js';
import { watchGestures } from './map/gestures.js';
import { colourOf, inkOf, inkTemplate } from './map/ink.js';
import { measureIn } from './map/letters.js';
import { mapStyles } from './map/map-styles.js';
import { Minimap } from './map/minimap.js';
import { Navigation } from './map/navigation.js';
import { countText } from './map/numbers.js';
import { drawOverlay } from './map/overlay.js';
import { PALETTE, TABLE } from './map/palette.js';
import { watchPixelRatio } from './map/pixel-ratio.js';
import { Pointing } from './map/pointing.js';
import { readout } from './map/readout.js';
import type { Reduce } from './map/sketch.js';
import { chip, message, spoken } from './map/status.js';
import { mapStrings } from './map/strings.js';
import { styles } from './map/styles.js';
import { Surface } from './map/surface.js';

export type { Labels, MapView, Range, Reduce, Scale };

/** Queries or keys beyond which weights differ by orders of magnitude, so that linear colours would show a few alone. */
const LONG = 4096;

/**
 * Shows one head of an AttentionMap of any size. Set `map` (and `batch`, `head` where it has several); the element never
 * disposes it. The page's own thread draws; the map's engine computes.
 *
 * Events, all bubbling and composed: `fovea-view` {queries, keys} when the reader moves the view, `fovea-settings`
 * {reduce, scale, range} when the reader changes one (as set, undefined where the element chooses), `fovea-cell` {query,
 * key, weight, score} when a cell was read (null when none is pointed at any more), `fovea-picture` {fraction} when a picture
 * of all that is in view was drawn, and when a sharper one was; 1 is exact.
 */
export class FoveaMap extends LitElement {
  static override properties = {
    map: { attribute: false },
    batch: { type: Number },
    head: { type: Number },
    queryLabels: { attribute: false },
    keyLabels: { attribute: false },
    reduce: {},
    scale: {},
    range: { attribute: false },
    locale: {},
    failure: { state: true },
    shown: { state: true },
  };
  static override styles = [styles, mapStyles];

  declare map: AttentionMap | undefined;
  declare batch: number;
  declare head: number;
  /** Tokens of the queries and of the keys. */
  declare queryLabels: Labels;
  declare keyLabels: Labels;
  /** What becomes of many weights in one pixel. */
  declare reduce: Reduce;
  /** undefined: logarithmic for long texts, else linear. */
  declare scale: Scale | undefined;
  /** Colours from and to; undefined: fitted to the view. */
  declare range: Range | undefined;
  declare locale: Locale;
  /** What went wrong; another map or view is tried again. */
  declare private failure: string | undefined;
  /** What the controls say of the picture; replaced when it changes. */
  declare private shown: string;

  private readonly surface = new Surface({
    changed: () => this.requestFrame(),
    failed: (error) => this.fail(error),
  });
  private readonly pointing = new Pointing(this.surface, {
    changed: () => {
      this.requestUpdate();
      this.requestFrame();
    },
    read: (reading) => this.tell('fovea-cell', reading),
    failed: (error) => this.fail(error),
  });
  private readonly navigation = new Navigation(this.surface, this.pointing, () => {
    this.failure = undefined;
    this.moved = true;
    this.requestFrame();
  });
  private readonly minimap = new Minimap(this.surface, (query, key) => this.navigation.center(query, key));
  private readonly measure = measureIn(this);
  private gutters: Gutters = { left: 60, top: 40, slanted: false };
  private wanted: MapView | undefined;
  private frameDue = 0;
  private ends: (() => void)[] = [];
  private moved = false;
  /** What of which view was drawn last. */
  private pictured = '';
  /** The view as the page was told last. */
  private told: MapView | undefined;

  constructor() {
    super();
    [this.batch, this.head, this.reduce] = [0, 0, 'mean'];
    this.locale = preferredLocale();
    this.shown = '';
  }

  /**
   * What of the matrix is in view, in cells; setting shows all of a part, as large as it fits. Where there is room beside the
   * matrix at one end alone, the view reaches beyond that end.
   */
  get view(): MapView {
    return this.wanted ?? this.surface.camera.place;
  }

  set view(view: MapView | undefined) {
    // Pages hand back what they were told.
    if (view && this.told && isNear(view, this.told)) return;
    this.told = undefined;
    this.wanted = view ?? { queries: [0, Number.POSITIVE_INFINITY], keys: [0, Number.POSITIVE_INFINITY] };
    this.requestUpdate();
  }

  /** The view with axes and colour bar, twice the page's resolution. */
  async toPng(): Promise<Blob> {
    await this.updateComplete;
    return figurePng(this.figure());
  }

  async toSvg(): Promise<string> {
    await this.updateComplete;
    return figureSvg(this.figure());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.watch();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    for (const end of this.ends.splice(0)) end();
    cancelAnimationFrame(this.frameDue);
    this.frameDue = 0;
    this.pointing.hide();
    this.surface.stop();
  }

  protected override firstUpdated(): void {
    this.watch();
  }

  private get words() {
    return stringsOf(mapStrings, this.locale);
  }

  private watch(): void {
    const observer = new ResizeObserver(() => this.layOut());
    observer.observe(this.find('.plot'));
    const frame = this.find<HTMLElement>('.frame');
    const endGestures = watchGestures(frame, {
      start: () => frame.classList.add('moving'),
      end: () => frame.classList.remove('moving'),
      move: (factor, from, to) => this.there === 'map' && this.navigation.move(factor, from, to),
      isWhole: () => this.surface.camera.isWhole,
    });
    this.ends = [() => observer.disconnect(), endGestures, watchPixelRatio(() => this.requestFrame())];
  }

  protected override updated(changed: PropertyValues): void {
    const subject = { batch: this.batch, head: this.head, reduce: this.reduce };
    if (['map', 'batch', 'head', 'reduce'].some((name) => changed.has(name))) this.failure = undefined;
    this.surface.show(this.map, subject);
    this.pointing.show(this.map, subject);
    Object.assign(this.surface, { scale: this.colouring, range: this.range, table: TABLE });
    if (['map', 'queryLabels', 'keyLabels'].some((name) => changed.has(name))) this.layOut();
    else if (this.wanted) this.layOut();
    this.requestFrame();
  }

  private layOut(): void {
    const plot = this.find<HTMLElement>('.plot');
    const [width, height] = [plot.clientWidth, plot.clientHeight];
    if (width === 0 || height === 0) return;
    const [rows, columns] = this.map ? this.map.shape.slice(2) : [1, 1];
    const { queryLabels, keyLabels } = this;
    this.gutters = guttersFor(rows, columns, queryLabels, keyLabels, this.measure, width);
    const { left, top } = this.gutters;
    const size = { width: Math.max(16, width - left), height: Math.max(16, height - top) };
    this.surface.layOut(size);
    if (this.wanted && this.map) {
      this.surface.camera.look(this.wanted);
      this.wanted = undefined;
    }
    const { style } = this.find<HTMLElement>('.frame');
    [style.left, style.top] = [`${left}px`, `${top}px`];
    for (const [name, value] of [
      ['--_top', top],
      ['--_left', left],
    ] as const)
      this.style.setProperty(name, `${value}px`);
    this.pointing.follow();
    // Clearing a resized canvas shows; so the next picture is drawn at once.
    this.frame();
  }

  private requestFrame(): void {
    if (!this.frameDue && this.isConnected) this.frameDue = requestAnimationFrame(() => this.frame());
  }

  private frame(): void {
    cancelAnimationFrame(this.frameDue);
    this.frameDue = 0;
    if (!this.hasUpdated) return;
    const { surface } = this;
    const canvas = this.find<HTMLCanvasElement>('.tiles');
    const { width, height } = surface.camera.frame;
    const pixels = [width, height].map((x) => Math.round(x * devicePixelRatio));
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) [canvas.width, canvas.height] = pixels;
    const context = canvas.getContext('2d')!;
    const empty = colourOf(this.renderRoot, 'empty');
    if (!surface.draw(context, devicePixelRatio, empty)) this.requestFrame();
    if (!this.map) return;
    if (!this.failure && this.there === 'map') surface.look();
    drawOverlay(
      this.find('svg.marks'),
      this.there === 'map' ? this.axesPlace(this.pointing.cell) : undefined,
    );
    this.minimap.draw(this.renderRoot, surface.name);
    const { fraction, range } = surface.seen;
    const { isWhole, isClosest } = surface.camera;
    this.shown = [fraction, surface.busy, range, isWhole, isClosest].join(' ');
    const pictured = [surface.name, fraction, ...Object.values(this.view).flat()].join(' ');
    if (fraction !== undefined && pictured !== this.pictured) this.tell('fovea-picture', { fraction });
    this.pictured = pictured;
    if (this.moved) {
      this.moved = false;
      this.told = this.view;
      this.tell('fovea-view', this.told);
    }
  }

  private axesPlace(cell?: Cell) {
    const { gutters, queryLabels, keyLabels, measure } = this;
    const names = { queries: this.words.queries, keys: this.words.keys };
    return { camera: this.surface.camera, gutters, queryLabels, keyLabels, names, measure, cell };
  }

  private get colouring(): Scale {
    if (this.scale === 'linear' || this.scale === 'log') return this.scale;
    return this.map && Math.max(...this.map.shape.slice(2)) > LONG ? 'log' : 'linear';
  }

  /** Whether there is a map, and whether it has any cells. */
  private get there(): 'map' | 'none' | 'empty' {
    if (!this.map) return 'empty';
    return this.map.shape.includes(0) ? 'none' : 'map';
  }

  private readonly pressed = (event: KeyboardEvent): void => {
    if (this.there === 'map' && this.navigation.press(event)) event.preventDefault();
  };

  private readonly hover = (event: PointerEvent): void => {
    if (event.pointerType === 'touch' && event.type === 'pointermove') return;
    const { left, top } = this.find('.frame').getBoundingClientRect();
    const at = { x: event.clientX - left, y: event.clientY - top };
    // A finger chooses a cell and then moves the map, the cell with it. Where it may scroll the page, it chooses by a tap.
    const chooses = this.surface.camera.isWhole ? 'pointerup' : 'pointerdown';
    if (event.pointerType !== 'touch') this.pointing.hover(at);
    else if (event.isPrimary && event.type === chooses) this.pointing.choose(at);
  };

  private readonly leave = (event: PointerEvent): void => {
    if (event.pointerType !== 'touch') this.pointing.leave();
  };

  private fail(error: unknown): void {
    this.failure = error instanceof Error ? error.message : String(error);
  }

  private set(settings: Partial<Pick<FoveaMap, 'reduce' | 'scale' | 'range'>>): void {
    Object.assign(this, settings);
    const { reduce, scale, range } = this;
    this.tell('fovea-settings', { reduce, scale, range });
  }

  private tell(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }

  private find<T extends Element>(selector: string): T {
    return this.renderRoot.querySelector<T>(selector)!;
  }

  /** What toPng and toSvg draw. */
  private figure(): FigureParts {
    const { surface, gutters } = this;
    const { camera, scale } = surface;
    const marks = this.there === 'map' ? axes(this.axesPlace()) : [];
    const ink = inkOf(this.renderRoot, this);
    return { surface, camera, gutters, axes: marks, palette: PALETTE, scale, range: surface.seen.range, ink };
  }

  protected override render() {
    const { words, surface, map, there } = this;
    const { cell, known } = this.pointing;
    const { camera } = surface;
    const { fraction, levels, spread, range } = surface.seen;
    const [rows, columns] = map ? map.shape.slice(2) : [0, 0];
    const pooledHere = levels.queries + levels.keys > 0;
    const pixel = cell && pooledHere ? surface.pooledAt(cell.query, cell.key) : undefined;
    return html`
      ${controls({
        words,
        reduce: this.reduce,
        scale: this.colouring,
        pooled: surface.isPooled,
        whole: camera.isWhole,
        closest: camera.isClosest,
        setReduce: (reduce) => this.set({ reduce }),
        setScale: (scale) => this.set({ scale, range: undefined }),
        zoom: (factor) => this.navigation.zoom(factor),
        showAll: () => this.navigation.showAll(),
        save: (kind) => void saveFigure(this.figure(), kind).catch((error) => this.fail(error)),
      })}
      <div class="body">
        <div class="plot" tabindex="0" role="application" aria-label=${words.map(countText(rows), countText(columns))}
          aria-describedby="help" @keydown=${this.pressed}>
          <div class="frame" ?data-whole=${camera.isWhole} @pointermove=${this.hover} @pointerdown=${this.hover}
            @pointerup=${this.hover} @pointerleave=${this.leave}
            @dblclick=${(event: MouseEvent) => this.navigation.zoom(event.shiftKey ? 1 / 3 : 3)}>
            <canvas class="tiles"></canvas>
          </div>
          <svg class="marks" aria-hidden="true"></svg>
          ${there === 'map' ? chip(words, fraction, surface.busy, this.reduce) : nothing}
          ${map && !camera.isWhole ? this.minimap.render(words.minimap) : nothing}
          ${message(words, this.failure, there)}
        </div>
        <fovea-colour-bar .palette=${PALETTE} .scale=${this.colouring} .range=${range} .spread=${spread}
          ?locked=${validRange(this.range, this.colouring) !== undefined} .locale=${this.locale}
          @range=${(event: CustomEvent<Range>) => this.set({ range: event.detail })}
          @fit=${() => this.set({ range: undefined })}></fovea-colour-bar>
      </div>
      ${readout({
        words,
        cell,
        reading: known,
        queryLabel: cell && labelOf(this.queryLabels, cell.query),
        keyLabel: cell && labelOf(this.keyLabels, cell.key),
        pooled: pixel && { name: words[`${this.reduce}Here`], ...pixel },
      })}
      <div class="silent" id="help">${words.help}</div>
      <div class="silent" aria-live="polite">${spoken(words, this.pointing.follows ? undefined : known, this.queryLabels, this.keyLabels)}</div>
      ${inkTemplate}
    `;
  }
}

if (!customElements.get('fovea-map')) customElements.define('fovea-map', FoveaMap);

declare global {
  interface HTMLElementTagNameMap {
    'fovea-map': FoveaMap;
  }
}
