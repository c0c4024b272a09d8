// Weights of a q and k that lie in a file: they go piece by piece into the engine, where they stay between questions,
// and nowhere else.
import { type AttentionProblem, keyHead } from '../attention/problem.js';
import type { Operand } from '../engine/ops/attention.js';
import { gatherRows } from '../engine/ops/embedding.js';
import type { Engine, Tensor } from '../engine/types.js';
import type { KeyRows } from './call.js';
import { HeldHeads, shelf } from './held-heads.js';
import type { Known } from './known.js';
import { Lock } from './lock.js';
import type { Range } from './parts.js';
import { Progress, type Watch } from './progress.js';
import type { Rows } from './weight-source.js';
import { KernelWeights } from './weights.js';

/** Gives numbers [from, to) of a tensor, piece by piece in order, as float32; each piece is the visitor's to keep. */
export type Stream = (
  from: number,
  to: number,
  visit: (piece: Float32Array) => Promise<void>,
) => Promise<void>;

/** q [H,Lq,D] and k [Hkv,Lk,D], to be read. */
export interface Streams {
  readonly q: Stream;
  readonly k: Stream;
}

type Part = 'q' | 'k';

export class HeldWeights extends KernelWeights {
  private readonly heads: HeldHeads;
  private readonly reading = new Lock();
  /** Whether all heads are kept together, or one by one as they are asked for. */
  private readonly whole: boolean;
  private loaded = false;

  constructor(
    engine: Engine,
    problem: AttentionProblem,
    known: Known,
    private readonly streams: Streams,
  ) {
    super(engine, problem, known);
    this.heads = new HeldHeads(engine);
    this.whole = 4 * this.size('q') + 4 * this.size('k') <= shelf.bytes;
  }

  /**
   * Reads q and k, once, and compares given statistics; nothing where there is more than an engine keeps. Rejects with
   * FileFormatError, LimitError, and the signal's reason.
   */
  async load(watch: Watch): Promise<void> {
    const progress = new Progress(this.size('q') + this.size('k'), watch);
    await this.reading.run(progress, async () => {
      if (this.loaded || !this.whole) return;
      try {
        await this.readBoth(0, 0, progress);
        this.loaded = true;
      } catch (error) {
        if (!watch.signal?.aborted) this.heads.clear();
        throw error;
      }
    });
    if (!this.loaded) return;
    // Not left to the first picture. A head that fails says so whenever it is asked for; others are answered.
    for (let head = 0; head < this.problem.H; head++)
      await this.check(0, head, progress.aside()).catch(() => watch.signal?.throwIfAborted());
  }

  protected override bring(_batch: number, head: number, progress: Progress): Promise<void> | undefined {
    const own = keyHead(this.problem, head);
    const [q, k] = [this.heads.find(this.name('q', head)), this.heads.find(this.name('k', own))];
    if (q && k) return undefined;
    const watch = progress.aside();
    return this.reading.run(watch, () => this.readBoth(head, own, watch));
  }

  private async readBoth(head: number, own: number, progress: Progress): Promise<void> {
    const [q, k] = [this.name('q', head), this.name('k', own)];
    const bytes = 4 * this.count('q') + 4 * this.count('k');
    await this.heads.reserve([q, k], bytes, progress, async () => {
      await this.read('q', head, progress);
      await this.read('k', own, progress);
    });
  }

  /** Brings in what holds a head, unless it is there. */
  private async read(part: Part, head: number, progress: Progress): Promise<void> {
    const { D } = this.problem;
    const [name, count] = [this.name(part, head), this.count(part)];
    const from = this.whole ? 0 : head * count;
    if (this.heads.find(name)) return progress.advance(count);
    await this.heads.add(name, [count / D, D], async (tensor) => {
      let at = 0;
      await this.streams[part](from, from + count, async (piece) => {
        await progress.next();
        tensor.write(piece, at);
        at += piece.length;
        // A page's engine worker has taken a piece before the next is read.
        await progress.wait(this.engine.finish());
        progress.advance(piece.length);
      });
    });
  }

  private rows(part: Part): number {
    return part === 'q' ? this.problem.Lq : this.problem.Lk;
  }

  private size(part: Part): number {
    const { H, Hkv, D } = this.problem;
    return (part === 'q' ? H : Hkv) * this.rows(part) * D;
  }

  /** Numbers that are kept together. */
  private count(part: Part): number {
    return this.whole ? this.size(part) : this.rows(part) * this.problem.D;
  }

  private name(part: Part, head: number): string {
    return this.whole ? part : part + head;
  }

  /** What holds a head, and its first row there. */
  private held(part: Part, head: number): [tensor: Tensor, first: number] {
    return [this.heads.find(this.name(part, head))!, this.whole ? head * this.rows(part) : 0];
  }

  protected override atHand(): boolean {
    return this.whole && [this.name('q', 0), this.name('k', 0)].every((name) => this.heads.find(name));
  }

  protected override resides(): boolean {
    return true;
  }

  protected override keys(_batch: number, own: number, [from]: Range): KeyRows {
    const [tensor, first] = this.held('k', own);
    const k = rowsOf(tensor, first + from);
    return { k, v: k };
  }

  protected override queries(_batch: number, head: number, rows: Rows): Operand {
    const [tensor, first] = this.held('q', head);
    if (!(rows instanceof Int32Array)) return rowsOf(tensor, first + rows[0]);
    const index = this.engine.tensor(
      rows.map((i) => i + first),
      [rows.length],
    );
    return rowsOf(gatherRows(tensor, index), 0);
  }

  /** The file is its own. */
  override retain(): void {}

  override dispose(): void {
    super.dispose();
    this.heads.dispose();
  }
}

function rowsOf(tensor: Tensor, from: number): Operand {
  const [, D] = tensor.shape;
  return { tensor, offset: from * D, batch: 0, head: 0, row: D };
}
