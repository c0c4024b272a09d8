// From a validated problem to a call of the kernels: copies host tensors into an engine, as float32 with the strides
// the problem tells. Knows what the kernels do not serve.
import type {
  AttentionProblem,
  CellTensor,
  Operand as HostOperand,
  RowLayout,
} from '../attention/problem.js';
import type { AttentionCall, Cells, Operand } from '../engine/ops/attention.js';
import type { Engine, Tensor } from '../engine/types.js';
import { type HostTensor, toFloat32 } from '../tensor/host.js';

/** Kernels clamp the diagonal to ±2^29, beyond every index; distances from it would come out wrong. */
const FAR = 2 ** 29;

/** Why the kernels do not serve a problem, or undefined where they do. */
export function unservedReason(p: AttentionProblem): string | undefined {
  const measured = p.alibi !== undefined || p.window[0] >= 0 || p.window[1] >= 0;
  if (measured && p.diagonal.some((o) => Math.abs(o) >= FAR)) {
    return `a diagonal beyond ±2^29 together with ${p.alibi ? 'alibi' : 'window'}`;
  }
  return undefined;
}

/** Uploads everything the kernels read. `values: false` leaves v out, for calls that only weigh. */
export function uploadCall(engine: Engine, p: AttentionProblem, { values = true } = {}): AttentionCall {
  const q = uploadRows(engine, p, p.q);
  const k = uploadRows(engine, p, p.k);
  const { B, H, Hkv, Lq, Lk, D, Dv, scale, softcap, causal, window } = p;
  return {
    ...{ B, H, Hkv, Lq, Lk, D, Dv, scale, softcap, causal, window },
    q,
    k,
    v: values ? uploadRows(engine, p, p.v) : k,
    offset: uploadDiagonal(engine, p),
    keyLengths: p.keyLengths && engine.tensor(p.keyLengths, [B]),
    mask: p.mask && uploadCells(engine, p, p.mask, p.mask.tensor.data as Uint8Array),
    bias: p.bias && uploadCells(engine, p, p.bias, biasNumbers(p.bias.tensor)),
    alibi: p.alibi && {
      tensor: engine.tensor(toFloat32(p.alibi.tensor), p.alibi.tensor.shape),
      batch: p.alibi.batch,
      head: 1,
    },
    sinks: p.sinks && engine.tensor(toFloat32(p.sinks), [H]),
    dropout: uploadDropout(engine, p),
    packed: p.packed && {
      q: engine.tensor(p.packed.q, [p.packed.q.length]),
      k: engine.tensor(p.packed.k, [p.packed.k.length]),
    },
  };
}

/** Strides of a tensor that lies as `rows` says. */
export function operandOf(tensor: Tensor, rows: RowLayout): Operand {
  return { tensor, offset: 0, batch: rows.batch ?? 0, head: rows.head, row: rows.row };
}

/**
 * Whether no single batch stride reaches every batch entry, as when one of several leading dimensions broadcasts. The
 * kernels then see a copy with a block per batch entry.
 */
export function needsCopies(p: AttentionProblem, rows: RowLayout): boolean {
  return rows.batch === undefined && p.packed === undefined;
}

/** Elements of one entry of a tensor's batch: its last three dimensions. */
export function blockSize(tensor: HostTensor): number {
  return tensor.shape.slice(-3).reduce((a, n) => a * n, 1);
}

function uploadRows(engine: Engine, p: AttentionProblem, operand: HostOperand): Operand {
  const data = toFloat32(operand.tensor);
  if (!needsCopies(p, operand)) return operandOf(engine.tensor(data, operand.shape), operand);
  const block = blockSize(operand.tensor);
  const copies = spread(data, operand.offsets, block);
  const tensor = engine.tensor(copies, [p.B, block]);
  return { tensor, offset: 0, batch: block, head: operand.head, row: operand.row };
}

function uploadCells(
  engine: Engine,
  p: AttentionProblem,
  cells: CellTensor,
  data: Float32Array | Uint8Array,
): Cells {
  const { head, query, key } = cells;
  if (cells.batch !== undefined) {
    return { tensor: engine.tensor(data, cells.tensor.shape), strides: [cells.batch, head, query, key] };
  }
  const block = blockSize(cells.tensor);
  const tensor = engine.tensor(spread(data, cells.offsets, block), [p.B, block]);
  return { tensor, strides: [block, head, query, key] };
}

/** One block per batch entry, from where each lies. */
function spread<T extends Float32Array | Uint8Array>(data: T, offsets: Float64Array, block: number): T {
  const size = offsets.length * block;
  const out = (data.BYTES_PER_ELEMENT === 1 ? new Uint8Array(size) : new Float32Array(size)) as T;
  offsets.forEach((at, b) => {
    out.set(data.subarray(at, at + block), b * block);
  });
  return out;
}

/** Sums blocks, one per batch entry, back to where each came from. */
export function gather(
  blocks: Float32Array,
  offsets: Float64Array,
  block: number,
  size: number,
): Float32Array {
  const out = new Float64Array(size);
  offsets.forEach((at, b) => {
    for (let n = 0; n < block; n++) out[at + n] += blocks[b * block + n];
  });
  return new Float32Array(out);
}

/** As large as a finite bias may be: the kernels use the lowest float32 as their sign of −∞. */
const MOST_BIAS = 3.3e38;

/**
 * Float32 numbers of a bias. Finite ones stay finite and above the lowest float32, which models often write for
 * "forbidden": −∞ alone forbids here, and a row of nothing but such numbers has even weights.
 */
function biasNumbers(tensor: HostTensor): Float32Array {
  const numbers = toFloat32(tensor);
  const exact = tensor.dtype === 'float64' ? (tensor.data as Float64Array) : numbers;
  const beyond = (x: number) => Math.abs(x) > MOST_BIAS && Number.isFinite(x);
  let own = numbers === exact ? undefined : numbers;
  for (let n = 0; n < exact.length; n++) {
    if (!beyond(exact[n])) continue;
    own ??= numbers.slice();
    own[n] = Math.sign(exact[n]) * MOST_BIAS;
  }
  return own ?? numbers;
}

function uploadDiagonal(engine: Engine, p: AttentionProblem): number | Tensor {
  const { diagonal } = p;
  if (!p.usesDiagonal || diagonal.length === 0) return 0;
  const same = diagonal.every((o) => o === diagonal[0]);
  return same ? diagonal[0] : engine.tensor(diagonal, [diagonal.length]);
}

function uploadDropout(engine: Engine, p: AttentionProblem): AttentionCall['dropout'] {
  if (p.dropout === undefined) return undefined;
  if ('seed' in p.dropout) return p.dropout;
  const { rate, keep } = p.dropout;
  return { rate, keep: uploadCells(engine, p, keep, keep.tensor.data as Uint8Array) };
}
