// <fovea-map>: any attention map as a picture to zoom into, from all of it down to single exact weights.
import type { AttentionMap } from 'fovea';
import { html, LitElement, nothing, type PropertyValues } from 'lit';
import { type Locale, preferredLocale } from './locale.js';
import { axes, type Gutters, guttersFor, type Labels, labelOf } from './map/axes.js';
import { isNear, type MapView } from './map/camera.js';
import './map/colour-bar.js';
import type { Range, Scale } from './map/colours.js';
import { controls } from './map/controls.js';
import type { Cell } from './map/crosshair.js';
import { type FigureParts, figurePng, figureSvg, saveFigure } from './map/figure.js';
import { watchGestures } from './map/gestures.js';
import { glide } from './map/glide.js';
import { colourOf, inkOf, inkTemplate } from './map/ink.js';
import { act } from './map/keyboard.js';
import { measureIn } from './map/letters.js';
import { mapStyles } from './map/map-styles.js';
import { Minimap } from './map/minimap.js';
import { countText } from './map/numbers.js';
import { drawOverlay } from './map/overlay.js';
import { PALETTE, TABLE } from './map/palette.js';
import { Pointing } from './map/pointing.js';
import { readout } from './map/readout.js';
import type { Reduce } from './map/sketch.js';
import { chip, message, spoken } from './map/status.js';
import { mapStrings } from './map/strings.js';
import { styles } from './map/styles.js';
import { Surface } from './map/surface.js';

export type { Labels, MapView, Range, Reduce, Scale };

/**
 * Shows one head of an AttentionMap of any size. Set `map` (and `batch`, `head` where it has several); the element never
 * disposes it. The page's own thread draws; the map's engine computes.
 *
 * Events, all bubbling and composed: `fovea-view` {queries, keys} when the reader moves the view, `fovea-settings`
 * {reduce, scale, range} when the reader changes one, `fovea-cell` {query, key, weight, score} when a cell was read (null when none
 * is pointed at any more), `fovea-picture` {fraction} when a picture of all that is in view was drawn, and when a sharper
 * one was; 1 is exact.
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
  declare scale: Scale;
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
  private readonly minimap = new Minimap(this.surface, (query, key) => this.center(query, key));
  private readonly pointing = new Pointing(this.surface, {
    changed: () => {
      this.requestUpdate();
      this.requestFrame();
    },
    read: (reading) => this.tell('fovea-cell', reading),
    failed: (error) => this.fail(error),
  });
  private readonly measure = measureIn(this);
  private gutters: Gutters = { left: 60, top: 40, slanted: false };
  private wanted: MapView | undefined;
  private frameDue = 0;
  private observer: ResizeObserver | undefined;
  private endGestures: (() => void) | undefined;
  private moved = false;
  /** What of which view was drawn last. */
  private pictured = '';
  /** The view as the page was told last. */
  private told: MapView | undefined;

  constructor() {
    super();
    [this.batch, this.head, this.reduce, this.scale] = [0, 0, 'mean', 'linear'];
    this.locale = preferredLocale();
    this.shown = '';
  }

  /** What of the matrix is in view, in cells; setting shows all of a part, as large as it fits. */
  get view(): MapView {
    return this.wanted ?? this.surface.camera.view;
  }

  set view(view: MapView | undefined) {
    // Pages hand back what they were told.
    if (view && this.told && isNear(view, this.told)) return;
    this.told = undefined;
    this.wanted = view ?? { queries: [0, Number.POSITIVE_INFINITY], keys: [0, Number.POSITIVE_INFINITY] };
    this.requestUpdate();
  }

  /** The view with axes and colour bar, twice the page's resolution. */
  toPng(): Promise<Blob> {
    return figurePng(this.figure());
  }

  async toSvg(): Promise<string> {
    return figureSvg(this.figure());
  }

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.watch();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.observer?.disconnect();
    this.endGestures?.();
    cancelAnimationFrame(this.frameDue);
    this.frameDue = 0;
    this.pointing.stop();
    this.surface.stop();
  }

  protected override firstUpdated(): void {
    this.watch();
  }

  private get words() {
    return mapStrings[this.locale] ?? mapStrings.en;
  }

  private watch(): void {
    const plot = this.find<HTMLElement>('.plot');
    this.observer = new ResizeObserver(() => this.layOut());
    this.observer.observe(plot);
    this.endGestures = watchGestures(this.find('.frame'), {
      start: () => this.find('.frame').classList.add('moving'),
      end: () => this.find('.frame').classList.remove('moving'),
      pan: (x, y) => this.move(() => this.surface.camera.pan(x, y)),
      zoom: (factor, x, y) => this.move(() => this.surface.camera.zoomBy(factor, x, y)),
    });
  }

  protected override updated(changed: PropertyValues): void {
    const subject = { batch: this.batch, head: this.head, reduce: this.reduce };
    if (['map', 'batch', 'head', 'reduce'].some((name) => changed.has(name))) this.failure = undefined;
    this.surface.show(this.map, subject);
    this.pointing.show(this.map, subject);
    Object.assign(this.surface, { scale: this.scale, range: this.range, table: TABLE });
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
      const clip = ([from, to]: readonly [number, number], n: number) =>
        [Math.max(0, from), Math.min(n, to)] as const;
      this.surface.camera.look({
        queries: clip(this.wanted.queries, rows),
        keys: clip(this.wanted.keys, columns),
      });
      this.wanted = undefined;
    }
    const { style } = this.find<HTMLElement>('.frame');
    [style.left, style.top] = [`${left}px`, `${top}px`];
    for (const [name, value] of [
      ['--_top', top],
      ['--_left', left],
    ] as const)
      this.style.setProperty(name, `${value}px`);
    const canvas = this.find<HTMLCanvasElement>('.tiles');
    [canvas.width, canvas.height] = [size.width, size.height].map((x) => Math.round(x * devicePixelRatio));
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
    const context = this.find<HTMLCanvasElement>('.tiles').getContext('2d')!;
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
      this.told = this.surface.camera.view;
      this.tell('fovea-view', this.told);
    }
  }

  private axesPlace(cell?: Cell) {
    const { gutters, queryLabels, keyLabels, measure } = this;
    const names = { queries: this.words.queries, keys: this.words.keys };
    return { camera: this.surface.camera, gutters, queryLabels, keyLabels, names, measure, cell };
  }

  /** Whether there is a map, and whether it has any cells. */
  private get there(): 'map' | 'none' | 'empty' {
    if (!this.map) return 'empty';
    return this.map.shape.slice(2).includes(0) ? 'none' : 'map';
  }

  private move(change: () => void): void {
    change();
    this.failure = undefined;
    this.pointing.follow();
    this.moved = true;
    this.surface.touch();
    this.requestFrame();
  }

  private center(query: number, key: number): void {
    const { camera } = this.surface;
    const at = camera.pointOf(key, query);
    this.move(() => camera.pan(camera.frame.width / 2 - at.x, camera.frame.height / 2 - at.y));
  }

  /** Zooms about the cell that is pointed at, where it is in view. */
  private zoom(factor: number): void {
    const { camera } = this.surface;
    const { width, height } = camera.frame;
    const { cell } = this.pointing;
    const at = cell && camera.pointOf(cell.key + 0.5, cell.query + 0.5);
    const inside = at && at.x >= 0 && at.y >= 0 && at.x <= width && at.y <= height;
    glide(factor, (step) => {
      this.move(() => (inside ? camera.zoomBy(step, at.x, at.y) : camera.zoomBy(step)));
    });
  }

  private readonly pressed = (event: KeyboardEvent): void => {
    if (this.there !== 'map') return;
    const { camera } = this.surface;
    const { width, height } = camera.frame;
    const known = act(event, {
      pan: (x, y) => this.move(() => camera.pan(x * width, y * height)),
      zoom: (factor) => this.zoom(factor),
      showAll: () => this.move(() => camera.showWhole()),
      step: (x, y) => this.step(x, y),
      enter: () => this.pointing.cell && this.zoom(4),
      hide: () => this.pointing.hide(),
    });
    if (known) event.preventDefault();
  };

  /** Moves the cursor, and the view with it. */
  private step(x: number, y: number): void {
    const { camera } = this.surface;
    const { query, key } = this.pointing.step(x, y);
    const at = camera.pointOf(key + 0.5, query + 0.5);
    const back = (p: number, size: number) => (p < 0 || p > size ? size / 2 - p : 0);
    const [dx, dy] = [back(at.x, camera.frame.width), back(at.y, camera.frame.height)];
    if (dx !== 0 || dy !== 0) this.move(() => camera.pan(dx, dy));
  }

  private readonly hover = (event: PointerEvent): void => {
    if (event.pointerType === 'touch' && event.type === 'pointermove') return;
    const { left, top } = this.find('.frame').getBoundingClientRect();
    this.pointing.hover(event.clientX - left, event.clientY - top);
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
        scale: this.scale,
        pooled: surface.isPooled,
        whole: camera.isWhole,
        closest: camera.isClosest,
        setReduce: (reduce) => this.set({ reduce }),
        setScale: (scale) => this.set({ scale, range: undefined }),
        zoom: (factor) => this.zoom(factor),
        showAll: () => this.move(() => camera.showWhole()),
        save: (kind) => saveFigure(this.figure(), kind),
      })}
      <div class="body">
        <div class="plot" tabindex="0" role="application" aria-label=${words.map(countText(rows), countText(columns))}
          aria-describedby="help" @keydown=${this.pressed}>
          <div class="frame" @pointermove=${this.hover} @pointerdown=${this.hover} @pointerleave=${this.leave}
            @dblclick=${(event: MouseEvent) => this.zoom(event.shiftKey ? 1 / 3 : 3)}>
            <canvas class="tiles"></canvas>
          </div>
          <svg class="marks" aria-hidden="true"></svg>
          ${there === 'map' ? chip(words, fraction, surface.busy, this.reduce) : nothing}
          ${map && !camera.isWhole ? this.minimap.render(words.minimap) : nothing}
          ${message(words, this.failure, there)}
        </div>
        <fovea-colour-bar .palette=${PALETTE} .scale=${this.scale} .range=${range} .spread=${spread}
          ?locked=${this.range !== undefined} .locale=${this.locale}
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
      <div class="silent" aria-live="polite">${spoken(words, known, this.queryLabels, this.keyLabels)}</div>
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
