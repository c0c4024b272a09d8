// Wheel, drag and pinch, by d3-zoom, as moves and zooms about a point.
import { pointers, select } from 'd3-selection';
import { type D3ZoomEvent, type ZoomTransform, zoom, zoomIdentity } from 'd3-zoom';
import type { Point } from './camera.js';

export interface Gestures {
  /** What lies at one point of the target goes to another, and all is `factor` times as large. */
  move(factor: number, from: Point, to: Point): void;
  /** Whether there is nothing that one finger could move: it is the page's. */
  isWhole(): boolean;
  start(): void;
  end(): void;
}

/** Watches an element whose `touch-action` leaves the page one finger where it `isWhole`, else nothing. Returns what ends it. */
export function watchGestures(target: HTMLElement, told: Gestures): () => void {
  let last: ZoomTransform = zoomIdentity;
  const behavior = zoom<HTMLElement, unknown>()
    .filter((event: MouseEvent | TouchEvent) => {
      if ('touches' in event) return event.touches.length > 1 || !told.isWhole();
      return !event.button && (!event.ctrlKey || event.type === 'wheel');
    })
    .on('start', () => told.start())
    .on('zoom', ({ transform, sourceEvent }: D3ZoomEvent<HTMLElement, unknown>) => {
      // The step from the last transform is p → factor·p + shift. It is told by what the fingers or the pointer hold: a bounded
      // zoom still moves that along.
      const factor = transform.k / last.k;
      const to = middleOf(pointers(sourceEvent, target));
      const from = {
        x: (to.x - transform.x) / factor + last.x,
        y: (to.y - transform.y) / factor + last.y,
      };
      last = transform;
      told.move(factor, from, to);
    })
    .on('end', () => {
      // The camera knows where it is: every gesture begins anew.
      last = zoomIdentity;
      selection.property('__zoom', zoomIdentity);
      told.end();
    });
  const selection = select(target).property('__zoom', zoomIdentity).call(behavior).on('dblclick.zoom', null);
  return () => selection.on('.zoom', null);
}

function middleOf(points: readonly (readonly [number, number])[]): Point {
  const mean = (axis: 0 | 1) => points.reduce((sum, point) => sum + point[axis], 0) / points.length;
  return { x: mean(0), y: mean(1) };
}
