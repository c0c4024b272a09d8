// Draws the documents' pictures of one translation of the shipped model: docs/attention.svg, its words, and
// docs/heads.svg, all heads of all layers. Usage: node scripts/picture.mjs "Sentence."
import { renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createEngine } from '../dist/engine/engine.js';
import { alignWords, crossWeights, drawSvg } from '../dist/inspect/index.js';
import { loadTranslator } from '../dist/tasks/translate.js';

const sentence = process.argv[2] ?? 'Who is taking responsibility for the loss?';

function write(name, svg) {
  const file = fileURLToPath(new URL(`../docs/${name}`, import.meta.url));
  writeFileSync(`${file}.tmp`, svg);
  renameSync(`${file}.tmp`, file);
}

const engine = await createEngine();
const model = fileURLToPath(new URL('../models/en-fr', import.meta.url));
const translator = await loadTranslator(model, { engine });
const translation = await translator.translate(sentence);
const attention = await translation.attention();
/** Words and weights of one layer and head, or of means. */
const read = (selection) =>
  alignWords(translation.source, translation.target, crossWeights(attention, selection));

const { sourceWords, targetWords, matrix } = read({});
const sides = { rows: targetWords, columns: sourceWords };
const title = 'Cross-attention, mean of all layers and heads';
write(
  'attention.svg',
  drawSvg({ ...sides, title, values: matrix.values, rowAxis: 'translation', columnAxis: 'sentence' }),
);
const heads = Array.from({ length: attention.layers * attention.heads }, (_, n) => ({
  layer: Math.floor(n / attention.heads),
  head: n % attention.heads,
}));
const panels = heads.map(({ layer, head }) => ({
  title: `layer ${layer}, head ${head}`,
  values: read({ layer, head }).matrix.values,
}));
write('heads.svg', drawSvg({ ...sides, panels, across: attention.heads, range: [0, 1] }));
console.log(translation.text);
await engine.dispose();
