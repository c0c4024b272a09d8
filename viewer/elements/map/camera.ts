// Where a frame looks on a matrix: one zoom for both axes, each axis kept between all of itself and large cells.

export type Span = readonly [from: number, to: number];

/** A part of the matrix, in cells; fractions are parts of a cell. */
export interface MapView {
  readonly queries: Span;
  readonly keys: Span;
}

/** CSS pixels. */
export interface Frame {
  readonly width: number;
  readonly height: number;
}

/** Largest cell that zooming makes, and largest that showing all of a small matrix makes. */
const LARGEST = 64;
const LARGEST_WHOLE = 120;
/** Cells at least so large may be stretched to fill the frame, up to 2 : 1. */
const READABLE = 6;
/** Matrices more elongated than this against their frame are stretched to fill it. */
const ELONGATED = 3;

/** Whether two views are the same but for rounding. */
export function isNear(a: MapView, b: MapView): boolean {
  const near = ([p, q]: Span, [r, s]: Span) => Math.max(Math.abs(p - r), Math.abs(q - s)) <= 1e-3 * (s - r);
  return near(a.queries, b.queries) && near(a.keys, b.keys);
}

const clamp = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x));

/** Columns are keys, x; rows are queries, y. Screen coordinates are pixels from the frame's upper left corner. */
export class Camera {
  /** Pixels per key, before the bounds of each axis. */
  private zoom: number;
  private center: { x: number; y: number };
  /** Pixels per query for each pixel per key. */
  private readonly aspect: number;
  private readonly least: number;
  private readonly most: number;

  constructor(
    readonly rows: number,
    readonly columns: number,
    readonly frame: Frame,
  ) {
    const fills = (pixels: number, cells: number) => Math.min(LARGEST_WHOLE, pixels / Math.max(1, cells));
    const [fillX, fillY] = [fills(frame.width, columns), fills(frame.height, rows)];
    const fill = fillY / fillX;
    if (Math.min(fillX, fillY) >= READABLE) this.aspect = clamp(fill, 0.5, 2);
    else this.aspect = fill > ELONGATED || fill < 1 / ELONGATED ? fill : 1;
    this.least = Math.min(fillX, fillY / this.aspect);
    this.most = Math.max(this.least, LARGEST, LARGEST / this.aspect);
    this.zoom = this.least;
    this.center = { x: columns / 2, y: rows / 2 };
  }

  /** Pixels per key and per query. */
  get scale(): { x: number; y: number } {
    return this.scaleAt(this.zoom);
  }

  get isWhole(): boolean {
    return this.zoom <= this.least * (1 + 1e-9);
  }

  get isClosest(): boolean {
    return this.zoom >= this.most * (1 - 1e-9);
  }

  /** What of the matrix lies in the frame. */
  get view(): MapView {
    const { x, y } = this.scale;
    const [w, h] = [this.frame.width / 2 / x, this.frame.height / 2 / y];
    return {
      queries: [Math.max(0, this.center.y - h), Math.min(this.rows, this.center.y + h)],
      keys: [Math.max(0, this.center.x - w), Math.min(this.columns, this.center.x + w)],
    };
  }

  /** Shows all of a part, as large as it fits. */
  look({ queries, keys }: MapView): void {
    const wanted = {
      x: this.frame.width / Math.max(1e-3, keys[1] - keys[0]),
      y: this.frame.height / Math.max(1e-3, queries[1] - queries[0]),
    };
    const bound = this.scaleAt(this.most);
    this.zoom = clamp(
      Math.min(
        wanted.x >= bound.x * (1 - 1e-9) ? this.most : wanted.x,
        wanted.y >= bound.y * (1 - 1e-9) ? this.most : wanted.y / this.aspect,
      ),
      this.least,
      this.most,
    );
    this.center = { x: (keys[0] + keys[1]) / 2, y: (queries[0] + queries[1]) / 2 };
    this.keepInside();
  }

  showWhole(): void {
    this.zoom = this.least;
    this.keepInside();
  }

  /** Moves what is shown by pixels. */
  pan(x: number, y: number): void {
    const scale = this.scale;
    this.center = { x: this.center.x - x / scale.x, y: this.center.y - y / scale.y };
    this.keepInside();
  }

  /** Zooms by a factor; what is at (x, y) stays there. */
  zoomBy(factor: number, x = this.frame.width / 2, y = this.frame.height / 2): void {
    const fixed = this.cellAt(x, y);
    this.zoom = clamp(this.zoom * factor, this.least, this.most);
    const scale = this.scale;
    this.center = {
      x: fixed.x - (x - this.frame.width / 2) / scale.x,
      y: fixed.y - (y - this.frame.height / 2) / scale.y,
    };
    this.keepInside();
  }

  /** The same look in another frame: the same middle, at the same zoom, so that frames that come and go move nothing. */
  reframed(frame: Frame): Camera {
    const made = new Camera(this.rows, this.columns, frame);
    if (this.isWhole) return made;
    made.zoom = clamp(this.zoom, made.least, made.most);
    made.center = this.center;
    made.keepInside();
    return made;
  }

  /** Fractional cell at a point of the frame; outside the matrix where the point is. */
  cellAt(x: number, y: number): { x: number; y: number } {
    const scale = this.scale;
    return {
      x: this.center.x + (x - this.frame.width / 2) / scale.x,
      y: this.center.y + (y - this.frame.height / 2) / scale.y,
    };
  }

  /** The point of the frame where a fractional cell lies. */
  pointOf(key: number, query: number): { x: number; y: number } {
    const scale = this.scale;
    return {
      x: (key - this.center.x) * scale.x + this.frame.width / 2,
      y: (query - this.center.y) * scale.y + this.frame.height / 2,
    };
  }

  private scaleAt(zoom: number): { x: number; y: number } {
    const most = (least: number) => Math.max(least, LARGEST);
    const leastY = this.least * this.aspect;
    return {
      x: clamp(zoom, this.least, most(this.least)),
      y: clamp(zoom * this.aspect, leastY, most(leastY)),
    };
  }

  private keepInside(): void {
    const scale = this.scale;
    const inside = (center: number, cells: number, half: number) =>
      cells <= 2 * half ? cells / 2 : clamp(center, half, cells - half);
    this.center = {
      x: inside(this.center.x, this.columns, this.frame.width / 2 / scale.x),
      y: inside(this.center.y, this.rows, this.frame.height / 2 / scale.y),
    };
  }
}
