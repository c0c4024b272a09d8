// Figures as SVG: text stays text, cells are paths, so a paper's picture is sharp at any size and can be edited. Very many
// cells are a picture inside it, a pixel each.
import { encode } from 'fast-png';
import { base64 } from './base64.js';
import { checkFigure, type Figure } from './figure.js';
import { type DrawnCells, type DrawnText, layOut } from './layout.js';
import { coloursOf, type PaletteName } from './palette.js';
import { harmless } from './width.js';

const FONT =
  "Helvetica, Arial, 'Noto Sans', 'Noto Sans KR', 'Apple SD Gothic Neo', 'Malgun Gothic', sans-serif";

/** Most cells of all panels that are paths: as many take about a megabyte. */
const MOST_PATHS = 2 ** 16;

/** A text that XML may hold, between tags and in quotes. */
export const escapeXml = (text: string): string =>
  harmless(text)
    .replace(
      /[\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
      '\ufffd',
    )
    .replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/**
 * A figure as SVG, a whole file: white ground, labels, a colour bar with its numbers. Colours are those of 256 steps.
 * Cells are paths; where a figure has over 65,536 of them, those of a matrix are one embedded PNG, a pixel each, which is
 * drawn without smoothing. All else stays paths and text.
 * @throws OptionError for a figure that is empty, too large (over MOST_CELLS cells: pool it first) or does not fit.
 */
export function drawSvg(figure: Figure): string {
  const checked = checkFigure('drawSvg', figure);
  const { width, height, texts, panels, bar, lines } = layOut(checked);
  const many = panels.length * checked.rows * checked.columns > MOST_PATHS;
  const name = escapeXml(checked.title || 'heat map');
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${name}">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...panels.map((grid) => (many ? embedCells : drawCells)(grid, checked.palette)),
    drawCells(bar, checked.palette),
    ...lines.map(
      ([x1, y1, x2, y2]) => `<path d="M${round(x1)} ${round(y1)}L${round(x2)} ${round(y2)}" stroke="#222"/>`,
    ),
    `<g font-family="${escapeXml(FONT)}" fill="#222" style="white-space:pre">`,
    ...texts.map(drawText),
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

const round = (x: number): string => String(Math.round(100 * x) / 100);

function drawText({ text, x, y, anchor, size, turn, bold }: DrawnText): string {
  const place = turn
    ? `transform="translate(${round(x)} ${round(y)}) rotate(${turn})"`
    : `x="${round(x)}" y="${round(y)}"`;
  const more = `${anchor === 'start' ? '' : ` text-anchor="${anchor}"`}${bold ? ' font-weight="bold"' : ''}`;
  return `<text ${place} font-size="${size}"${more}>${escapeXml(text)}</text>`;
}

/** A path for each colour; neighbours of one colour are one rectangle. */
function drawCells({ x, y, rows, columns, width, height, levels }: DrawnCells, palette: PaletteName): string {
  const paths = new Map<number, string[]>();
  for (let i = 0; i < rows; i++) {
    for (let j = 0, next = 0; j < columns; j = next) {
      const level = levels[i * columns + j];
      for (next = j + 1; next < columns && levels[i * columns + next] === level; ) next++;
      if (level < 0) continue;
      const path = paths.get(level) ?? [];
      path.push(`M${j} ${i}h${next - j}v1h${j - next}z`);
      paths.set(level, path);
    }
  }
  const colours = coloursOf(palette);
  const hex = (level: number) =>
    colours[level].map((channel) => channel.toString(16).padStart(2, '0')).join('');
  const drawn = [...paths].map(([level, path]) => `<path fill="#${hex(level)}" d="${path.join('')}"/>`);
  const place = `translate(${round(x)} ${round(y)}) scale(${width / columns} ${height / rows})`;
  return `<g transform="${place}" shape-rendering="crispEdges">\n${drawn.join('\n')}\n</g>`;
}

/** All cells as one picture; those without a number are as white as the ground. */
function embedCells(
  { x, y, rows, columns, width, height, levels }: DrawnCells,
  palette: PaletteName,
): string {
  const colours = coloursOf(palette);
  const data = new Uint8Array(3 * rows * columns).fill(255);
  levels.forEach((level, n) => {
    if (level >= 0) data.set(colours[level], 3 * n);
  });
  const file = encode({ width: columns, height: rows, data, channels: 3 });
  const place = `x="${round(x)}" y="${round(y)}" width="${width}" height="${height}" preserveAspectRatio="none"`;
  // Readers that know no `pixelated` know the older name.
  const sharp = 'style="image-rendering:optimizeSpeed;image-rendering:pixelated"';
  return `<image ${place} ${sharp} href="data:image/png;base64,${base64(file)}"/>`;
}
