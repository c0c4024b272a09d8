// The cell that is pointed at, over the tiles: lines through it, its outline, and its numbers on the axes.
import { nothing, svg } from 'lit';
import { FONT } from './axes.js';
import type { Camera } from './camera.js';
import { countText } from './numbers.js';

export interface Cell {
  readonly query: number;
  readonly key: number;
}

/** Cells at least so large, in pixels, are outlined. */
const OUTLINED = 3;

/** How numbers on the axes are drawn, and where labels stand in their place. */
export interface Badges {
  readonly measure: (text: string) => number;
  readonly queries: boolean;
  readonly keys: boolean;
}

export function crosshair(camera: Camera, { query, key }: Cell, { measure, queries, keys }: Badges) {
  const { width, height } = camera.frame;
  const from = camera.pointOf(key, query);
  const to = camera.pointOf(key + 1, query + 1);
  const [x, y] = [(from.x + to.x) / 2, (from.y + to.y) / 2];
  if (x < 0 || y < 0 || x > width || y > height) return nothing;
  const [w, h] = [to.x - from.x, to.y - from.y];
  const edge = camera.pointOf(0, 0);
  const end = camera.pointOf(camera.columns, camera.rows);
  const [left, top] = [Math.max(0, edge.x), Math.max(0, edge.y)];
  const [right, bottom] = [Math.min(width, end.x), Math.min(height, end.y)];
  const lines = `M${x} ${top}V${from.y}M${x} ${to.y}V${bottom}M${left} ${y}H${from.x}M${to.x} ${y}H${right}`;
  const outline = (name: string) =>
    svg`<rect class=${name} x=${from.x - 1} y=${from.y - 1} width=${w + 2} height=${h + 2} rx="1.5" />`;
  return svg`
    <clipPath id="crossed"><rect x=${left} y=${top} width=${right - left} height=${bottom - top} /></clipPath>
    <g clip-path="url(#crossed)">
      <path class="cross-outer" d=${lines} /><path class="cross-inner" d=${lines} />
      ${Math.min(w, h) >= OUTLINED ? [outline('cell-outer'), outline('cell-inner')] : nothing}
    </g>
    ${queries ? nothing : badge(countText(query), left - 4, y, 'end', measure)}
    ${keys ? nothing : badge(countText(key), x, top - 12, 'middle', measure)}
  `;
}

function badge(
  text: string,
  x: number,
  y: number,
  anchor: 'end' | 'middle',
  measure: (text: string) => number,
) {
  const width = measure(text) + 12;
  const left = anchor === 'end' ? x - width : x - width / 2;
  return svg`<g class="badge">
    <rect x=${left} y=${y - 9} width=${width} height="18" rx="5" />
    <text x=${left + width / 2} y=${y + FONT * 0.35} text-anchor="middle">${text}</text>
  </g>`;
}
