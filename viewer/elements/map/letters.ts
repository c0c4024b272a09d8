// How wide labels are, in the element's own letters.
import { FONT } from './axes.js';

/** Widths that are remembered. */
const MOST = 20_000;

/** Measures labels in CSS pixels. */
export function measureIn(element: Element): (text: string) => number {
  const context = document.createElement('canvas').getContext('2d')!;
  const widths = new Map<string, number>();
  return (text) => {
    const known = widths.get(text);
    if (known !== undefined) return known;
    if (widths.size >= MOST) widths.clear();
    if (widths.size === 0) context.font = `${FONT}px ${getComputedStyle(element).fontFamily}`;
    const { width } = context.measureText(text);
    widths.set(text, width);
    return width;
  };
}
