// A model folder made in a moment: a tokenizer of a few sentences, two small layers, trained until it knows them by heart.
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tape } from '../../dist/autograd/tape.js';
import { createEngine } from '../../dist/engine/engine.js';
import { modelFiles } from '../../dist/models/files.js';
import { Seq2Seq } from '../../dist/models/seq2seq.js';
import { Random } from '../../dist/nn/random.js';
import { encodePairs } from '../../dist/tasks/encode-pairs.js';
import { END, loadTokenizer, START, trainBpe } from '../../dist/text/index.js';
import { Adam, packBatch } from '../../dist/train/index.js';

export const SENTENCES = [
  'I see the red house.',
  'You see a small cat.',
  'Who is taking responsibility for the loss?',
  "I don't see it.",
];
/** Their translations, which the model gives. */
export const FRENCH = [
  'Je vois la maison rouge.',
  'Tu vois un petit chat.',
  'Qui prend la responsabilité de la perte ?',
  'Je ne le vois pas.',
];

/** Writes the folder; returns its path. */
export async function makeTinyModel(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'fovea-tiny-'));
  const tokenizer = trainBpe([...SENTENCES, ...FRENCH], { vocabularySize: 400, minimumCharacterCount: 1 });
  const vocabulary = Object.keys(tokenizer.model.vocab).length;
  const config = {
    vocabulary,
    width: 32,
    heads: 4,
    feedForward: 64,
    encoderLayers: 2,
    decoderLayers: 2,
    activation: 'relu' as const,
    normEps: 1e-5,
    maximumLength: 64,
    pad: 0,
    start: 1,
    end: 2,
    task: 'translation',
    source: 'English',
    target: 'French',
  };
  const engine = await createEngine({ threads: 1 });
  try {
    const model = new Seq2Seq(engine, config, { random: new Random(7) });
    const { pairs } = encodePairs(
      SENTENCES.map((sentence, i): [string, string] => [sentence, FRENCH[i]]),
      loadTokenizer(tokenizer),
      64,
    );
    const batch = packBatch(pairs, [0, 1, 2, 3], START, END);
    const adam = new Adam(model.parameters());
    const squared = engine.zeros([1]);
    for (let step = 1; step <= 120; step++)
      engine.scope(() => {
        const tape = new Tape(engine);
        const { loss, tokens } = model.loss(tape, batch, 0);
        tape.backward(loss);
        adam.step(step, 4e-3, 1 / tokens, squared);
      });
    for (const [name, bytes] of await modelFiles(model, config, 'float16'))
      await writeFile(join(folder, name), bytes);
    await writeFile(join(folder, 'tokenizer.json'), JSON.stringify(tokenizer));
  } finally {
    await engine.dispose();
  }
  return folder;
}
