// How a reader moves over the map: by gestures, by keys from the whole down to cells, by buttons and the minimap.
import type { Point } from './camera.js';
import { glide } from './glide.js';
import { act } from './keyboard.js';
import type { Pointing } from './pointing.js';
import type { Surface } from './surface.js';

export class Navigation {
  constructor(
    private readonly surface: Surface,
    private readonly pointing: Pointing,
    private readonly moved: () => void,
  ) {}

  /** What lies at one point of the frame goes to another, and all is `factor` times as large. */
  move(factor: number, from: Point, to: Point): void {
    this.surface.camera.zoomBy(factor, from, to);
    this.told();
  }

  showAll(): void {
    this.surface.camera.showWhole();
    this.told();
  }

  /** Brings a place of the matrix into the middle. */
  center(query: number, key: number): void {
    const { camera } = this.surface;
    const at = camera.pointOf(key, query);
    this.pan(camera.frame.width / 2 - at.x, camera.frame.height / 2 - at.y);
  }

  /** Zooms about the cell that is pointed at, where it is in view, else about the middle. */
  zoom(factor: number): void {
    const { camera } = this.surface;
    const { width, height } = camera.frame;
    const { cell } = this.pointing;
    const at = cell && camera.pointOf(cell.key + 0.5, cell.query + 0.5);
    const inside = at && at.x >= 0 && at.y >= 0 && at.x <= width && at.y <= height;
    const fixed = inside ? at : { x: width / 2, y: height / 2 };
    glide(factor, (step) => this.move(step, fixed, fixed));
  }

  /** Whether the key meant something. */
  press(event: KeyboardEvent): boolean {
    const { width, height } = this.surface.camera.frame;
    return act(event, {
      pan: (x, y) => this.pan(x * width, y * height),
      zoom: (factor) => this.zoom(factor),
      showAll: () => this.showAll(),
      step: (x, y) => this.step(x, y),
      enter: () => this.pointing.cell && this.zoom(4),
      hide: () => this.pointing.hide(),
    });
  }

  private pan(x: number, y: number): void {
    this.surface.camera.pan(x, y);
    this.told();
  }

  /** Moves the cursor, and the view with it. */
  private step(x: number, y: number): void {
    const { camera } = this.surface;
    const { query, key } = this.pointing.step(x, y);
    const at = camera.pointOf(key + 0.5, query + 0.5);
    const back = (p: number, size: number) => (p < 0 || p > size ? size / 2 - p : 0);
    const [dx, dy] = [back(at.x, camera.frame.width), back(at.y, camera.frame.height)];
    if (dx !== 0 || dy !== 0) this.pan(dx, dy);
  }

  private told(): void {
    this.pointing.follow();
    this.surface.touch();
    this.moved();
  }
}
