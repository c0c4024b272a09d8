// What a map must read of one pair beside its weights, summed in float64 from the reference's weights.
import type { AttentionProblem } from '../../dist/attention/problem.js';
import { attentionReference, weightsReference } from '../../dist/attention/reference.js';

/** The weights w [n,m] of a pair's n queries over its m own keys. */
export function exactWeights(p: AttentionProblem, b: number, h: number) {
  const [n, m] = [p.queryCounts[b], p.packed ? p.keyCounts[b] : p.Lk];
  return { n, m, w: weightsReference(p, b, h, [0, n], [0, m]) };
}

/** Sums [m] over queries, the rest [n], from a pair's weights; `offset` is the diagonal's. */
export function exactReadings(
  p: AttentionProblem,
  b: number,
  h: number,
  { n, m, w }: ReturnType<typeof exactWeights>,
  offset: number,
) {
  const all = attentionReference(p).logSumExp;
  const received = new Float64Array(m);
  const [entropy, distance, sinkWeight, diagonal] = [0, 0, 0, 0].map(() => new Float64Array(n));
  const logSumExp = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    let mass = 0;
    for (let j = 0; j < m; j++) {
      const x = w[i * m + j];
      received[j] += x;
      mass += x;
      if (x > 0) entropy[i] -= x * Math.log(x);
      distance[i] += x * Math.abs(i + p.diagonal[b] - j);
      if (j === i + p.diagonal[b] + offset) diagonal[i] = x;
    }
    if (mass > 0) distance[i] /= mass;
    logSumExp[i] = all[p.statistics.offsets[b] + h * p.statistics.head + i * p.statistics.row];
    if (p.sinks) sinkWeight[i] = Math.exp((p.sinks.data as Float64Array)[h] - logSumExp[i]);
  }
  return { received, entropy, distance, sinkWeight, diagonal, logSumExp };
}
