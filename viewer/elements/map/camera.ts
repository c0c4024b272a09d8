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

/** Of the frame, in pixels from its upper left corner. */
export interface Point {
  readonly x: number;
  readonly y: number;
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

/** What of a span the whole view shows, which reaches `half` to both sides of the middle. */
function within([from, to]: Span, cells: number, half: number): Span {
  const first = Math.max(from, cells / 2 - half);
  const last = Math.min(to === Number.POSITIVE_INFINITY ? cells : to, cells / 2 + half);
  return first < last && first < cells && last > 0 ? [first, last] : [0, cells];
}

const clamp = (x: number, low: number, high: number) => Math.min(high, Math.max(low, x));

/** Columns are keys, x; rows are queries, y. Screen coordinates are pixels from the frame's upper left corner. */
export class Camera {
  /** Pixels per key, before the bounds of each axis. */
  private zoom: number;
  private center: Point;
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

  /**
   * What the frame shows, so that look() finds it again: as `view`, but where there is room beside the matrix at one end
   * alone, it reaches beyond that end.
   */
  get place(): MapView {
    const { view, scale, center, middle, rows, columns } = this;
    const along = ([from, to]: Span, cells: number, at: number, half: number): Span => {
      if (from === 0 && to === cells) return [from, to];
      return [Math.min(from, at - half), Math.max(to, at + half)];
    };
    return {
      queries: along(view.queries, rows, center.y, middle.y / scale.y),
      keys: along(view.keys, columns, center.x, middle.x / scale.x),
    };
  }

  /** Shows all of a part, as large as it fits; all of an axis where the part has no cell of it. */
  look(part: MapView): void {
    const whole = this.scaleAt(this.least);
    const queries = within(part.queries, this.rows, this.middle.y / whole.y);
    const keys = within(part.keys, this.columns, this.middle.x / whole.x);
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

  /** Zooms by a factor; what is at (x, y) stays there, or goes to another point. */
  zoomBy(factor: number, { x, y }: Point = this.middle, to: Point = { x, y }): void {
    const fixed = this.cellAt(x, y);
    this.zoom = clamp(this.zoom * factor, this.least, this.most);
    const scale = this.scale;
    this.center = {
      x: fixed.x - (to.x - this.middle.x) / scale.x,
      y: fixed.y - (to.y - this.middle.y) / scale.y,
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
  cellAt(x: number, y: number): Point {
    const { scale, middle, center } = this;
    return { x: center.x + (x - middle.x) / scale.x, y: center.y + (y - middle.y) / scale.y };
  }

  /** The point of the frame where a fractional cell lies. */
  pointOf(key: number, query: number): Point {
    const { scale, middle, center } = this;
    return { x: (key - center.x) * scale.x + middle.x, y: (query - center.y) * scale.y + middle.y };
  }

  private get middle(): Point {
    return { x: this.frame.width / 2, y: this.frame.height / 2 };
  }

  private scaleAt(zoom: number): { x: number; y: number } {
    const most = (least: number) => Math.max(least, LARGEST);
    const leastY = this.least * this.aspect;
    return {
      x: clamp(zoom, this.least, most(this.least)),
      y: clamp(zoom * this.aspect, leastY, most(leastY)),
    };
  }

  /**
   * Leaves beside the matrix at most the room, in pixels, that the whole view leaves. Were the room closed as soon as the
   * matrix is larger than the frame, zooming in would move what is pointed at.
   */
  private keepInside(): void {
    const [now, whole] = [this.scale, this.scaleAt(this.least)];
    const inside = (center: number, cells: number, share: number) =>
      clamp(center, (cells / 2) * share, cells - (cells / 2) * share);
    this.center = {
      x: inside(this.center.x, this.columns, whole.x / now.x),
      y: inside(this.center.y, this.rows, whole.y / now.y),
    };
  }
}
