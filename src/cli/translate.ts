// fovea translate: sentences in, translations out in order, and under each where the model looked.
import { createEngine } from '../engine/engine.js';
import { alignWords, crossWeights, drawHeatMap, harmless, type WordAlignment } from '../inspect/index.js';
import { saveTrace } from '../map/trace.js';
import { writeAtomically } from '../models/node-files.js';
import { loadTranslator, type Translation, type Translator } from '../tasks/translate.js';
import { FileFormatError } from '../tensor/errors.js';
import { cleanSentence } from '../text/index.js';
import { type FigureOptions, Figures, wantsFigures } from './figures.js';
import { countLines, findModel, readLines } from './input.js';
import { outputColor, outputWidth, Progress, print, UsageError } from './output.js';

/** As the command line gives them. */
export interface TranslateVerbOptions extends FigureOptions {
  file?: string;
  model: string;
  beam: number;
  lengthPenalty: number;
  json?: boolean;
  attention?: boolean;
  threads?: number;
  trace?: string;
}

/** Runs the verb. */
export async function runTranslate(sentences: string[], options: TranslateVerbOptions): Promise<void> {
  if (sentences.length > 0 && options.file !== undefined)
    throw new UsageError('translate: expected sentences or --file, got both');
  const blank = sentences.findIndex((sentence) => cleanSentence(sentence) === '');
  if (blank >= 0)
    throw new UsageError(
      `translate: ${sentences.length > 1 ? `sentence ${blank + 1}` : 'the sentence'} is blank`,
    );
  if (sentences.length === 0 && options.file === undefined && process.stdin.isTTY)
    throw new UsageError('translate: no sentence given (fovea translate --help shows how)');
  if (options.trace !== undefined && sentences.length !== 1)
    throw new UsageError('translate: --trace takes one sentence, given on the command line');
  if (wantsFigures(options) && sentences.length === 0)
    throw new UsageError('translate: --svg, --png and --html take sentences given on the command line');
  const folder = await findModel(options.model);
  const engine = await createEngine({ threads: options.threads });
  try {
    const translator = await loadTranslator(folder, { engine });
    checkSelection(translator, options);
    if (sentences.length > 0) await translateSentences(translator, sentences, options);
    else await translateLines(translator, options);
  } finally {
    await engine.dispose();
  }
}

function checkSelection(translator: Translator, { layer, head }: TranslateVerbOptions): void {
  const { decoderLayers, heads } = translator.loaded.config;
  if (layer !== undefined && layer >= decoderLayers)
    throw new UsageError(`--layer ${layer}: the model's decoder has layers 0 to ${decoderLayers - 1}`);
  if (head !== undefined && head >= heads)
    throw new UsageError(`--head ${head}: the model has heads 0 to ${heads - 1}`);
}

async function translateSentences(
  translator: Translator,
  sentences: string[],
  options: TranslateVerbOptions,
): Promise<void> {
  const progress = new Progress('sentences', sentences.length);
  const figures = new Figures(options, sentences.length);
  let done = 0;
  try {
    for await (const translation of translator.stream(sentences, options)) {
      const text = await format(translation, { ...options, attention: options.attention ?? true });
      const gap = options.json || options.attention === false || done === 0 ? '' : '\n';
      await progress.aside(() => print(gap + text));
      progress.update(++done);
      if (options.trace !== undefined) await writeTrace(translation, options.trace);
      if (wantsFigures(options)) await figures.add(translation);
    }
    progress.stop();
    await figures.finish();
  } finally {
    progress.stop();
    figures.dispose();
  }
}

async function writeTrace(translation: Translation, path: string): Promise<void> {
  const trace = await translation.trace();
  try {
    await writeAtomically(path, await saveTrace(trace));
  } finally {
    trace.dispose();
  }
}

/** Lines keep their places: a blank one gives a blank one (in JSON, null), at once if all before it are answered. */
async function translateLines(translator: Translator, options: TranslateVerbOptions): Promise<void> {
  const progress = new Progress('lines', options.file === undefined ? 0 : await countLines(options.file));
  let done = 0;
  const answer = (text: string) =>
    progress.aside(async () => {
      await print(text);
      progress.update(++done);
    });
  /** Sentences read, and sentences answered. */
  let [read, answered] = [0, 0];
  /** Blank lines after n sentences that wait for the n-th one's answer. */
  const blanks = new Map<number, number>();
  const answerBlanks = async () => {
    const count = blanks.get(answered) ?? 0;
    blanks.delete(answered);
    for (let i = 0; i < count; i++) await answer(options.json ? 'null' : '');
  };
  async function* sentences() {
    for await (const line of readLines(options.file)) {
      if (cleanSentence(line) === '') {
        blanks.set(read, (blanks.get(read) ?? 0) + 1);
        await answerBlanks();
      } else {
        read++;
        yield line;
      }
    }
  }
  try {
    for await (const translation of translator.stream(sentences(), options)) {
      await answer(await format(translation, { ...options, attention: options.attention ?? options.json }));
      answered++;
      await answerBlanks();
    }
  } finally {
    progress.stop();
    // After a failure, input that is still open would keep the process.
    if (options.file === undefined) process.stdin.destroy();
  }
  if (read === 0) {
    throw new FileFormatError(
      `${options.file ?? 'standard input'}: expected at least one sentence, got none`,
    );
  }
}

async function format(translation: Translation, options: TranslateVerbOptions): Promise<string> {
  if (options.json) return JSON.stringify(await toJson(translation, options), round);
  const text = harmless(translation.text);
  if (!options.attention) return text;
  const { sourceWords, targetWords, matrix } = await align(translation, options);
  const map = { rows: targetWords, columns: sourceWords, values: matrix.values };
  return `${text}\n${drawHeatMap(map, { color: outputColor(), width: outputWidth() })}`;
}

async function align(translation: Translation, options: TranslateVerbOptions): Promise<WordAlignment> {
  return alignWords(
    translation.source,
    translation.target,
    crossWeights(await translation.attention(), options),
  );
}

/** Both token lists end with the end mark, so that they name the rows and columns of attention's weights. */
async function toJson(translation: Translation, options: TranslateVerbOptions): Promise<object> {
  const { text, source, target, score, logProbability, ended } = translation;
  const plain = {
    source: source.text,
    translation: text,
    score,
    logProbability,
    ended,
    sourceTokens: [...source.tokens, '</s>'],
    tokens: [...target.tokens, '</s>'],
  };
  if (options.attention === false) return plain;
  const { layers, heads, targetLength: rows, sourceLength: columns, weights } = await translation.attention();
  const list = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i));
  const attention = list(layers, (l) =>
    list(heads, (h) =>
      list(rows, (i) => {
        const from = ((l * heads + h) * rows + i) * columns;
        return Array.from(weights.subarray(from, from + columns));
      }),
    ),
  );
  const { sourceWords, targetWords, pairs } = await align(translation, options);
  return { ...plain, attention, sourceWords, words: targetWords, alignment: pairs };
}

const round = (_: string, value: unknown) =>
  typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
