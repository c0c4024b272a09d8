// The view as a figure: tiles or cells, axes and colour bar, as SVG or PNG.
import type { Camera } from './camera.js';
import { positionOf, type Range, type Scale, valueAt } from './colours.js';
import { type Ink, type Mark, markCanvas, markSvg } from './marks.js';
import { weightText } from './numbers.js';
import type { Surface } from './surface.js';

export interface FigureParts {
  readonly camera: Camera;
  readonly gutters: { readonly left: number; readonly top: number };
  /** Axes, from the frame's upper left corner. */
  readonly axes: readonly Mark[];
  readonly palette: readonly string[];
  readonly scale: Scale;
  readonly range: Range;
  readonly ink: Ink;
  readonly surface: Pick<Surface, 'drawFully' | 'cells'>;
}

/** Pixels of a PNG to one of the page. */
const RATIO = 2;
const MARGIN = 14;
/** Cells drawn one by one in an SVG figure, at most. */
const VECTOR = 4096;
const BAR = { gap: 22, width: 14, labels: 58, slices: 64 };

export function figureSvg(parts: FigureParts): string {
  const { ink, gutters, camera } = parts;
  const { width, height } = sizeOf(parts);
  const marks = [...parts.axes, ...bar(parts)];
  const list = parts.surface.cells(VECTOR);
  const { width: w, height: h } = camera.frame;
  const image = list
    ? cells(parts, list)
    : `<image width="${w}" height="${h}" href="${picture(parts).toDataURL()}"/>`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" ` +
      `font-family="${ink.font.replace(/"/g, "'")}" font-size="11.5" fill="none">`,
    `<rect width="${width}" height="${height}" fill="${ink.background}"/>`,
    `<g transform="translate(${MARGIN + gutters.left} ${MARGIN + gutters.top})">`,
    `<clipPath id="frame"><rect width="${camera.frame.width}" height="${camera.frame.height}"/></clipPath>`,
    `<g clip-path="url(#frame)" shape-rendering="crispEdges">${image}</g>`,
    ...marks.map((mark) => markSvg(mark, ink)),
    '</g></svg>',
  ].join('\n');
}

export function figurePng(parts: FigureParts): Promise<Blob> {
  const { width, height } = sizeOf(parts);
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width * RATIO, height * RATIO];
  const context = canvas.getContext('2d')!;
  context.scale(RATIO, RATIO);
  context.fillStyle = parts.ink.background;
  context.fillRect(0, 0, width, height);
  context.translate(MARGIN + parts.gutters.left, MARGIN + parts.gutters.top);
  const { frame } = parts.camera;
  context.drawImage(picture(parts), 0, 0, frame.width, frame.height);
  for (const mark of [...parts.axes, ...bar(parts)]) markCanvas(mark, context, parts.ink);
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('The picture is too large to save.'))));
  });
}

function sizeOf({ camera: { frame }, gutters }: FigureParts) {
  return {
    width: Math.ceil(frame.width + gutters.left + BAR.gap + BAR.width + BAR.labels + 2 * MARGIN),
    height: Math.ceil(frame.height + gutters.top + 2 * MARGIN),
  };
}

/** The tiles as they are. */
function picture({ camera, surface }: FigureParts): HTMLCanvasElement {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [camera.frame.width, camera.frame.height].map((x) => Math.round(x * RATIO));
  surface.drawFully(canvas.getContext('2d')!, RATIO);
  return canvas;
}

function cells(
  { camera, palette, scale, range }: FigureParts,
  list: NonNullable<ReturnType<Surface['cells']>>,
): string {
  const size = camera.scale;
  return list
    .map(({ query, key, weight }) => {
      const { x, y } = camera.pointOf(key, query);
      const place = positionOf(weight, scale, range);
      if (Number.isNaN(place)) return '';
      const fill = palette[Math.round(place * (palette.length - 1))];
      const [a, b, c, d] = [x, y, size.x, size.y].map((value) => value.toFixed(2));
      return `<rect x="${a}" y="${b}" width="${c}" height="${d}" fill="${fill}"/>`;
    })
    .join('');
}

function bar({ camera: { frame }, palette, scale, range }: FigureParts): Mark[] {
  const height = Math.min(frame.height, 280);
  const x = frame.width + BAR.gap;
  const marks: Mark[] = [];
  for (let i = 0; i < BAR.slices; i++) {
    const fill = palette[Math.round(((i + 0.5) / BAR.slices) * (palette.length - 1))];
    const y = height * (1 - (i + 1) / BAR.slices);
    marks.push({ kind: 'rect', x, y, width: BAR.width, height: height / BAR.slices + 0.5, fill });
  }
  for (const place of [0, 0.25, 0.5, 0.75, 1]) {
    const y = height * (1 - place);
    const text = weightText(valueAt(place, scale, range), 2);
    marks.push({ kind: 'line', x1: x + BAR.width, y1: y, x2: x + BAR.width + 4, y2: y, tone: 'muted' });
    marks.push({ kind: 'text', x: x + BAR.width + 8, y, text, anchor: 'start', tone: 'muted' });
  }
  return marks;
}

/** Gives the reader a file. */
export async function saveFigure(parts: FigureParts, kind: 'png' | 'svg'): Promise<void> {
  const type = 'image/svg+xml';
  const blob = kind === 'png' ? await figurePng(parts) : new Blob([figureSvg(parts)], { type });
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = `attention-map.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
