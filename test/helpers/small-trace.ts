// A trace as a translation's, of small random numbers: two layers of each kind of attention, three heads, words of several tokens.
import { createTrace, type Trace } from '../../dist/index.js';

/** Tokens, and the word of each; a mark has none. */
const text = (pieces: string[][], mark: 'first' | 'last') => {
  const spelled = pieces.map((parts) => parts.join(''));
  const starts = spelled.map((_, n) => spelled.slice(0, n).join(' ').length + Math.min(n, 1));
  const tokens = pieces.flat();
  const words = pieces.flatMap((parts, n) => parts.map(() => n));
  const offsets = pieces.flatMap((parts, n) =>
    parts.map((part, k) => {
      const from = starts[n] + parts.slice(0, k).join('').length;
      return [from, from + part.length] as [number, number];
    }),
  );
  const whole = spelled.join(' ');
  const at = mark === 'first' ? 0 : whole.length;
  const put = <T>(list: T[], value: T) => (mark === 'first' ? [value, ...list] : [...list, value]);
  return {
    text: whole,
    tokens: put(tokens, mark === 'first' ? '<s>' : '</s>'),
    words: put(words, -1),
    offsets: put(offsets, [at, at] as [number, number]),
    wordSpans: spelled.map((word, n) => [starts[n], starts[n] + word.length] as [number, number]),
  };
};

/** Makes tensors of numbers from -2 to 2, always the same ones. */
export function smallTensors() {
  let seed = 1;
  const random = () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 30 - 2;
  };
  return (...shape: number[]) => ({
    shape,
    data: Float32Array.from({ length: shape.reduce((a, n) => a * n, 1) }, random),
  });
}

export function smallTrace(
  source = [['I'], ['see'], ['red', 'dish'], ['<b>', '&']],
  output = [['Je'], ['vois'], ['rou', 'ge', 'âtre'], ['책임을']],
): Trace {
  const tensor = smallTensors();
  const texts = { source: text(source, 'last'), output: text(output, 'last'), target: text(output, 'first') };
  const [S, T] = [texts.source.tokens.length, texts.target.tokens.length];
  const entries = [0, 1].flatMap((layer) => [
    {
      name: `encoder.${layer}.selfAttention`,
      queries: 'source',
      keys: 'source',
      q: tensor(3, S, 8),
      k: tensor(3, S, 8),
    },
    {
      ...{ name: `decoder.${layer}.selfAttention`, queries: 'target', keys: 'target', predicts: 'output' },
      ...{ q: tensor(3, T, 8), k: tensor(3, T, 8), options: { causal: true } },
    },
    {
      ...{ name: `decoder.${layer}.crossAttention`, queries: 'target', keys: 'source', predicts: 'output' },
      ...{ q: tensor(3, T, 8), k: tensor(3, S, 8) },
    },
  ]);
  return createTrace({ model: 'translation, en to fr', texts, entries });
}
