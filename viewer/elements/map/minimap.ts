// The whole map in a corner, with the rectangle of the view: drag it to move.
import { html } from 'lit';
import { fittedRange } from './colours.js';
import { type Colours, Painter } from './painter.js';
import type { Surface } from './surface.js';

/** CSS pixels at most. */
const SIZE = { width: 132, height: 110 };
/** The rectangle is never drawn smaller. */
const SMALLEST = 6;

export class Minimap {
  private readonly painter = new Painter();
  private colours: Colours | undefined;
  private drawn: unknown;

  constructor(
    private readonly surface: Surface,
    private readonly move: (query: number, key: number) => void,
  ) {}

  /** Pixels of the whole map; elongated ones are stretched. */
  private get size() {
    const { rows, columns } = this.surface.camera;
    const aspect = Math.min(3, Math.max(1 / 3, columns / rows));
    const width = Math.round(Math.min(SIZE.width, SIZE.height * aspect));
    return { width, height: Math.round(width / aspect) };
  }

  render(label: string) {
    const { width, height } = this.size;
    return html`<div class="minimap" style="width: ${width}px; height: ${height}px" title=${label}
      @pointerdown=${this.grab} @wheel=${this.pass}><canvas aria-hidden="true"></canvas><div class="window"></div></div>`;
  }

  /** Draws into what render() made. */
  draw(root: ParentNode, name: string): void {
    const box = root.querySelector<HTMLElement>('.minimap');
    const tile = this.surface.overview.tileOf(name);
    if (!box) return;
    const { width, height } = this.size;
    const { queries, keys } = this.surface.camera.view;
    const { rows, columns } = this.surface.camera;
    const part = ([from, to]: readonly [number, number], length: number, pixels: number) => {
      const size = Math.max(SMALLEST, ((to - from) / length) * pixels);
      const middle = ((from + to) / 2 / length) * pixels;
      return [Math.min(pixels - size, Math.max(0, middle - size / 2)), size];
    };
    const [x, w] = part(keys, columns, width);
    const [y, h] = part(queries, rows, height);
    const style = box.querySelector<HTMLElement>('.window')!.style;
    style.transform = `translate(${x}px, ${y}px)`;
    [style.width, style.height] = [`${w}px`, `${h}px`];
    const { table, scale } = this.surface;
    const state = `${scale} ${width} ${height}`;
    if (!tile || (this.drawn === tile && this.colours?.table === table && box.dataset.state === state))
      return;
    this.drawn = tile;
    box.dataset.state = state;
    this.colours = { table, scale, range: fittedRange(tile.spread, scale) };
    const canvas = box.querySelector('canvas')!;
    const ratio = Math.max(2, devicePixelRatio);
    [canvas.width, canvas.height] = [width * ratio, height * ratio];
    const all = {
      pointOf: (key: number, query: number) => ({ x: (key / columns) * width, y: (query / rows) * height }),
    };
    this.painter.paint(canvas.getContext('2d')!, [tile], all, this.colours, ratio, false);
  }

  /** The wheel zooms what lies below: the minimap comes under a pointer that zooms in where it stands. */
  private readonly pass = (event: WheelEvent): void => {
    event.preventDefault();
    const frame = (event.currentTarget as Element).parentElement!.querySelector('.frame')!;
    frame.dispatchEvent(new WheelEvent('wheel', event));
  };

  private readonly grab = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    event.preventDefault();
    event.stopPropagation();
    const box = event.currentTarget as HTMLElement;
    box.setPointerCapture(event.pointerId);
    const go = (next: PointerEvent) => {
      const { left, top, width, height } = box.getBoundingClientRect();
      const { rows, columns } = this.surface.camera;
      this.move(((next.clientY - top) / height) * rows, ((next.clientX - left) / width) * columns);
    };
    go(event);
    box.addEventListener('pointermove', go);
    box.addEventListener('lostpointercapture', () => box.removeEventListener('pointermove', go), {
      once: true,
    });
  };
}
