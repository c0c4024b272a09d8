// The cell that is pointed at, by pointer or keys, and what was read of it.
import type { AttentionMap } from 'fovea';
import type { Point } from './camera.js';
import { CellReader, type CellReading } from './cell-reader.js';
import type { Cell } from './crosshair.js';
import type { Subject } from './sketch.js';
import type { Surface } from './surface.js';

export class Pointing {
  cell: Cell | undefined;
  reading: CellReading | undefined;
  /** Where the pointer is in the frame, while it points. */
  private pointer: Point | undefined;
  private map: AttentionMap | undefined;
  private subject: Subject = { batch: 0, head: 0, reduce: 'mean' };
  private readonly reader: CellReader;

  constructor(
    private readonly surface: Surface,
    private readonly told: {
      /** Another cell, or another reading. */
      changed(): void;
      read(reading: CellReading | undefined): void;
      failed(error: unknown): void;
    },
  ) {
    this.reader = new CellReader(
      (reading) => {
        this.reading = reading;
        told.changed();
        told.read(reading);
      },
      (error) => told.failed(error),
    );
  }

  /** What was read of another map says nothing of this one. */
  show(map: AttentionMap | undefined, subject: Subject): void {
    if (map === this.map && subject.batch === this.subject.batch && subject.head === this.subject.head)
      return;
    [this.map, this.subject] = [map, subject];
    this.reader.stop();
    this.reading = undefined;
    const [rows, columns] = map?.shape.slice(2) ?? [0, 0];
    if (this.cell && (this.cell.query >= rows || this.cell.key >= columns)) this.cell = undefined;
    if (this.cell && map) this.reader.read(map, subject, this.cell);
  }

  /** The reading, if it is of the cell that is pointed at. */
  get known(): CellReading | undefined {
    const { cell, reading } = this;
    return reading && reading.query === cell?.query && reading.key === cell.key ? reading : undefined;
  }

  /** Whether the cell is the one under a pointer that hovers: it was not chosen. */
  get follows(): boolean {
    return this.pointer !== undefined;
  }

  hover(at: Point): void {
    this.pointer = at;
    this.follow();
  }

  /** Points at the cell at a place, wherever it moves. */
  choose(at: Point): void {
    this.hover(at);
    this.pointer = undefined;
  }

  /** The picture may have moved under the pointer. */
  follow(): void {
    if (!this.pointer || !this.map) return;
    const { camera } = this.surface;
    const { x, y } = camera.cellAt(this.pointer.x, this.pointer.y);
    const inside = x >= 0 && y >= 0 && x < camera.columns && y < camera.rows;
    this.at(inside ? { query: Math.floor(y), key: Math.floor(x) } : undefined);
  }

  leave(): void {
    if (this.pointer) this.hide();
  }

  hide(): void {
    this.pointer = undefined;
    this.at(undefined);
  }

  /** Moves the cursor by cells; it begins in the middle of the view. Returns where it is. */
  step(x: number, y: number): Cell {
    this.pointer = undefined;
    const { rows, columns, view } = this.surface.camera;
    const middle = ([from, to]: readonly [number, number]) => Math.floor((from + to) / 2);
    const within = (i: number, n: number) => Math.min(n - 1, Math.max(0, i));
    const cell = this.cell
      ? { query: within(this.cell.query + y, rows), key: within(this.cell.key + x, columns) }
      : { query: middle(view.queries), key: middle(view.keys) };
    this.at(cell);
    return cell;
  }

  private at(cell: Cell | undefined): void {
    if (cell?.query === this.cell?.query && cell?.key === this.cell?.key) return;
    this.cell = cell;
    this.told.changed();
    if (cell && this.map) {
      this.reader.read(this.map, this.subject, cell);
    } else {
      this.reader.stop();
      this.told.read(undefined);
    }
  }
}
