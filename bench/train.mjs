// Tokens/s of training, source and target, marks included, padding not: the yardstick's configuration on its own data.
// Usage: node bench/train.mjs  --rounds N (default 9)  --steps N (a round, default 10)  --threads N (default 2)
//   --warmup N (steps, default 20)  --config FILE (default configs/yardstick.json)  --tokenizer FILE  --json
// First the first step's loss is held against what equal chances give: a model that computes nonsense is not timed.
// The yardstick is PyTorch 2.13 with 2 threads: 8,180 tokens/s. Memory is the process's peak, in MiB.
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createEngine } from '../dist/engine/engine.js';
import { Seq2Seq } from '../dist/models/seq2seq.js';
import { Random } from '../dist/nn/index.js';
import { encodePairs } from '../dist/tasks/encode-pairs.js';
import { allPairs, parseParallelText } from '../dist/tasks/parallel-text.js';
import { parseTrainConfig } from '../dist/tasks/train-config.js';
import { END, loadTokenizer, PAD, START, trainBpe } from '../dist/text/index.js';
import { Adam, packBatch, planEpoch, Trainer } from '../dist/train/index.js';

const YARDSTICK = 8180;
const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    steps: { type: 'string', default: '10' },
    threads: { type: 'string', default: '2' },
    warmup: { type: 'string', default: '20' },
    config: { type: 'string', default: join(root, 'configs/yardstick.json') },
    tokenizer: { type: 'string' },
    json: { type: 'boolean', default: false },
  },
});
const [rounds, steps, threads, warmup] = ['rounds', 'steps', 'threads', 'warmup'].map((name) =>
  Number(options[name]),
);
const say = (text) => process.stderr.write(`${text}\n`);
const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];

const path = resolve(options.config);
const config = parseTrainConfig(await readFile(path, 'utf8'));
const text = allPairs(
  parseParallelText(config.data.train, await readFile(resolve(dirname(path), config.data.train))),
);
if (!options.tokenizer) say(`training a tokenizer of ${config.tokenizer.vocabulary} tokens`);
const tokenizer = loadTokenizer(
  options.tokenizer
    ? await readFile(options.tokenizer, 'utf8')
    : trainBpe(text.flat(), {
        vocabularySize: config.tokenizer.vocabulary,
        pattern: config.tokenizer.pattern,
      }),
);
const { pairs } = encodePairs(text, tokenizer, config.model.maximumLength);
const engine = await createEngine({ threads });
const vocabulary = tokenizer.vocabularySize;
const shape = { ...config.model, vocabulary, pad: PAD, start: START, end: END };
const model = new Seq2Seq(engine, shape, { random: new Random(config.seed), dropout: config.dropout });
const adam = new Adam(model.parameters(), config.optimizer);

// The very loop that `fovea train` runs, without files: an event a step, its time read here.
const times = [];
const losses = [];
const plan = planEpoch(pairs, { ...config.batch, seed: config.seed }, 0).slice(0, warmup + rounds * steps);
if (plan.length < warmup + rounds * steps)
  throw new Error('more steps than an epoch has: fewer rounds, please');
let counted = 0;
const trainer = new Trainer({
  engine,
  adam,
  schedule: config.schedule,
  epochs: 1,
  seed: config.seed,
  plan: () => plan,
  pack: (members) => {
    const batch = packBatch(pairs, members, START, END);
    counted = batch.source.length + batch.targetOut.length;
    return batch;
  },
  loss: (tape, batch) => model.loss(tape, batch, config.labelSmoothing),
  logEvery: 1,
  onEvent: (event) => {
    if (event.type !== 'step') return;
    losses.push(event.plain);
    if (losses.length === 1) checkFirst(event.plain);
    times.push({ at: performance.now(), tokens: counted });
  },
});

/** Logits of unit-variance outputs times a table of deviation width^-1/2 have variance 1: ln V + 1/2 nats. */
function checkFirst(loss) {
  const expected = Math.log(vocabulary) + 0.5;
  if (Math.abs(loss - expected) > 0.5) {
    throw new Error(`the first step's loss is ${loss}, expected ${expected.toFixed(2)} within 0.5`);
  }
}

await trainer.run();
// The rate rises slowly: a few steps change little.
if (losses.length >= 50 && !(losses.at(-1) < losses[0]))
  throw new Error(`the loss did not fall: ${losses[0]} to ${losses.at(-1)}`);

const rates = [];
for (let round = 0; round < rounds; round++) {
  const first = warmup + round * steps - 1;
  const part = times.slice(first + 1, first + 1 + steps);
  const seconds = (part.at(-1).at - times[first].at) / 1000;
  rates.push(part.reduce((sum, { tokens }) => sum + tokens, 0) / seconds);
}
const result = {
  node: process.version,
  backend: engine.backend,
  threads,
  parameters: model.parameterCount,
  firstLoss: losses[0],
  lastLoss: losses.at(-1),
  tokensPerStep: Math.round(times.reduce((sum, { tokens }) => sum + tokens, 0) / times.length),
  tokensPerSecond: median(rates),
  lowest: Math.min(...rates),
  highest: Math.max(...rates),
  rounds,
  ofYardstick: median(rates) / YARDSTICK,
  peakMemoryMiB: process.resourceUsage().maxRSS / 1024,
  engineMiB: engine.memory.reserved / 2 ** 20,
};
await engine.dispose();
if (options.json) console.log(JSON.stringify(result));
else {
  const whole = (x) => Math.round(x).toLocaleString('en');
  console.log(
    `${result.backend}, ${threads} threads, Node ${result.node}, ${whole(result.parameters)} parameters`,
  );
  console.log(
    `loss of the first step ${result.firstLoss.toFixed(3)}, of the last ${result.lastLoss.toFixed(3)}`,
  );
  console.log(
    `${whole(result.tokensPerSecond)} tokens/s, median of ${rounds} rounds of ${steps} steps ` +
      `(${whole(result.lowest)} to ${whole(result.highest)}); ` +
      `${(100 * result.ofYardstick).toFixed(0)}% of the yardstick's ${whole(YARDSTICK)}`,
  );
  console.log(
    `peak memory ${whole(result.peakMemoryMiB)} MiB, of which the engine's ${whole(result.engineMiB)} MiB`,
  );
}
