// Draws docs/attention.svg, the README's picture: one translation of the shipped model against its sentence.
// Usage: node scripts/picture.mjs "Sentence."
import { renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createEngine } from '../dist/engine/engine.js';
import { alignWords, crossWeights, viridis } from '../dist/inspect/index.js';
import { loadTranslator } from '../dist/tasks/translate.js';

const CELL = 44;
const LEFT = 130;
const TOP = 110;
const sentence = process.argv[2] ?? 'Who is taking responsibility for the loss?';

const quoted = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const hex = ([r, g, b]) => `#${[r, g, b].map((x) => Math.round(x).toString(16).padStart(2, '0')).join('')}`;

function svg({ sourceWords, targetWords, matrix }, model) {
  const columns = sourceWords.length;
  const width = LEFT + columns * CELL + 20;
  const height = TOP + targetWords.length * CELL + 46;
  const cells = targetWords.flatMap((row, i) =>
    sourceWords.map((column, j) => {
      const weight = matrix.values[i * columns + j];
      const place = `x="${LEFT + j * CELL}" y="${TOP + i * CELL}" width="${CELL - 2}" height="${CELL - 2}"`;
      const title = `<title>${quoted(row)} looked at ${quoted(column)}: ${weight.toFixed(3)}</title>`;
      return `<rect ${place} rx="3" fill="${hex(viridis(Math.min(1, weight)))}">${title}</rect>`;
    }),
  );
  const rows = targetWords.map(
    (word, i) => `<text x="${LEFT - 10}" y="${TOP + i * CELL + 26}" text-anchor="end">${quoted(word)}</text>`,
  );
  const heads = sourceWords.map((word, j) => {
    const x = LEFT + j * CELL + 24;
    return `<text transform="translate(${x} ${TOP - 10}) rotate(-45)">${quoted(word)}</text>`;
  });
  const note = `<text x="${LEFT}" y="${height - 16}" font-size="12" opacity="0.7">mean of the decoder's cross-attention, ${model}</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<rect width="100%" height="100%" rx="10" fill="#1b1b22"/>
<g font-family="ui-sans-serif, system-ui, sans-serif" font-size="15" fill="#e8e8ee">
${[...heads, ...rows, note].join('\n')}
</g>
${cells.join('\n')}
</svg>
`;
}

const engine = await createEngine();
const translator = await loadTranslator(fileURLToPath(new URL('../models/en-fr', import.meta.url)), {
  engine,
});
const translation = await translator.translate(sentence);
const weights = crossWeights(await translation.attention(), {});
const picture = svg(alignWords(translation.source, translation.target, weights), 'models/en-fr');
const file = fileURLToPath(new URL('../docs/attention.svg', import.meta.url));
writeFileSync(`${file}.tmp`, picture);
renameSync(`${file}.tmp`, file);
console.log(translation.text);
await engine.dispose();
