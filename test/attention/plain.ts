// The yardstick of float32 kernels: attention in plain float32, three passes over the keys, one rounding per step,
// sums in order. A kernel's largest error is at most twice this one's, plus 1e-6. Forbidden cells and dropout's
// choices come from the reference; the arithmetic does not.
import { type AttentionProblem, keyHead } from '../../dist/attention/problem.js';
import { cellAt, computeRow, forEachRow, makeRow, readNumbers } from '../../dist/attention/reference.js';

const f = Math.fround;

export interface PlainResult {
  output: Float32Array;
  logSumExp: Float32Array;
  dq: Float32Array;
  dk: Float32Array;
  dv: Float32Array;
  dBias?: Float32Array;
  dSinks?: Float32Array;
}

/** Forward, and backward where upstream gradients are given. */
export function plainAttention(
  p: AttentionProblem,
  dOutput?: ArrayLike<number>,
  dLogSumExp?: ArrayLike<number>,
): PlainResult {
  const exact = readNumbers(p);
  const [q, k, v] = [exact.q, exact.k, exact.v].map((x) => new Float32Array(x));
  const bias = exact.bias && new Float32Array(exact.bias);
  const sinks = exact.sinks && new Float32Array(exact.sinks);
  const size = (shape: readonly number[]) => shape.reduce((a, n) => a * n, 1);
  const made: PlainResult = {
    output: new Float32Array(size(p.output.shape)),
    logSumExp: new Float32Array(size(p.statistics.shape)),
    dq: new Float32Array(q.length),
    dk: new Float32Array(k.length),
    dv: new Float32Array(v.length),
    dBias: bias && new Float32Array(bias.length),
    dSinks: sinks && new Float32Array(sinks.length),
  };
  const row = makeRow(p.Lk);
  const [s, w, slope, dP] = [0, 0, 0, 0].map(() => new Float32Array(p.Lk));
  forEachRow(p, (b, h, i) => {
    computeRow(p, exact, b, h, i, row);
    const { allowed, factors } = row;
    const keys = Array.from({ length: p.keyCounts[b] }, (_, j) => j).filter((j) => allowed[j]);
    const atQ = p.q.offsets[b] + h * p.q.head + i * p.q.row;
    const atK = (j: number) => p.k.offsets[b] + keyHead(p, h) * p.k.head + j * p.k.row;
    const atV = (j: number) => p.v.offsets[b] + keyHead(p, h) * p.v.head + j * p.v.row;
    const atO = p.output.offsets[b] + h * p.output.head + i * p.output.row;
    const at = p.statistics.offsets[b] + h * p.statistics.head + i * p.statistics.row;
    for (const j of keys) {
      let dot = 0;
      for (let d = 0; d < p.D; d++) dot = f(dot + f(q[atQ + d] * k[atK(j) + d]));
      s[j] = f(p.scale) * dot;
      slope[j] = 1;
      if (p.softcap > 0) {
        const t = f(Math.tanh(f(s[j] / f(p.softcap))));
        s[j] = f(p.softcap) * t;
        slope[j] = 1 - f(t * t);
      }
      if (p.alibi) s[j] -= f(f(exact.alibi![b * p.alibi.batch + h]) * Math.abs(i + p.diagonal[b] - j));
      if (bias) s[j] += bias[cellAt(p.bias!, b, h, i, j)];
    }
    const sink = sinks?.[h];
    let max = Number.NEGATIVE_INFINITY;
    for (const j of keys) max = Math.max(max, s[j]);
    const empty = max === Number.NEGATIVE_INFINITY;
    if (sink !== undefined) max = Math.max(max, sink);
    let sum = sink === undefined ? 0 : f(Math.exp(f(sink - max)));
    for (const j of keys) sum = f(sum + (empty ? 0 : f(Math.exp(f(s[j] - max)))));
    made.logSumExp[at] = max === Number.NEGATIVE_INFINITY ? max : max + f(Math.log(sum));
    for (const j of keys) w[j] = empty ? 0 : f(Math.exp(f(s[j] - max))) / sum;
    if (!empty) {
      for (const j of keys) {
        const weight = f(w[j] * f(factors[j]));
        for (let d = 0; d < p.Dv; d++) made.output[atO + d] += f(weight * v[atV(j) + d]);
      }
    }
    if (dOutput === undefined) return;
    let delta = 0;
    for (let d = 0; d < p.Dv; d++) delta = f(delta + f(f(dOutput[atO + d]) * made.output[atO + d]));
    const shift = f(f(dLogSumExp?.[at] ?? 0) - delta);
    if (sinks && made.logSumExp[at] > Number.NEGATIVE_INFINITY) {
      made.dSinks![h] += f(f(f(Math.exp(f(sinks[h] - max))) / sum) * shift);
    }
    if (empty) return;
    for (const j of keys) {
      let dot = 0;
      const weight = f(w[j] * f(factors[j]));
      for (let d = 0; d < p.Dv; d++) {
        dot = f(dot + f(f(dOutput[atO + d]) * v[atV(j) + d]));
        made.dv[atV(j) + d] += f(weight * f(dOutput[atO + d]));
      }
      dP[j] = dot * f(factors[j]);
      const dS = f(w[j] * f(dP[j] + shift));
      if (made.dBias) made.dBias[cellAt(p.bias!, b, h, i, j)] += dS;
      const dDot = f(f(f(p.scale) * dS) * slope[j]);
      for (let d = 0; d < p.D; d++) {
        made.dq[atQ + d] += f(dDot * k[atK(j) + d]);
        made.dk[atK(j) + d] += f(dDot * q[atQ + d]);
      }
    }
  });
  return made;
}
