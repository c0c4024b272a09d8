// Time to load a model and to translate a sentence, and whether many translations leave the engine's memory as it was.
// Usage: node bench/translate.mjs [MODEL, default models/en-fr]  --rounds N (default 25)  --many N (default 1000)
//   --beam N (default 4)  --threads N (default 2)  --json
// The sentence has ten words; its translation must not be empty, and the same each time.
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createEngine } from '../dist/engine/engine.js';
import { loadTranslator } from '../dist/tasks/translate.js';

const SENTENCE = 'My brother wants to buy a small house near here.';
const MANY = [
  'I see it.',
  'Where is the station?',
  SENTENCE,
  'We do not know what he said to her last night.',
];

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '25' },
    many: { type: 'string', default: '1000' },
    beam: { type: 'string', default: '4' },
    threads: { type: 'string', default: '2' },
    json: { type: 'boolean', default: false },
  },
});
const [rounds, many, beam, threads] = ['rounds', 'many', 'beam', 'threads'].map((name) =>
  Number(options[name]),
);
const folder = positionals[0] ?? join(root, 'models/en-fr');
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

const engine = await createEngine({ threads });
const started = performance.now();
const translator = await loadTranslator(folder, { engine });
await engine.finish();
const loadMs = performance.now() - started;

/** Translates, and checks that there is something to time. */
async function timed(expected) {
  const start = performance.now();
  const { text } = await translator.translate(SENTENCE, { beam });
  const ms = performance.now() - start;
  if (text.trim() === '') throw new Error('the translation is empty');
  if (expected !== undefined && text !== expected) throw new Error(`${expected}, then ${text}`);
  return { ms, text };
}

const { ms: firstMs, text } = await timed();
for (let n = 0; n < 10; n++) await timed(text);
const times = [];
for (let n = 0; n < rounds; n++) times.push((await timed(text)).ms);

// Memory grows to what the longest sentence needs, then no more.
for (const sentence of MANY) await translator.translate(sentence, { beam });
const before = { ...engine.memory };
for (let n = 0; n < many; n++) await translator.translate(MANY[n % MANY.length], { beam });
const after = { ...engine.memory };
for (const name of ['inUse', 'tensors', 'reserved']) {
  if (after[name] === before[name]) continue;
  throw new Error(`${many} translations changed the engine's ${name} from ${before[name]} to ${after[name]}`);
}
const result = {
  node: process.version,
  backend: engine.backend,
  threads,
  beam,
  loadMs,
  firstMs,
  medianMs: median(times),
  lowestMs: Math.min(...times),
  highestMs: Math.max(...times),
  rounds,
  translation: text,
  translations: many,
  engineMiB: after.reserved / 2 ** 20,
  peakMemoryMiB: process.resourceUsage().maxRSS / 1024,
};
await engine.dispose();
if (options.json) console.log(JSON.stringify(result));
else {
  const ms = (x) => `${x.toFixed(1)} ms`;
  console.log(`${SENTENCE}\n${text}`);
  console.log(`${result.backend}, ${threads} threads, Node ${result.node}; model loaded in ${ms(loadMs)}`);
  console.log(
    `ten words with beam ${beam}: ${ms(result.medianMs)}, median of ${rounds} ` +
      `(${ms(result.lowestMs)} to ${ms(result.highestMs)}); the first ${ms(firstMs)}`,
  );
  console.log(`${many} translations left the engine's memory at ${result.engineMiB.toFixed(0)} MiB`);
}
