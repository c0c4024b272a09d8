// Weights from the kernels. A question is cut into parts of some rows and keys, each bounded in work and in what it takes
// in the engine; keys of a head stay there between questions where they fit. How it is cut follows from shapes alone.
import type { AttentionCall, AttentionStatistics } from '../engine/ops/attention.js';
import {
  attentionCells,
  attentionDiagonal,
  attentionMoments,
  attentionPool,
  attentionStatistics,
  statisticsSize,
} from '../engine/ops/attention-readings.js';
import type { Tensor } from '../engine/types.js';
import { download } from './boxes.js';
import { KeyHolder, uploadStatistics } from './call.js';
import { floats, inScope } from './forward.js';
import { compare, learn, missingOf, nextMissing, type Row, rowsToCompare, statisticAt } from './known.js';
import { Lock } from './lock.js';
import { Measured, spanRows, statisticsFor } from './measured.js';
import { budget, bytesPerCell, split } from './parts.js';
import { Progress } from './progress.js';
import { forget } from './resident.js';
import { retained } from './retained.js';
import { blocksOf, foldLanes, longestSlice, slicesOf, spansOf } from './slices.js';
import { WeightCalls } from './weight-calls.js';
import {
  countOf,
  type Moments,
  type PoolWork,
  queryAt,
  type Range,
  type Rows,
  type Statistics,
  someOf,
  type WeightSource,
} from './weight-source.js';

/** Multiplications of one part at most, about 20 ms of two threads: between parts a reading can be stopped. */
const WORK = 2 ** 29;
/** Rows are cut at multiples of the kernels' chunks. */
const CHUNK = 64;
/** Rows whose statistics are computed at a time where their keys must be brought in each time. */
const MANY = 4096;
const FAR = 2 ** 29;

/** A part of a question as it is computed: its call, its statistics, and which rows and keys these are. */
interface Step {
  readonly call: AttentionCall;
  readonly statistics: AttentionStatistics;
  /** Where its rows begin among those asked for. */
  readonly from: number;
  readonly rows: Rows;
  readonly keys: Range;
}

/** How a question is cut. */
interface Cut {
  readonly batch: number;
  readonly head: number;
  readonly rows: Rows;
  readonly keys: Range;
  /** Bytes of results per key of a chunk of 64 rows. */
  readonly bytes: number;
  /** Where rows may be cut; default: at multiples of 64. */
  readonly ends?: Int32Array;
}

export class KernelWeights extends WeightCalls implements WeightSource {
  private readonly learning = new Lock();

  async tile(
    batch: number,
    head: number,
    queries: Range,
    keys: Range,
    progress?: Progress,
  ): Promise<Float32Array> {
    const width = keys[1] - keys[0];
    const out = floats('weights', [queries[1] - queries[0], width]);
    const bytes = 4 * Math.min(CHUNK, queries[1] - queries[0]);
    await this.each({ batch, head, rows: queries, keys, bytes }, progress, (step) => {
      const { call, statistics, from } = step;
      const dimensions = [
        [call.Lq, width],
        [call.Lk, 1],
      ] as const;
      const box = { starts: [from * width + step.keys[0] - keys[0]], dimensions };
      return [download(attentionCells(call, statistics), out, box)];
    });
    return out;
  }

  /** All heads go to the engine and come back together, statistics first: a page waits twice, whatever their number. */
  async together(batch: number): Promise<Float32Array | undefined> {
    await undefined;
    const { engine, known, problem: p } = this;
    const { H } = p;
    const rows = [0, p.queryCounts[batch]] as const;
    const keys = [0, this.keyCount(batch)] as const;
    const [n, m] = [rows[1], keys[1]];
    const bytes = H * n * (m * (4 + bytesPerCell(p)) + 4 * p.D + 8) + 4 * p.Hkv * m * p.D;
    if (H * n * m * p.D > WORK || bytes > budget.bytes / 2 || !this.atHand()) return undefined;
    const heads = Array.from({ length: H }, (_, head) => head);
    for (const head of heads) await this.check(batch, head, new Progress(1));
    await this.learning.run(new Progress(1), () => this.measureTogether(batch, heads, rows, keys));
    if (!this.atHand()) return undefined;
    const held = new KeyHolder(engine, p, false);
    try {
      const [weights] = await inScope(engine, () => {
        const piece = { batches: [batch, batch + 1], heads: [0, H], keyHeads: [0, 0], rows } as const;
        const { rowMax, rowSum } = uploadStatistics(engine, p, known, piece);
        const out = engine.empty([H, n, m]);
        for (const head of heads) {
          const own = (tensor: Tensor) => tensor.rows(head * n, (head + 1) * n);
          const statistics = { rowMax: own(rowMax), rowSum: own(rowSum) };
          attentionCells(this.call(batch, head, rows, keys, held), statistics, out.rows(head, head + 1));
        }
        return [out.read()];
      });
      return weights as Float32Array;
    } finally {
      held.dispose();
    }
  }

  async pool(work: PoolWork, progress: Progress): Promise<void> {
    const { batch, head, rows, bins, keys, columns, most } = work;
    const span = keys[1] - keys[0];
    const ends = slicesOf(bins, longestSlice(span, columns));
    const list = (data: Int32Array) => this.engine.tensor(data, [data.length]);
    // Sixteen slices of results at least fit at a time.
    const cut = { batch, head, rows, keys, bytes: (16 * 32 * columns) / span, ends };
    await this.each(cut, progress, ({ call, statistics, from, rows: some, keys: [first] }) => {
      const origin = first - keys[0];
      const spans = spansOf([origin, origin + call.Lk], span, columns, call.D);
      const own = ends.filter((end) => end >= from && end <= from + call.Lq);
      const slices = own.map((end) => end - from);
      const lists = { slices: list(slices), blocks: list(blocksOf(slices)), positions: this.positions(some) };
      const { reach, width } = spans;
      const made = attentionPool(call, statistics, { ...lists, origin, span, columns, reach, width, most });
      return [made.read().then((data) => foldLanes(data as Float32Array, own, bins, spans, work))];
    });
  }

  async moments(batch: number, head: number, progress: Progress): Promise<Moments> {
    const p = this.problem;
    const rows = p.queryCounts[batch];
    const sums = [0, 1, 2].map(() => new Float64Array(rows));
    const own = this.origin(batch);
    const keys = [0, this.keyCount(batch)] as const;
    await this.each({ batch, head, rows: [0, rows], keys, bytes: 0 }, progress, (step) => {
      const made = attentionMoments(step.call, step.statistics, own + step.from - step.keys[0]);
      return [
        made.read().then((data) => {
          spanRows(data.length, step.call.Lq, 3, (at, t) => {
            for (let n = 0; n < 3; n++) sums[n][step.from + t] += data[at + 8 * n];
          });
        }),
      ];
    });
    const beyond = Math.abs(p.diagonal[batch] - own);
    const [entropy, distance] = [0, 1].map(() => new Float32Array(rows));
    for (let i = 0; i < rows; i++) {
      const sum = this.known.rowSum[statisticAt(p, batch, head, i)];
      const [mass, surprise, far] = sums.map((x) => x[i]);
      // −Σ (e/sum)·(score − rowMax − log sum)
      entropy[i] = mass === 0 ? 0 : Math.max(0, (Math.log(sum) * mass - surprise) / sum);
      distance[i] = mass === 0 ? 0 : far / mass + beyond;
    }
    return { entropy, distance };
  }

  async diagonal(batch: number, head: number, own: number, progress: Progress): Promise<Float32Array> {
    const rows = this.problem.queryCounts[batch];
    const out = new Float32Array(rows);
    const keys = [0, this.keyCount(batch)] as const;
    const bounded = Math.max(-FAR, Math.min(FAR, own));
    await this.each({ batch, head, rows: [0, rows], keys, bytes: 0 }, progress, (step) => {
      const { call, statistics, from } = step;
      const made = attentionDiagonal(call, statistics, bounded + from - step.keys[0]);
      return [
        made.read().then((data) => {
          // Each lies in one range of keys, and is 0 in the others.
          for (let t = 0; t < call.Lq; t++) out[from + t] += data[t];
        }),
      ];
    });
    return out;
  }

  async statisticsOf(batch: number, head: number, rows: Range, progress: Progress): Promise<Statistics> {
    await undefined;
    await this.learn(batch, head, rows, progress);
    return { known: this.known, problem: this.problem };
  }

  retain(): void {
    this.problem = retained(this.problem);
  }

  dispose(): void {
    this.ended = true;
    forget(this.engine, this);
  }

  /** The diagonal, within what the kernels count with. */
  private origin(batch: number): number {
    return Math.max(-FAR, Math.min(FAR, this.problem.diagonal[batch]));
  }

  /**
   * Runs `issue` on every part of a question, in order. What it makes in the engine is freed after each. `bare` parts
   * come without statistics.
   */
  private async each(
    cut: Cut,
    progress: Progress | undefined,
    issue: (step: Step) => Promise<void>[],
    bare = false,
  ): Promise<void> {
    // Nothing is issued in the caller's own turn, where an engine's scope may be open.
    await undefined;
    const { engine, problem: p } = this;
    const { batch, head, rows } = cut;
    const held = new KeyHolder(engine, p, false);
    const watch = progress ?? new Progress(1);
    /** The part before, which computes while the next is issued: an engine worker never waits for the page. */
    let before: { reads: Promise<unknown>; cells: number } | undefined;
    const settle = async () => {
      if (before === undefined) return;
      await watch.wait(before.reads);
      progress?.advance(before.cells);
    };
    try {
      for (const keys of this.keyParts(cut)) {
        for (const [from, to] of this.rowParts(cut, keys[1] - keys[0])) {
          const some = someOf(rows, from, to);
          await watch.next();
          if (!bare) await this.learn(batch, head, some, watch);
          // What was brought in may be given up for another map's while this waits for its turn.
          for (let wait = this.bring(batch, head, watch); wait; wait = this.bring(batch, head, watch))
            await wait;
          const reads = inScope(engine, () => {
            const call = this.call(batch, head, some, keys, held);
            const statistics = bare
              ? { rowMax: call.q.tensor, rowSum: call.q.tensor }
              : statisticsFor(engine, p, this.known, [batch, head], some);
            return issue({ call, statistics, from, rows: some, keys });
          });
          // Heard in its turn, unless the part before fails first.
          reads.catch(() => {});
          await settle();
          before = { reads, cells: (to - from) * (keys[1] - keys[0]) };
        }
      }
      await settle();
    } finally {
      held.dispose();
    }
  }

  /** Ranges of keys of a question: within the working budget, cells and results of 64 rows included. */
  private keyParts({ batch, rows, keys, bytes }: Cut): Range[] {
    const p = this.problem;
    const own = Math.min(CHUNK, countOf(rows));
    const perKey = bytes + own * bytesPerCell(p);
    let most = Math.min(WORK / (CHUNK * p.D), perKey > 0 ? budget.bytes / 2 / perKey : 2 ** 30);
    if (!this.resides(batch)) most = Math.min(most, budget.bytes / 2 / (4 * p.D));
    if (keys[0] === keys[1] || countOf(rows) === 0) return [];
    const whole = Math.max(CHUNK, Math.floor(most / CHUNK) * CHUNK);
    return split(keys[1] - keys[0], whole, CHUNK).map(([a, b]) => [keys[0] + a, keys[0] + b]);
  }

  /** Ranges of rows that go together through `keys` keys. */
  private rowParts({ rows, bytes, ends }: Cut, keys: number): Range[] {
    const p = this.problem;
    const perRow = keys * (bytesPerCell(p) + bytes / CHUNK) + 4 * p.D + 8;
    const most = Math.floor(Math.min(WORK / (keys * p.D), budget.bytes / 2 / perRow));
    const count = countOf(rows);
    if (ends === undefined) return split(count, Math.max(CHUNK, Math.floor(most / CHUNK) * CHUNK), CHUNK);
    const parts: Range[] = [];
    let from = 0;
    for (let n = 1; n < ends.length; n++) {
      if (n + 1 < ends.length && ends[n + 1] - from <= most) continue;
      parts.push([from, ends[n]]);
      from = ends[n];
    }
    return parts;
  }

  /** Computes those statistics of some rows that are not known yet, some rows at a time; what is known stays. */
  private async learn(batch: number, head: number, rows: Rows, progress: Progress): Promise<void> {
    const { known, problem: p } = this;
    const pair = [batch, head] as const;
    const [keys, watch] = [this.keyCount(batch), progress.aside()];
    await this.check(batch, head, watch);
    const fit = Math.floor(WORK / Math.max(1, keys * p.D) / CHUNK) * CHUNK;
    const most = this.resides(batch) ? Math.max(CHUNK, fit) : Math.max(MANY, fit);
    for (let t = 0; ; ) {
      t = nextMissing(known, p, pair, rows, t);
      if (t === countOf(rows)) return;
      // Another question may ask for the same rows.
      await this.learning.run(watch, () =>
        this.measure(batch, head, missingOf(known, p, pair, rows, t, most), watch, (...row) =>
          learn(known, p, ...row),
        ),
      );
    }
  }

  /** Compares given statistics of a head, once; throws where they are another's. */
  protected async check(batch: number, head: number, watch: Progress): Promise<void> {
    const { known, problem: p } = this;
    const pair = batch * p.H + head;
    const done = () => known.doubt?.compared.has(pair) !== false;
    if (done()) return;
    await this.learning.run(watch, async () => {
      if (done()) return;
      const rows = rowsToCompare(p.queryCounts[batch], this.keyCount(batch) * p.D);
      await this.measure(batch, head, rows, watch, (...row) => compare(known, p, ...row));
      known.doubt!.compared.add(pair);
    });
  }

  /** Computes the statistics of those heads of which some are not known yet. */
  private async measureTogether(batch: number, heads: number[], rows: Range, keys: Range): Promise<void> {
    const { engine, known, problem: p } = this;
    const lacking = heads.filter((head) => nextMissing(known, p, [batch, head], rows, 0) < countOf(rows));
    if (lacking.length === 0 || !this.atHand()) return;
    const size = statisticsSize({ Lq: rows[1], Lk: keys[1] });
    const held = new KeyHolder(engine, p, false);
    try {
      const [made] = await inScope(engine, () => {
        const out = engine.empty([lacking.length, size]);
        lacking.forEach((head, n) => {
          attentionStatistics(this.call(batch, head, rows, keys, held), undefined, out.rows(n, n + 1));
        });
        return [out.read()];
      });
      lacking.forEach((head, n) => {
        const measured = new Measured(rows[1]);
        measured.take((made as Float32Array).subarray(n * size, (n + 1) * size), 0, rows[1]);
        measured.forEach((t, max, sum) => {
          learn(known, p, [batch, head, t], max, sum);
        });
      });
    } finally {
      held.dispose();
    }
  }

  /** Statistics of some rows over their keys alone. */
  private async measure(
    batch: number,
    head: number,
    rows: Rows,
    watch: Progress,
    visit: (row: Row, max: number, sum: number) => void,
  ): Promise<void> {
    const made = new Measured(countOf(rows));
    const keys = [0, this.keyCount(batch)] as const;
    const issue = ({ call, from, rows: own }: Step) => [
      attentionStatistics(call, this.positions(own))
        .read()
        .then((data) => made.take(data as Float32Array, from, call.Lq)),
    ];
    await this.each({ batch, head, rows, keys, bytes: 0 }, watch, issue, true);
    made.forEach((t, max, sum) => {
      visit([batch, head, queryAt(rows, t)], max, sum);
    });
  }
}
