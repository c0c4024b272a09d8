// Greedy decoding of many sentences at once: the fast check of a model in training, and the yardstick's decoding.
import type { Seq2Seq } from '../models/seq2seq.js';

export interface GreedyOptions {
  /** Source tokens decoded together. Default 2,048. */
  batchTokens?: number;
  /** A translation ends at the latest after this many tokens per source token, plus 10. Default 2. */
  lengthFactor?: number;
}

/** Translates encoded sentences (ids with end mark); results are ids without marks, in the order given. */
export async function decodeGreedy(
  model: Seq2Seq,
  sources: readonly Int32Array[],
  { batchTokens = 2048, lengthFactor = 2 }: GreedyOptions = {},
): Promise<number[][]> {
  const order = sources.map((_, i) => i).sort((a, b) => sources[a].length - sources[b].length || a - b);
  const results: number[][] = sources.map(() => []);
  for (let from = 0; from < order.length; ) {
    let to = from + 1;
    while (to < order.length && (to + 1 - from) * sources[order[to]].length <= batchTokens) to++;
    await decodeBatch(model, sources, order.slice(from, to), results, lengthFactor);
    from = to;
  }
  return results;
}

async function decodeBatch(
  model: Seq2Seq,
  sources: readonly Int32Array[],
  members: readonly number[],
  results: number[][],
  lengthFactor: number,
): Promise<void> {
  const { start, end } = model.config;
  const limit = (i: number) => Math.ceil(sources[i].length * lengthFactor) + 10;
  const capacity = Math.max(...members.map(limit));
  const decoding = model.startDecoding(
    members.map((i) => sources[i]),
    1,
    capacity,
  );
  try {
    let active = [...members];
    let ids = new Int32Array(active.length).fill(start);
    while (active.length > 0 && decoding.length < decoding.capacity) {
      const best = bestTokens(await decoding.step(ids), active.length);
      const parents: number[] = [];
      active.forEach((sentence, row) => {
        if (best[row] === end) return;
        results[sentence].push(best[row]);
        if (results[sentence].length < limit(sentence)) parents.push(row);
      });
      decoding.reorder(Int32Array.from(parents));
      ids = Int32Array.from(parents, (row) => best[row]);
      active = parents.map((row) => active[row]);
    }
  } finally {
    decoding.dispose();
  }
}

/** The likeliest token of every row; the first of equals. */
function bestTokens(scores: Float32Array, rows: number): Int32Array {
  const width = scores.length / rows;
  return Int32Array.from({ length: rows }, (_, row) => {
    const base = row * width;
    let best = 0;
    for (let i = 1; i < width; i++) if (scores[base + i] > scores[base + best]) best = i;
    return best;
  });
}
