// Weights from the float64 reference, row by row: for calls that no kernel serves.
import type { AttentionProblem } from '../attention/problem.js';
import { computeRow, makeRow, readNumbers, weightsReference } from '../attention/reference.js';
import { compare, type Known, learn, missingOf, type Row, rowsToCompare } from './known.js';
import { Progress } from './progress.js';
import { retained, weighing } from './retained.js';
import {
  countOf,
  type Moments,
  type PoolWork,
  queryAt,
  type Range,
  type Rows,
  type Statistics,
  type WeightSource,
} from './weight-source.js';

export class ReferenceWeights implements WeightSource {
  private problem: AttentionProblem;

  constructor(
    problem: AttentionProblem,
    private readonly known: Known,
  ) {
    this.problem = weighing(problem);
  }

  async tile(
    batch: number,
    head: number,
    queries: Range,
    keys: Range,
    progress = new Progress(1),
  ): Promise<Float32Array> {
    await this.check(batch, head, progress);
    return new Float32Array(weightsReference(this.problem, batch, head, queries, keys));
  }

  async pool(work: PoolWork, progress: Progress): Promise<void> {
    const { batch, head, rows, bins, keys, columns, most, into } = work;
    const n = keys[1] - keys[0];
    await this.each(batch, head, rows, keys, progress, (t, weights) => {
      for (let c = 0; c < columns; c++) {
        const at = bins[t] * columns + c;
        for (let j = Math.floor((c * n) / columns); j < Math.floor(((c + 1) * n) / columns); j++) {
          into[at] = most ? Math.max(into[at], weights[j]) : into[at] + weights[j];
        }
      }
    });
  }

  async moments(batch: number, head: number, progress: Progress): Promise<Moments> {
    const rows = this.rows(batch);
    const [entropy, distance] = [0, 1].map(() => new Float32Array(rows[1]));
    const o = this.problem.diagonal[batch];
    await this.each(batch, head, rows, this.keys(batch), progress, (i, weights) => {
      let [mass, surprise, far] = [0, 0, 0];
      weights.forEach((w, j) => {
        mass += w;
        if (w !== 0) surprise -= w * Math.log(w);
        far += w * Math.abs(i + o - j);
      });
      entropy[i] = surprise;
      distance[i] = mass === 0 ? 0 : far / mass;
    });
    return { entropy, distance };
  }

  async diagonal(batch: number, head: number, own: number, progress: Progress): Promise<Float32Array> {
    const rows = this.rows(batch);
    const out = new Float32Array(rows[1]);
    await this.each(batch, head, rows, this.keys(batch), progress, (i, weights) => {
      out[i] = weights[i + own] ?? 0;
    });
    return out;
  }

  async statisticsOf(batch: number, head: number, queries: Range, progress: Progress): Promise<Statistics> {
    const { known, problem } = this;
    await this.check(batch, head, progress);
    const missing = missingOf(known, problem, [batch, head], queries, 0, countOf(queries));
    await this.measure(batch, head, missing, progress, (...row) => learn(known, problem, ...row));
    return { known, problem };
  }

  retain(): void {
    this.problem = retained(this.problem);
  }

  dispose(): void {}

  private rows(batch: number): Range {
    return [0, this.problem.queryCounts[batch]];
  }

  private keys(batch: number): Range {
    return [0, this.problem.packed ? this.problem.keyCounts[batch] : this.problem.Lk];
  }

  /** Compares given statistics of a head, once; throws where they are another's. */
  private async check(batch: number, head: number, progress: Progress): Promise<void> {
    const { known, problem: p } = this;
    const pair = batch * p.H + head;
    if (known.doubt?.compared.has(pair) !== false) return;
    const rows = rowsToCompare(p.queryCounts[batch], p.keyCounts[batch] * p.D);
    await this.measure(batch, head, rows, progress, (...row) => compare(known, p, ...row));
    known.doubt.compared.add(pair);
  }

  /** Statistics of some rows over their keys alone, the maximum a float32 number. */
  private async measure(
    batch: number,
    head: number,
    rows: Rows,
    progress: Progress,
    visit: (row: Row, max: number, sum: number) => void,
  ): Promise<void> {
    const keysAlone = { ...this.problem, sinks: undefined };
    const numbers = readNumbers(keysAlone);
    const row = makeRow(keysAlone.Lk);
    for (let t = 0; t < countOf(rows); t++) {
      await progress.next();
      const i = queryAt(rows, t);
      computeRow(keysAlone, numbers, batch, head, i, row);
      const max = Math.fround(row.max);
      visit([batch, head, i], max, row.empty ? 0 : row.sum * Math.exp(row.max - max));
    }
  }

  /** Visits row t of the rows with its weights over the keys. */
  private async each(
    batch: number,
    head: number,
    rows: Rows,
    keys: Range,
    progress: Progress,
    visit: (t: number, weights: Float64Array) => void,
  ): Promise<void> {
    await this.check(batch, head, progress);
    for (let t = 0; t < countOf(rows); t++) {
      await progress.next();
      const i = queryAt(rows, t);
      visit(t, weightsReference(this.problem, batch, head, [i, i + 1], keys));
      progress.advance(keys[1] - keys[0]);
    }
  }
}
