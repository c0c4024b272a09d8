// What one writes without a library: plain loops over typed arrays, a row of scores at a time.

export const name = 'plain';

/** Scores of one query against its keys, times scale; their maximum is returned. */
function weigh(scores, q, at, k, from, count, D, scale) {
  let top = -Infinity;
  for (let j = 0; j < count; j++) {
    const key = from + j * D;
    let sum = 0;
    for (let d = 0; d < D; d++) sum += q[at + d] * k[key + d];
    scores[j] = sum * scale;
    if (scores[j] > top) top = scores[j];
  }
  return top;
}

function attendRow(out, at, scores, top, v, from, count, D) {
  let total = 0;
  for (let j = 0; j < count; j++) {
    const weight = Math.exp(scores[j] - top);
    const value = from + j * D;
    total += weight;
    for (let d = 0; d < D; d++) out[at + d] += weight * v[value + d];
  }
  for (let d = 0; d < D; d++) out[at + d] /= total;
}

function attend({ B, H, Lq, Lk, D, causal, q, k, v }) {
  const out = new Float32Array(B * H * Lq * D);
  const scores = new Float32Array(Lk);
  for (let n = 0; n < B * H; n++) {
    const from = n * Lk * D;
    for (let i = 0; i < Lq; i++) {
      const at = (n * Lq + i) * D;
      const count = causal ? Math.min(Lk, i + 1) : Lk;
      const top = weigh(scores, q, at, k, from, count, D, 1 / Math.sqrt(D));
      attendRow(out, at, scores, top, v, from, count, D);
    }
  }
  return out;
}

export async function open() {
  return {
    prepare: (problem) => ({ run: async () => attend(problem), inside: false, close() {} }),
    close() {},
  };
}
