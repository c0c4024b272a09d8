// Multi-head attention in plain float64 loops, with every option of the layer, for gradients by differences.
import type { Host } from '../autograd/gradients.js';

export interface PlainOptions {
  embedDim: number;
  heads: number;
  addBiasKV?: boolean;
  addZeroAttention?: boolean;
  /** May query i of batch b and head h attend to (own) key j? */
  allowed?: (b: number, h: number, i: number, j: number) => boolean;
  bias?: (b: number, h: number, i: number, j: number) => number;
}

type Named = Record<string, Host | undefined>;
type Matrix = Float64Array[];

const matrix = ({ data, shape }: Host): Matrix => {
  const width = shape[shape.length - 1];
  return Array.from({ length: data.length / width }, (_, r) => data.slice(r * width, (r + 1) * width));
};

function project(x: Matrix, weight: Matrix, bias: Float64Array | undefined): Matrix {
  return x.map((row) =>
    Float64Array.from(weight, (w, n) => row.reduce((sum, v, k) => sum + v * w[k], bias ? bias[n] : 0)),
  );
}

/** Weight and bias of projection 0, 1, 2 (q, k, v), from the fused or the separate parameters. */
function projection(p: Named, which: number, E: number): [Matrix, Float64Array | undefined] {
  const name = `${'qkv'[which]}_proj_weight`;
  const weight = p[name] ? matrix(p[name]) : matrix(p.in_proj_weight!).slice(which * E, (which + 1) * E);
  return [weight, p.in_proj_bias?.data.slice(which * E, (which + 1) * E)];
}

/** query [B,Lq,·], key, value [B,Lk,·] → output [B,Lq,E] and weights [B,H,Lq,Lk + appended]. */
export function plainAttention(
  p: Named,
  query: Host,
  key: Host,
  value: Host,
  options: PlainOptions,
): { output: Float64Array; weights: Float64Array } {
  const { embedDim: E, heads: H, allowed, bias } = options;
  const D = E / H;
  const [B, Lq, Lk] = [query.shape[0], query.shape[1], key.shape[1]];
  const [q, k, v] = [query, key, value].map((x, i) => project(matrix(x), ...projection(p, i, E)));
  const output: number[] = [];
  const weights: number[] = [];
  for (let b = 0; b < B; b++) {
    const keys = k.slice(b * Lk, (b + 1) * Lk);
    const values = v.slice(b * Lk, (b + 1) * Lk);
    if (options.addBiasKV) {
      keys.push(p.bias_k!.data);
      values.push(p.bias_v!.data);
    }
    if (options.addZeroAttention) {
      keys.push(new Float64Array(E));
      values.push(new Float64Array(E));
    }
    const context = Array.from({ length: Lq }, () => new Float64Array(E));
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < Lq; i++) {
        const scores = keys.map((row, j) => {
          if (j < Lk && allowed && !allowed(b, h, i, j)) return Number.NEGATIVE_INFINITY;
          let score = 0;
          for (let d = h * D; d < (h + 1) * D; d++) score += q[b * Lq + i][d] * row[d];
          return score / Math.sqrt(D) + (j < Lk && bias ? bias(b, h, i, j) : 0);
        });
        const max = Math.max(...scores);
        const exps = scores.map((s) => (s === Number.NEGATIVE_INFINITY ? 0 : Math.exp(s - max)));
        const sum = exps.reduce((a, c) => a + c, 0);
        exps.forEach((e, j) => {
          const weight = sum === 0 ? 0 : e / sum;
          weights.push(weight);
          for (let d = h * D; d < (h + 1) * D; d++) context[i][d] += weight * values[j][d];
        });
      }
    }
    const outBias = p['out_proj.bias']?.data;
    for (const row of project(context, matrix(p['out_proj.weight']!), outBias)) output.push(...row);
  }
  return { output: Float64Array.from(output), weights: Float64Array.from(weights) };
}
