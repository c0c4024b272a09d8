// Translation of sentences, and where the model looked. A sentence is cleaned, encoded, decoded by beam search over
// several sentences at once; attention is recomputed on demand for the translation found, in every layer and head.
import { openFolder } from '#folder';
import { defaultEngine } from '../engine/engine.js';
import type { Engine } from '../engine/types.js';
import { createTrace, type Trace } from '../map/trace.js';
import { type FileReader, type LoadedModel, loadModel } from '../models/files.js';
import type { CrossAttention } from '../models/seq2seq.js';
import { traceSeq2Seq } from '../models/trace.js';
import { LimitError, OptionError } from '../tensor/errors.js';
import { cleanSentence, type Encoding, UNKNOWN } from '../text/index.js';
import { beamSearch, checkBeam } from './beam.js';

export interface TranslateOptions {
  /** Hypotheses kept; 1 is greedy decoding. Default 4. */
  beam?: number;
  /** Hypotheses compare by log-probability / length^penalty. Default 1, their mean per token. */
  lengthPenalty?: number;
  /** Most tokens of a translation. Default: twice the source's and 10 more. */
  maximumLength?: number;
}

export interface StreamOptions extends TranslateOptions {
  /** Most sentences decoded together: more is faster on the whole and later for the first. Default 16. */
  together?: number;
}

/** One sentence's translation. */
export interface Translation {
  text: string;
  /** The sentence as it was read (see cleanSentence): tokens, their places, words; without the end mark. */
  source: Encoding;
  /** The translation: tokens, their places, words; without the end mark. */
  target: Encoding;
  /** log-probability / length^penalty: comparable between translations of one sentence. */
  score: number;
  /** Natural logarithm of the translation's probability, its end mark included. */
  logProbability: number;
  /** False if it was cut at its longest length. */
  ended: boolean;
  /** Cross-attention in every layer and head: weights of row t led to target token t, the last row to the end mark;
   * columns are source tokens and, last, their end mark. Computed at the first call; not after `dispose()`. */
  attention(): Promise<CrossAttention>;
  /** All attention of encoder and decoder by name, with the tokens it stands on: texts `source` (end mark last),
   * `target` (start mark first: a query's own token) and `output` (end mark last: the token it led to). A new trace
   * at each call, which the caller disposes; not after the translator's `dispose()`. */
  trace(): Promise<Trace>;
}

/** Loads a translation model from its folder: under Node a path, in a browser an address, or a function that gives
 * the folder's files by name.
 * @throws FileFormatError naming the file that is missing or wrong. */
export async function loadTranslator(
  model: string | URL | FileReader,
  options: { engine?: Engine } = {},
): Promise<Translator> {
  const read = typeof model === 'function' ? model : openFolder(model);
  return new Translator(await loadModel(options.engine ?? (await defaultEngine()), read));
}

/** Most source tokens decoded together. */
const TOGETHER_TOKENS = 1024;

export class Translator {
  readonly loaded: LoadedModel;

  /** Takes the model over. */
  constructor(loaded: LoadedModel) {
    this.loaded = loaded;
  }

  /** Translates one sentence or several, in order.
   * @throws OptionError for an option out of range or a blank sentence, LimitError for one too long for the model. */
  translate(text: string, options?: StreamOptions): Promise<Translation>;
  translate(texts: readonly string[], options?: StreamOptions): Promise<Translation[]>;
  async translate(
    text: string | readonly string[],
    options: StreamOptions = {},
  ): Promise<Translation | Translation[]> {
    const texts = typeof text === 'string' ? [text] : text;
    const encoded = texts.map((sentence, i) =>
      this.encode(sentence, texts.length > 1 ? `sentence ${i + 1}` : 'the sentence'),
    );
    const results: Translation[] = [];
    for (const group of groups(encoded, options.together))
      results.push(...(await this.decode(group, options)));
    return typeof text === 'string' ? results[0] : results;
  }

  /** Translates as results are asked for, in order; the first comes after one sentence's time, and none waits for a
   * sentence that is not there yet. Throws as `translate`, at the sentence that is wrong, after the translations of
   * those before it. */
  async *stream(
    texts: Iterable<string> | AsyncIterable<string>,
    options: StreamOptions = {},
  ): AsyncGenerator<Translation, void, undefined> {
    const { together = 16 } = options;
    checkTogether(together);
    let group: Encoding[] = [];
    let tokens = 0;
    let room = 1;
    let number = 0;
    const flush = async () => {
      const done = await this.decode(group, options);
      group = [];
      tokens = 0;
      room = Math.min(together, 2 * room);
      return done;
    };
    const input = new Input(texts);
    try {
      for (;;) {
        if (group.length > 0 && !(await input.soon())) yield* await flush();
        let encoding: Encoding;
        try {
          const step = await input.next();
          if (step.done) break;
          encoding = this.encode(step.value, `sentence ${++number}`);
        } catch (error) {
          if (group.length > 0) yield* await flush();
          throw error;
        }
        if (group.length > 0 && tokens + encoding.ids.length > TOGETHER_TOKENS) yield* await flush();
        group.push(encoding);
        tokens += encoding.ids.length;
        if (group.length >= room) yield* await flush();
      }
      if (group.length > 0) yield* await flush();
    } finally {
      await input.close();
    }
  }

  /** A sentence as the model reads it. */
  encode(text: string, name = 'the sentence'): Encoding {
    if (typeof text !== 'string')
      throw new OptionError(`translate: ${name} is not a string, got ${typeof text}`);
    const { tokenizer, config } = this.loaded;
    const clean = cleanSentence(text);
    if (clean === '') throw new OptionError(`translate: ${name} is blank`);
    const check = (length: number, about: string) => {
      if (length + 1 > config.maximumLength)
        throw new LimitError(
          `translate: ${name} has ${about}${length} tokens, the model takes ${config.maximumLength - 1}: ` +
            'cut it into sentences',
        );
    };
    // A hopeless text is not cut into tokens first: a long one without spaces takes minutes.
    check(Math.ceil(clean.length / tokenizer.longestToken), 'at least ');
    const encoding = tokenizer.encode(clean);
    check(encoding.ids.length, '');
    return encoding;
  }

  /** Translates encoded sentences together. */
  private async decode(sources: readonly Encoding[], options: TranslateOptions): Promise<Translation[]> {
    const { beam = 4, lengthPenalty = 1, maximumLength } = options;
    const { model, config } = this.loaded;
    if (maximumLength !== undefined && !(Number.isInteger(maximumLength) && maximumLength >= 1))
      throw new OptionError(`translate: maximumLength must be a whole number from 1, got ${maximumLength}`);
    const ids = sources.map((source) => Int32Array.of(...source.ids, config.end));
    const limits = ids.map(({ length }) =>
      Math.min(maximumLength ?? 2 * length + 10, config.maximumLength - 1),
    );
    checkBeam(beam, lengthPenalty);
    const steps = model.startDecoding(ids, beam, Math.max(...limits));
    try {
      const { start, end, pad } = config;
      const banned = [pad, start, UNKNOWN].filter((id) => id !== end);
      const found = await beamSearch(steps, { beam, lengthPenalty, limits, start, end, banned });
      return found.map(([best], i) => this.result(sources[i], ids[i], best));
    } finally {
      steps.dispose();
    }
  }

  private result(
    source: Encoding,
    sourceIds: Int32Array,
    { ids, ...scores }: { ids: number[]; score: number; logProbability: number; ended: boolean },
  ): Translation {
    const { model, tokenizer, config } = this.loaded;
    const target = tokenizer.describe(ids);
    let attention: Promise<CrossAttention> | undefined;
    return {
      text: target.text,
      source,
      target,
      ...scores,
      attention: () => {
        attention ??= model.crossAttention(sourceIds, [...ids, config.end]);
        return attention;
      },
      trace: () => this.trace(source, sourceIds, ids),
    };
  }

  private async trace(source: Encoding, sourceIds: Int32Array, ids: number[]): Promise<Trace> {
    const { model, tokenizer, config } = this.loaded;
    const { start, end } = config;
    const [mark] = tokenizer.describe([end]).tokens;
    const last = source.text.length;
    const texts = {
      source: {
        ...source,
        tokens: [...source.tokens, mark],
        offsets: [...source.offsets, [last, last] as const],
        words: [...source.words, -1],
      },
      target: tokenizer.describe([start, ...ids]),
      output: tokenizer.describe([...ids, end]),
    };
    const entries = await traceSeq2Seq(model, sourceIds, [...ids, end]);
    const { task = 'seq2seq', source: from, target: to } = config;
    const languages = from && to ? `, ${from} to ${to}` : '';
    return createTrace({ model: `${task}${languages}`, texts, entries }, { engine: model.engine });
  }

  /** Frees the model's memory. The engine stays. */
  dispose(): void {
    this.loaded.model.dispose();
  }
}

/** How long sentences at hand wait for one more to be decoded with, in ms. */
const PATIENCE = 10;

/** Sentences as they come, with a look at whether the next one is there. */
class Input {
  private readonly iterator: Iterator<string> | AsyncIterator<string>;
  private pending: Promise<IteratorResult<string>> | undefined;
  private ended = false;

  constructor(texts: Iterable<string> | AsyncIterable<string>) {
    const later = (texts as AsyncIterable<string>)[Symbol.asyncIterator]?.();
    this.iterator = later ?? (texts as Iterable<string>)[Symbol.iterator]();
  }

  /** Asks for the next sentence; false if it, or the end, does not come at once. */
  async soon(): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(resolve, PATIENCE, false);
    });
    const come = () => true;
    const there = await Promise.race([this.ask().then(come, come), late]);
    clearTimeout(timer);
    return there;
  }

  async next(): Promise<IteratorResult<string>> {
    const step = await this.ask();
    this.pending = undefined;
    return step;
  }

  /** Lets the source end early. One that is asked is not waited for: it may have nothing for ever. */
  async close(): Promise<void> {
    if (this.ended) return;
    const closed = (async () => this.iterator.return?.())();
    if (this.pending === undefined) await closed;
    else closed.catch(() => {});
  }

  private ask(): Promise<IteratorResult<string>> {
    if (this.pending === undefined) {
      this.pending = (async () => this.iterator.next())();
      this.pending.then(
        ({ done }) => {
          this.ended = done === true;
        },
        () => {
          this.ended = true;
        },
      );
    }
    return this.pending;
  }
}

function checkTogether(together: number): void {
  if (!Number.isInteger(together) || together < 1)
    throw new OptionError(`translate: together must be a whole number from 1, got ${together}`);
}

/** Cuts sentences into groups that are decoded together. */
function groups(encoded: readonly Encoding[], together = 16): Encoding[][] {
  checkTogether(together);
  const cut: Encoding[][] = [];
  let tokens = Number.POSITIVE_INFINITY;
  for (const encoding of encoded) {
    tokens += encoding.ids.length;
    const last = cut.at(-1);
    if (last !== undefined && last.length < together && tokens <= TOGETHER_TOKENS) last.push(encoding);
    else {
      cut.push([encoding]);
      tokens = encoding.ids.length;
    }
  }
  return cut;
}
