// Axes and crosshair, drawn over the tiles in every frame.
import { nothing, render, svg } from 'lit';
import { type AxesPlace, axes, shownLabels } from './axes.js';
import { crosshair } from './crosshair.js';
import { markTemplate } from './marks.js';

/** `place` undefined: nothing. */
export function drawOverlay(into: Element, place: AxesPlace | undefined): void {
  const root = into as HTMLElement;
  if (!place) {
    render(nothing, root);
    return;
  }
  const { camera, cell, gutters, measure, queryLabels, keyLabels } = place;
  const badges = { measure, ...shownLabels(camera, queryLabels, keyLabels) };
  render(
    svg`<g transform="translate(${gutters.left} ${gutters.top})">
      ${axes(place).map(markTemplate)}${cell ? crosshair(camera, cell, badges) : nothing}
    </g>`,
    root,
  );
}
