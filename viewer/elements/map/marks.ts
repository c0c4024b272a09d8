// What is drawn around and over tiles, once as data: an element, an SVG file and a canvas each draw it their own way.
import { type SVGTemplateResult, svg } from 'lit';
import { FONT } from './axes.js';

export type Tone = 'ink' | 'muted' | 'accent';

export type Mark =
  | {
      readonly kind: 'text';
      readonly x: number;
      /** The middle of the line. */
      readonly y: number;
      readonly text: string;
      readonly anchor: 'start' | 'middle' | 'end';
      readonly tone: Tone;
      readonly strong?: boolean;
      /** Degrees, around (x, y). */
      readonly turn?: number;
    }
  | {
      readonly kind: 'line';
      readonly x1: number;
      readonly y1: number;
      readonly x2: number;
      readonly y2: number;
      readonly tone: Tone;
    }
  | {
      readonly kind: 'rect';
      readonly x: number;
      readonly y: number;
      readonly width: number;
      readonly height: number;
      readonly fill?: string;
      readonly tone?: Tone;
    };

/** Colours of the tones, and the letters, as the element has them. */
export interface Ink {
  readonly colours: Readonly<Record<Tone, string>>;
  readonly background: string;
  readonly font: string;
}

/** From the middle of a line to where letters stand. */
const BASE = FONT * 0.35;

export function markTemplate(mark: Mark): SVGTemplateResult {
  if (mark.kind === 'line') {
    const { x1, y1, x2, y2, tone } = mark;
    return svg`<line x1=${x1} y1=${y1} x2=${x2} y2=${y2} class="stroke-${tone}" />`;
  }
  if (mark.kind === 'rect') {
    const { x, y, width, height, fill = 'none', tone } = mark;
    const stroke = tone ? `stroke-${tone}` : '';
    return svg`<rect x=${x} y=${y} width=${width} height=${height} fill=${fill} class=${stroke} />`;
  }
  const { x, y, text, anchor, tone, strong, turn = 0 } = mark;
  const place = `translate(${round(x)} ${round(y)})${turn ? ` rotate(${turn})` : ''}`;
  return svg`<text transform=${place} y=${BASE} text-anchor=${anchor} class="fill-${tone}${strong ? ' strong' : ''}">${text}</text>`;
}

export function markSvg(mark: Mark, ink: Ink): string {
  if (mark.kind === 'line') {
    const { x1, y1, x2, y2, tone } = mark;
    const place = [x1, y1, x2, y2].map(round);
    return `<path d="M${place[0]} ${place[1]}L${place[2]} ${place[3]}" stroke="${ink.colours[tone]}"/>`;
  }
  if (mark.kind === 'rect') {
    const { x, y, width, height, fill = 'none', tone } = mark;
    const [a, b, c, d] = [x, y, width, height].map(round);
    const stroke = tone ? ` stroke="${ink.colours[tone]}"` : '';
    return `<rect x="${a}" y="${b}" width="${c}" height="${d}" fill="${fill}"${stroke}/>`;
  }
  const { x, y, text, anchor, tone, strong, turn = 0 } = mark;
  const place = `translate(${round(x)} ${round(y)})${turn ? ` rotate(${turn})` : ''}`;
  const weight = strong ? ' font-weight="600"' : '';
  return (
    `<text transform="${place}" y="${round(BASE)}" text-anchor="${anchor}"${weight} ` +
    `fill="${ink.colours[tone]}">${escaped(text)}</text>`
  );
}

export function markCanvas(mark: Mark, context: CanvasRenderingContext2D, ink: Ink): void {
  context.save();
  if (mark.kind === 'line') {
    context.strokeStyle = ink.colours[mark.tone];
    context.beginPath();
    context.moveTo(mark.x1, mark.y1);
    context.lineTo(mark.x2, mark.y2);
    context.stroke();
  } else if (mark.kind === 'rect') {
    if (mark.fill) {
      context.fillStyle = mark.fill;
      context.fillRect(mark.x, mark.y, mark.width, mark.height);
    }
    if (mark.tone) {
      context.strokeStyle = ink.colours[mark.tone];
      context.strokeRect(mark.x, mark.y, mark.width, mark.height);
    }
  } else {
    context.translate(mark.x, mark.y);
    context.rotate(((mark.turn ?? 0) * Math.PI) / 180);
    context.font = `${mark.strong ? '600 ' : ''}${FONT}px ${ink.font}`;
    context.fillStyle = ink.colours[mark.tone];
    context.textAlign = mark.anchor === 'middle' ? 'center' : mark.anchor;
    context.fillText(mark.text, 0, BASE);
  }
  context.restore();
}

export function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const round = (x: number) => Math.round(x * 100) / 100;
