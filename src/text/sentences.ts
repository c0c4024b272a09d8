// A running text in sentences, as the models here read them.
import { cleanSentence } from './clean.js';
import type { Span } from './words.js';

/** A text cleaned (see cleanSentence), and where its sentences lie. */
export interface RunningText {
  /** Sentences with a space between them, paragraphs with a line feed. */
  readonly text: string;
  readonly sentences: readonly Span[];
}

/** Code units of the longest sentence: what has no end for so long is none, or a table. */
const LONGEST = 1024;

const paragraphs = /\n[^\S\n]*\n\s*|[\u2029\f]/;

/** Splits a text into sentences by the Unicode rules (UAX 29). An empty line ends a paragraph; any other line end is a
 * space, so that text in lines of fixed width keeps its sentences. What is longer than 1024 code units is cut. */
export function splitSentences(text: string): RunningText {
  const segmenter = new Intl.Segmenter('en', { granularity: 'sentence' });
  const sentences: Span[] = [];
  let clean = '';
  for (const paragraph of text.replace(/\r\n?/g, '\n').split(paragraphs)) {
    let gap = clean === '' ? '' : '\n';
    for (const sentence of sentencesOf(cleanSentence(paragraph), segmenter)) {
      const start = clean.length + gap.length;
      sentences.push([start, start + sentence.length]);
      clean += gap + sentence;
      gap = ' ';
    }
  }
  return { text: clean, sentences };
}

/** Sentences of a paragraph, none empty. The segmenter sees a part at a time: each step costs it as much as all it sees. */
function* sentencesOf(paragraph: string, segmenter: Intl.Segmenter): Generator<string> {
  for (let at = 0; at < paragraph.length; ) {
    const part = paragraph.slice(at, at + LONGEST);
    const found = Array.from(segmenter.segment(part), ({ segment }) => segment);
    if (at + LONGEST < paragraph.length) {
      const last = found.pop()!;
      if (found.length === 0) found.push(last.slice(0, cutBefore(last, paragraph[at + LONGEST])));
    }
    for (const segment of found) {
      at += segment.length;
      const sentence = segment.trim();
      if (sentence !== '') yield sentence;
    }
  }
}

/** Where a sentence that goes on with `next` is cut: after its last space, else at its end, but not within a character. */
function cutBefore(sentence: string, next: string): number {
  const space = sentence.lastIndexOf(' ');
  if (space > 0) return space + 1;
  return /[\udc00-\udfff]/.test(next) ? sentence.length - 1 : sentence.length;
}
