// Curves between two lists of words, one for each weight worth drawing: the wider and denser, the greater.
import type { WordPlace } from './words.js';

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** What is drawn at least, with no word chosen and with one. */
const LEAST = { all: 0.04, own: 0.01 };
/** Opacity of the faintest: those of a chosen word are told from the ground by a contrast of 3. */
const FAINTEST = { all: 0.18, own: 0.62 };
/** Most curves at once. */
const MOST = 600;

/**
 * SVG elements, the faintest first. Boxes are those of the words, in the picture's units; keys stand above, or `beside` to
 * the left.
 */
export function arcsBetween(
  queries: readonly Box[],
  keys: readonly Box[],
  weight: (query: number, key: number) => number,
  active: WordPlace | undefined,
  beside: boolean,
): SVGElement[] {
  const found: { query: number; key: number; share: number }[] = [];
  queries.forEach((_, query) => {
    keys.forEach((_, key) => {
      const own = active && (active.side === 'query' ? active.index === query : active.index === key);
      const share = weight(query, key);
      if (active ? own && share >= LEAST.own : share >= LEAST.all) found.push({ query, key, share });
    });
  });
  found.sort((a, b) => a.share - b.share);
  const path = beside ? across : down;
  const faintest = active ? FAINTEST.own : FAINTEST.all;
  return found
    .slice(-MOST)
    .map(({ query, key, share }) => curve(path(keys[key], queries[query]), share, faintest));
}

const down = (from: Box, to: Box): string => {
  const [x1, y1] = [from.x + from.width / 2, from.y + from.height];
  const [x2, y2] = [to.x + to.width / 2, to.y];
  const bend = (y2 - y1) / 2;
  return `M ${at(x1, y1)} C ${at(x1, y1 + bend, x2, y2 - bend, x2, y2)}`;
};

const across = (from: Box, to: Box): string => {
  const [x1, y1] = [from.x + from.width, from.y + from.height / 2];
  const [x2, y2] = [to.x, to.y + to.height / 2];
  const bend = (x2 - x1) / 2;
  return `M ${at(x1, y1)} C ${at(x1 + bend, y1, x2 - bend, y2, x2, y2)}`;
};

const at = (...numbers: number[]) => numbers.map((n) => n.toFixed(1)).join(' ');

function curve(path: string, share: number, faintest: number): SVGPathElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  made.setAttribute('d', path);
  made.setAttribute('stroke-width', (0.75 + 4.25 * share).toFixed(2));
  made.setAttribute('stroke-opacity', (faintest + (0.92 - faintest) * share).toFixed(3));
  return made;
}
