// The attention of a long text to itself: every word is a query and a key, so that passages which repeat show in the map
// as lines beside the diagonal.
import type { Watch } from '../map/progress.js';
import { createTrace, type Trace } from '../map/trace.js';
import { LimitError, OptionError } from '../tensor/errors.js';
import { type RunningText, type Span, splitSentences, splitWords } from '../text/index.js';
import type { Translator } from './translate.js';
import { encodeWords } from './word-vectors.js';

/** Most words of a text. */
export const MAXIMUM_WORDS = 1_000_000;

/**
 * Scores are this times the cosine of two words: strangers have 0 ± 0.17, twins in a passage that repeats with a tenth of its
 * words changed 0.98. Chosen by how planted passages stand out of 48,000 words (docs/long-text.md): at 20 words that are merely alike
 * hide them, at 120 a word sees little but itself.
 */
const SCALE = 60;

/**
 * Attention among all words of a text, punctuation included, as a trace of one entry, `text.selfAttention`: one head, q and k
 * the same unit vectors (see encodeWords), over the text `text`, which is the given one cleaned, each word a token. Its engine is the
 * translator's. 512 bytes a word at a width of 128; within the engine nothing remains.
 *
 * Rejects with OptionError for a text of fewer than two words, LimitError for one of over a million, and with the
 * signal's reason.
 */
export async function traceText(translator: Translator, text: string, watch: Watch = {}): Promise<Trace> {
  if (typeof text !== 'string') throw new OptionError(`traceText: expected a string, got ${typeof text}`);
  const { loaded } = translator;
  const running = splitSentences(text);
  const wordSpans = wordsOf(running);
  if (wordSpans.length < 2) {
    const got = wordSpans.length === 0 ? 'none' : 'one';
    throw new OptionError(`traceText: expected a text of at least two words, got ${got}`);
  }
  const shape = [1, wordSpans.length, loaded.config.width];
  const data = await encodeWords(loaded, running, wordSpans.length, watch);
  const vectors = { dtype: 'float32', shape, data } as const;
  const words = {
    text: running.text,
    tokens: wordSpans.map(([start, end]) => running.text.slice(start, end)),
    offsets: wordSpans,
    words: wordSpans.map((_, word) => word),
    wordSpans,
  };
  const { source } = loaded.config;
  return createTrace(
    {
      model: `words of a text, by the encoder of a translator${source ? ` from ${source}` : ''}`,
      texts: { text: words },
      entries: [
        {
          name: 'text.selfAttention',
          queries: 'text',
          keys: 'text',
          q: vectors,
          k: vectors,
          options: { scale: SCALE },
        },
      ],
    },
    { engine: loaded.model.engine },
  );
}

function wordsOf({ text, sentences }: RunningText): Span[] {
  const spans: Span[] = [];
  for (const [from, to] of sentences) {
    for (const [start, end] of splitWords(text.slice(from, to))) spans.push([from + start, from + end]);
    if (spans.length > MAXIMUM_WORDS)
      throw new LimitError(`traceText: the text has over ${MAXIMUM_WORDS} words, the most there may be`);
  }
  return spans;
}
