// A problem every system gets: q, k, v of standard normal numbers, [B,H,L,D] row-major, or [B,L,H,D] where it is made
// `inside`; its size in operations; and the check of a result against float64, on rows spread over it.
import { seeded } from '../measure.mjs';

const LARGEST_ERROR = 1e-4;
const ROWS = 24;

export function makeProblem({ B = 1, H = 8, Lq, Lk = Lq, D = 64, causal = false, inside = false, seed = 7 }) {
  const random = seeded(seed);
  const fill = (size) => {
    const data = new Float32Array(size);
    for (let n = 0; n < size; n++) {
      data[n] = Math.sqrt(-2 * Math.log(1 - (random() + 1) / 2)) * Math.cos(Math.PI * random());
    }
    return data;
  };
  const [q, k, v] = [Lq, Lk, Lk].map((length) => fill(B * H * length * D));
  return { B, H, Lq, Lk, D, causal, inside, q, k, v };
}

/** Operations of the two products, counted in full also where causal skips half of them. */
export const flops = ({ B, H, Lq, Lk, D }) => 4 * B * H * Lq * Lk * D;

/** Heads within rows, [B,L,H,D], as ONNX Runtime and jax-js take them. */
export function headsInside(data, { B, H, D, inside }, L) {
  if (inside) return data;
  const out = new Float32Array(data.length);
  for (let b = 0; b < B; b++) {
    for (let h = 0; h < H; h++) {
      for (let i = 0; i < L; i++) {
        const from = ((b * H + h) * L + i) * D;
        out.set(data.subarray(from, from + D), ((b * L + i) * H + h) * D);
      }
    }
  }
  return out;
}

/** Where row i of a head begins. */
const rowAt = ({ H, D }, inside, L, b, h, i) => (inside ? (b * L + i) * H + h : (b * H + h) * L + i) * D;

/** One row of the output in float64. */
function truth(problem, b, h, i) {
  const { Lq, Lk, D, causal, inside, q, k, v } = problem;
  const at = rowAt(problem, inside, Lq, b, h, i);
  const keyAt = (j) => rowAt(problem, inside, Lk, b, h, j);
  const count = causal ? Math.min(Lk, i + 1) : Lk;
  const scores = new Float64Array(count);
  for (let j = 0; j < count; j++) {
    const key = keyAt(j);
    let sum = 0;
    for (let d = 0; d < D; d++) sum += q[at + d] * k[key + d];
    scores[j] = sum / Math.sqrt(D);
  }
  const top = scores.reduce((a, x) => Math.max(a, x), -Infinity);
  const row = new Float64Array(D);
  let total = 0;
  for (let j = 0; j < count; j++) {
    const weight = Math.exp(scores[j] - top);
    const value = keyAt(j);
    total += weight;
    for (let d = 0; d < D; d++) row[d] += weight * v[value + d];
  }
  return row.map((x) => x / total);
}

/** Throws where a system's output is wrong. `inside`: it lies [B,Lq,H,D]. */
export function check(name, problem, output, inside = false) {
  const { B, H, Lq, D } = problem;
  if (output.length !== B * H * Lq * D) throw new Error(`${name}: ${output.length} numbers in its output`);
  const rows = B * H * Lq;
  const step = Math.max(1, Math.floor(rows / ROWS)) | 1;
  for (let n = 0; n < rows; n += step) {
    const i = n % Lq;
    const h = Math.floor(n / Lq) % H;
    const b = Math.floor(n / Lq / H);
    const at = rowAt(problem, inside, Lq, b, h, i);
    truth(problem, b, h, i).forEach((expected, d) => {
      const got = output[at + d];
      if (!(Math.abs(got - expected) <= LARGEST_ERROR)) {
        throw new Error(
          `${name}: batch ${b}, head ${h}, row ${i}, column ${d} is ${got}, expected ${expected}`,
        );
      }
    });
  }
}
