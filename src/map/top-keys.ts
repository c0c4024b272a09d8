// The largest weights of a row without sorting it: a heap of the best so far, its worst on top.
import type { TopKeys } from './attention-map.js';

/** The `count` keys of greatest weight, the earlier first among equals; NaN and 0 are none. */
export function largest(weights: Float32Array, count: number): TopKeys {
  const size = Math.min(count, weights.length);
  const heap = new Int32Array(size);
  let held = 0;
  /** Whether key a is worse than key b. */
  const worse = (a: number, b: number) => weights[a] < weights[b] || (weights[a] === weights[b] && a > b);
  const sink = (from: number) => {
    const key = heap[from];
    let at = from;
    for (let child = 2 * at + 1; child < held; child = 2 * at + 1) {
      if (child + 1 < held && worse(heap[child + 1], heap[child])) child++;
      if (!worse(heap[child], key)) break;
      heap[at] = heap[child];
      at = child;
    }
    heap[at] = key;
  };
  let least = 0;
  for (let j = 0; j < weights.length && size > 0; j++) {
    // Later keys lose against equals.
    if (!(weights[j] > least)) continue;
    if (held < size) {
      heap[held++] = j;
      if (held < size) continue;
      for (let at = (size >> 1) - 1; at >= 0; at--) sink(at);
    } else {
      heap[0] = j;
      sink(0);
    }
    least = weights[heap[0]];
  }
  const keys = heap.slice(0, held).sort((a, b) => weights[b] - weights[a] || a - b);
  return { keys, weights: Float32Array.from(keys, (j) => weights[j]) };
}
