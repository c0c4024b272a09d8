// Attention as one HTML file that opens from disk: no network, no engine. Weights are in it, in steps of 1/65535.
import type { Watch } from '../map/progress.js';
import { type TokenText, Trace, type TraceEntry } from '../map/trace.js';
import { LimitError, OptionError } from '../tensor/errors.js';
import { base64 } from './base64.js';
import { checkFigure, type Figure } from './figure.js';
import type { PageData, PageMap, Sheet, Side } from './page/data.js';
import { script, style } from './page-source.js';
import { type HeadSummary, headSummary } from './summary.js';
import { escapeXml } from './svg.js';

export interface HtmlOptions extends Watch {
  /** Default: what the first trace's model is, or the figure's title. */
  readonly title?: string;
  /** Layer and head shown first, from 0; what is left out is averaged over. */
  readonly layer?: number;
  readonly head?: number;
}

/** Most weights in one file: 16 bits each, and a third more in base64. */
export const MOST_WEIGHTS = 2 ** 24;

/**
 * One self-contained HTML file: the attention of a translation, or of several, in all layers and heads, with words that
 * show what they look at; or the panels of a figure. In Korean or English, light or dark, usable by keyboard.
 * Rejects with LimitError beyond MOST_WEIGHTS weights, OptionError for nothing to show, and with the signal's reason.
 */
export async function drawHtml(
  what: Trace | readonly Trace[] | Figure,
  { title, layer, head, signal, onProgress }: HtmlOptions = {},
): Promise<string> {
  const traces =
    what instanceof Trace ? [what] : Array.isArray(what) ? (what as readonly Trace[]) : undefined;
  if (traces === undefined) return page(figureData(what as Figure, title));
  const entries = traces.flatMap((trace) => trace.entries);
  const weights = entries.reduce((sum, entry) => sum + sizeOf(entry), 0);
  if (weights === 0)
    throw new OptionError(
      'drawHtml: expected a trace with at least one attention that has weights, got none',
    );
  checkSize(weights);
  const sheets: Sheet[] = [];
  let done = 0;
  for (const [n, trace] of traces.entries()) {
    const maps: PageMap[] = [];
    for (const entry of trace.entries) {
      const size = sizeOf(entry);
      const told = (fraction: number) => onProgress?.((done + fraction * size) / weights);
      if (size > 0) maps.push(await mapOf(trace, entry, { signal, onProgress: told }));
      done += size;
    }
    if (maps.length > 0) sheets.push({ title: trace.texts.source?.text ?? `${n + 1}`, maps });
  }
  const [first] = traces;
  const named = title ?? ((traces.length === 1 && first.texts.output?.text) || first.model || 'Attention');
  return page({ title: named, sheets, open: { layer, head } });
}

const sizeOf = ({ shape: [H, Lq, Lk] }: TraceEntry): number => H * Lq * Lk;

async function mapOf(trace: Trace, entry: TraceEntry, { signal, onProgress }: Watch): Promise<PageMap> {
  const [H, Lq, Lk] = entry.shape;
  const map = await entry.map({ signal });
  const heads: ArrayLike<number>[] = [];
  for (let head = 0; head < H; head++) {
    heads.push((await map.tile({ head, signal })).data as Float32Array);
    onProgress?.((head + 1) / H / 2);
  }
  const summary = await headSummary(map, {
    signal,
    onProgress: (fraction) => onProgress?.((1 + fraction) / 2),
  });
  return {
    name: entry.name,
    rows: side(trace, entry.predicts ?? entry.queries, Lq),
    columns: side(trace, entry.keys, Lk),
    heads: heads.map((_, h) => String(h)),
    ...encode(heads, 0, 1),
    summary: summary.map(rounded),
  };
}

function side({ texts }: Trace, name: string | undefined, length: number): Side {
  const text: TokenText | undefined = name === undefined ? undefined : texts[name];
  if (text === undefined) return { name: '', tokens: Array.from({ length }, (_, n) => String(n)) };
  const { tokens, words, wordSpans } = text;
  const spelled = wordSpans?.map(([start, end]) => text.text.slice(start, end));
  return { name: name!, tokens: [...tokens], words: words && [...words], spelled };
}

function figureData(figure: Figure, title?: string): PageData {
  const { panels, rows, columns, rowLabels, columnLabels, rowAxis, columnAxis, ...checked } = checkFigure(
    'drawHtml',
    figure,
  );
  checkSize(panels.length * rows * columns);
  const labels = (given: readonly string[] | undefined, count: number) =>
    given ? [...given] : Array.from({ length: count }, (_, n) => String(n));
  const numbers = panels.flatMap(({ values }) => Array.from(values).filter(Number.isFinite));
  const [low, high] = numbers.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [0, 0]);
  const map: PageMap = {
    name: checked.title,
    rows: { name: rowAxis, tokens: labels(rowLabels, rows) },
    columns: { name: columnAxis, tokens: labels(columnLabels, columns) },
    heads: panels.map((panel, n) => panel.title ?? String(n)),
    ...encode(
      panels.map(({ values }) => values),
      low,
      high > low ? high : low + 1,
    ),
  };
  return { title: title ?? (checked.title || 'Heat map'), sheets: [{ title: checked.title, maps: [map] }] };
}

function checkSize(weights: number): void {
  if (weights > MOST_WEIGHTS)
    throw new LimitError(
      `drawHtml: ${weights} weights, at most ${MOST_WEIGHTS} go into one file; draw fewer sentences`,
    );
}

/** base64 of uint16, little-endian. */
function encode(parts: readonly ArrayLike<number>[], low: number, high: number) {
  const bytes = new Uint8Array(2 * parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    for (let n = 0; n < part.length; n++, at += 2) {
      const level = Math.round((65535 * ((part[n] || 0) - low)) / (high - low));
      const bounded = Math.min(65535, Math.max(0, level));
      bytes[at] = bounded & 255;
      bytes[at + 1] = bounded >> 8;
    }
  }
  return { weights: base64(bytes), low, high };
}

/** As many digits as are shown; NaN and ∞, which JSON has no words for, are left out. */
const rounded = (numbers: HeadSummary): Partial<HeadSummary> =>
  Object.fromEntries(
    Object.entries(numbers)
      .filter(([, x]) => Number.isFinite(x))
      .map(([name, x]) => [name, Number(Number(x).toPrecision(5))]),
  );

/** Nothing is loaded from anywhere, whatever a sentence holds: the policy forbids it. */
const POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";

function page(data: PageData): string {
  // JSON in a script element: nothing in it may look like a tag.
  const json = JSON.stringify(data).replace(/</g, '\\u003c');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${escapeXml(data.title)}</title>
<style>${style}</style>
</head>
<body>
<script type="application/json" id="data">${json}</script>
<script>${script}</script>
</body>
</html>
`;
}
