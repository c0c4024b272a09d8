// A long text as a trace of one head: topics of words that are alike, and one passage that comes again and again. Tokens of
// one word have one query and key, so that any row of the weights is known in float64 from the words alone.
import { createWriteStream } from 'node:fs';
import { seeded } from './measure.mjs';

const [D, PIECE] = [64, 16384];
const [TOPICS, WORDS, TOPIC, PASSAGE] = [64, 64, 3000, 400];

/** The text of N tokens: always the same. */
export function millionText(N) {
  const random = seeded(7);
  const draw = (n) => Math.floor(((random() + 1) / 2) * n);
  const centres = Float32Array.from({ length: TOPICS * D }, random);
  const lexicon = Float32Array.from({ length: TOPICS * WORDS * D }, (_, n) => {
    const topic = Math.floor(n / (WORDS * D));
    return 1.2 * centres[topic * D + (n % D)] + 1.2 * random();
  });
  const passage = Int32Array.from({ length: PASSAGE }, () => draw(TOPICS * WORDS));
  const text = new Int32Array(N);
  for (let from = 0; from < N; from += TOPIC) {
    const topic = draw(TOPICS);
    const repeats = draw(4) === 0;
    for (let i = from; i < Math.min(N, from + TOPIC); i++) {
      text[i] = repeats && i - from < PASSAGE ? passage[i - from] : topic * WORDS + draw(WORDS);
    }
  }
  const counts = new Float64Array(TOPICS * WORDS);
  for (const word of text) counts[word]++;

  /** Of a word's query: its score with each word, and the logSumExp of its row. */
  function scoresOf(word) {
    const scores = new Float64Array(TOPICS * WORDS);
    for (let other = 0; other < scores.length; other++) {
      for (let d = 0; d < D; d++) scores[other] += lexicon[word * D + d] * lexicon[other * D + d];
      scores[other] /= Math.sqrt(D);
    }
    const top = Math.max(...scores);
    const sum = scores.reduce((total, s, other) => total + counts[other] * Math.exp(s - top), 0);
    return { scores, logSumExp: top + Math.log(sum) };
  }

  /** The weight of a cell. */
  function weightOf(query, key) {
    const { scores, logSumExp } = scoresOf(text[query]);
    return Math.exp(scores[text[key]] - logSumExp);
  }

  return { N, D, lexicon, text, scoresOf, weightOf };
}

/** Writes the trace's file, some rows at a time; `known`: with logSumExp. Its one entry is `a`. */
export async function writeTrace(path, { N, lexicon, text, scoresOf }, known) {
  const size = N * D * 4;
  const tensors = { 'a.q': ['F32', [1, N, D], size], 'a.k': ['F32', [1, N, D], size] };
  if (known) tensors['a.logSumExp'] = ['F64', [1, N], N * 8];
  const trace = JSON.stringify({ format: 'fovea-trace', version: 1, entries: [{ name: 'a' }] });
  const header = { __metadata__: { fovea: trace } };
  let at = 0;
  for (const [name, [dtype, shape, bytes]] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes] };
    at += bytes;
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  const file = createWriteStream(path);
  const write = (bytes) =>
    new Promise((done) => {
      if (file.write(bytes)) done();
      else file.once('drain', done);
    });
  await write(Buffer.concat([length, json]));
  for (let part = 0; part < 2; part++) {
    for (let from = 0; from < N; from += PIECE) {
      const rows = new Float32Array(Math.min(PIECE, N - from) * D);
      for (let r = 0; r < rows.length / D; r++) {
        rows.set(lexicon.subarray(text[from + r] * D, (text[from + r] + 1) * D), r * D);
      }
      await write(new Uint8Array(rows.buffer));
    }
  }
  if (known) {
    const each = Float64Array.from({ length: TOPICS * WORDS }, (_, word) => scoresOf(word).logSumExp);
    await write(new Uint8Array(Float64Array.from(text, (word) => each[word]).buffer));
  }
  await new Promise((done) => file.end(done));
}
