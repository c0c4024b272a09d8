// From a part of a question to a map to a call of the kernels: its keys, its queries and what cells it has, as they lie in
// the engine, where they are brought in unless they stay there.
import { type AttentionProblem, type CellTensor, keyHead } from '../attention/problem.js';
import type { AttentionCall, Cells, Operand } from '../engine/ops/attention.js';
import type { Engine, Tensor } from '../engine/types.js';
import { type Box, upload } from './boxes.js';
import { type KeyHolder, type KeyRows, uploadPiece } from './call.js';
import type { Known } from './known.js';
import type { Progress } from './progress.js';
import { residentKeys, staysResident } from './resident.js';
import { weighing } from './retained.js';
import type { Range, Rows } from './weight-source.js';

export class WeightCalls {
  protected problem: AttentionProblem;
  /** A question that was under way when the map was disposed leaves no keys in the engine. */
  protected ended = false;

  constructor(
    protected readonly engine: Engine,
    problem: AttentionProblem,
    protected known: Known,
  ) {
    this.problem = weighing(problem);
  }

  protected keyCount(batch: number): number {
    return this.problem.packed ? this.problem.keyCounts[batch] : this.problem.Lk;
  }

  /** Whether a question to any head can be issued as it is. */
  protected atHand(): boolean {
    return true;
  }

  /** The call of one (batch, head) with some rows and keys. */
  protected call(batch: number, head: number, rows: Rows, keys: Range, held: KeyHolder): AttentionCall {
    const { engine, problem: p } = this;
    const own = keyHead(p, head);
    const q = this.queries(batch, head, rows);
    const pair = { batches: [batch, batch + 1], heads: [head, head + 1], keyHeads: [own, own + 1] } as const;
    const kv = this.keys(batch, own, keys) ?? held.of({ ...pair, rows: [0, 0], keys });
    if (!(rows instanceof Int32Array)) {
      return uploadPiece(engine, p, { ...pair, rows, keys }, { ...kv, q }, { sinks: false });
    }
    const call = uploadPiece(engine, p, { ...pair, rows: [0, 0], keys }, { ...kv, q }, { sinks: false });
    const cells = (x: CellTensor | undefined, plain: Cells | undefined, bias: boolean) =>
      x?.query ? this.scattered(x, batch, head, rows, keys, bias) : plain;
    return {
      ...call,
      Lq: rows.length,
      mask: cells(p.mask, call.mask, false),
      bias: cells(p.bias, call.bias, true),
    };
  }

  /** Whether all keys of a head lie in the engine. */
  protected resides(batch: number): boolean {
    return staysResident(this.problem, this.keyCount(batch));
  }

  /** Keys from `from` on of one key head, where they lie in the engine. */
  protected keys(batch: number, own: number, [from]: Range): KeyRows | undefined {
    const { engine, problem: p } = this;
    if (this.ended || !this.resides(batch)) return undefined;
    const k = residentKeys(engine, this, p, batch, own, this.keyCount(batch));
    const view = { ...k, offset: k.offset + from * k.row };
    return { k: view, v: view };
  }

  /** Brings in, before each part, what it needs; undefined where all of it is at hand. */
  protected bring(_batch: number, _head: number, _watch: Progress): Promise<void> | undefined {
    return undefined;
  }

  /** Some rows of a query head; undefined: a range as it lies in the caller's arrays. */
  protected queries(batch: number, head: number, rows: Rows): Operand | undefined {
    if (!(rows instanceof Int32Array)) return undefined;
    const { engine, problem: p } = this;
    const { offsets, head: byHead, row, tensor } = p.q;
    const starts = Array.from(rows, (i) => offsets[batch] + head * byHead + i * row);
    const made = upload(engine, tensor, { starts, dimensions: [[p.D, 1]] });
    return { tensor: made, offset: 0, batch: 0, head: 0, row: p.D };
  }

  private scattered(
    x: CellTensor,
    batch: number,
    head: number,
    rows: Int32Array,
    keys: Range,
    bias: boolean,
  ): Cells {
    const first = x.offsets[batch] + head * x.head + keys[0] * x.key;
    const width = x.key === 0 ? 1 : keys[1] - keys[0];
    const box: Box = { starts: Array.from(rows, (i) => first + i * x.query), dimensions: [[width, x.key]] };
    return { tensor: upload(this.engine, x.tensor, box, { bias }), strides: [0, 0, width, +(x.key !== 0)] };
  }

  protected positions(rows: Rows): Tensor | undefined {
    return rows instanceof Int32Array ? this.engine.tensor(rows, [rows.length]) : undefined;
  }
}
