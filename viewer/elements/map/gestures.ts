// Wheel, drag and pinch, by d3-zoom, as moves and zooms about a point.
import { select } from 'd3-selection';
import { type D3ZoomEvent, type ZoomTransform, zoom, zoomIdentity } from 'd3-zoom';

export interface Gestures {
  /** Pixels. */
  pan(x: number, y: number): void;
  /** What lies at (x, y) of the target stays there. */
  zoom(factor: number, x: number, y: number): void;
  start(): void;
  end(): void;
}

/** Watches an element that has `touch-action: none`. Returns what ends it. */
export function watchGestures(target: HTMLElement, told: Gestures): () => void {
  let last: ZoomTransform = zoomIdentity;
  const behavior = zoom<HTMLElement, unknown>()
    .on('start', () => told.start())
    .on('zoom', ({ transform }: D3ZoomEvent<HTMLElement, unknown>) => {
      // The step from the last transform: p → factor·p + shift.
      const factor = transform.k / last.k;
      const shift = { x: transform.x - factor * last.x, y: transform.y - factor * last.y };
      last = transform;
      if (Math.abs(factor - 1) < 1e-6) told.pan(shift.x, shift.y);
      else told.zoom(factor, shift.x / (1 - factor), shift.y / (1 - factor));
    })
    .on('end', () => {
      // The camera knows where it is: every gesture begins anew.
      last = zoomIdentity;
      selection.property('__zoom', zoomIdentity);
      told.end();
    });
  const selection = select(target).call(behavior).on('dblclick.zoom', null);
  return () => selection.on('.zoom', null);
}
