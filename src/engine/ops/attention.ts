// Attention over engine tensors: describes the call to the kernels, allocates results, chooses parts. It serves every
// option, both layouts, packed sequences, projections stored side by side and broadcasts, by strides: nothing is
// copied. Not differentiable. Legend: B batch, H heads, Hkv key heads, Lq, Lk lengths, D, Dv widths.
import type { KernelArguments } from '../../kernels/cpu/registry.js';
import { OptionError, ShapeError } from '../../tensor/errors.js';
import type { Engine, Tensor } from '../types.js';
import {
  type AttentionCall,
  type AttentionDropout,
  type AttentionStatistics,
  type Cells,
  callSlots,
  type Operand,
  type Strided,
  strided,
} from './attention-call.js';

export type { AttentionCall, AttentionDropout, AttentionStatistics, Cells, Operand };

export interface AttentionResult extends AttentionStatistics {
  /** [B,H,Lq,Dv], or [B,Lq,H,Dv] where q's heads lie within its rows; packed [Tq,H,Dv]. */
  output: Tensor;
  /** rowMax + log(rowSum); an empty row has the sink, or −∞. */
  logSumExp: Tensor;
}

export interface AttentionWants {
  /** Where gradients go, overwritten; a batch stride of 0 sums over the batch, as its operand's does. */
  dq?: Operand;
  dk?: Operand;
  dv?: Operand;
  dBias?: boolean;
  dSinks?: boolean;
  /** Upstream gradient of logSumExp, laid out like it. */
  dLogSumExp?: Tensor;
  /** Output and statistics are of more keys than the call's: merged from several calls, of which this is one. */
  merged?: boolean;
}

export interface AttentionGradients {
  /** Of bias.tensor's shape and strides. */
  dBias?: Tensor;
  /** [H] */
  dSinks?: Tensor;
}

/** Query rows, and keys, that the kernels take at once (assembly/attention-state.ts). */
const BLOCK = 64;
/** A part should outlast its dispatch: about so many multiplications. */
const PART_WORK = 1 << 19;
/** In the forward twice as many: chunks of rows that one thread takes in a row find their keys in its cache. */
const FORWARD_WORK = 1 << 20;
const MAXIMUM_PARTS = 1024;
/** The most pieces of keys whose sums make dq (assembly/attention-gradients.ts). */
const PIECES = 8;
/** With fewer owners than this, pieces are computed apart, unless their sums would take more bytes than this. */
const FEW_OWNERS = 8;
const PARTIAL_BYTES = 2 ** 28;

/**
 * Attends. `output` says where results go; without it they are allocated in q's layout. `meanwhile` is the engine's: called
 * once, while threads compute.
 */
export function attentionForward(
  call: AttentionCall,
  output?: Operand,
  meanwhile?: () => void,
): AttentionResult {
  check(call);
  const engine = call.q.tensor.engine;
  const statistic = () => engine.empty(statisticsShape(call));
  const made = output ? undefined : engine.empty(outputShape(call));
  const target = output ?? outputOperand(call, made!);
  const [rowMax, rowSum, logSumExp] = [statistic(), statistic(), statistic()];
  const result = { output: target.tensor, rowMax, rowSum, logSumExp };
  const units = call.B * call.H * Math.ceil(call.Lq / BLOCK);
  const work = Math.min(call.Lq, BLOCK) * call.Lk * (call.D + call.Dv);
  const perPart = unitsPerPart(units, work, FORWARD_WORK);
  if (units > 0) {
    const slots = { ...callSlots(call, result, perPart, logSumExp), ...strided('output', target) };
    engine.run('attentionForward', slots, Math.ceil(units / perPart), meanwhile);
  } else meanwhile?.();
  return result;
}

/** [B,H,Lq,Dv], [B,Lq,H,Dv] or [Tq,H,Dv]: the shape attentionForward allocates. */
export function outputShape(call: AttentionCall): number[] {
  if (call.packed) return [packedRows(call), call.H, call.Dv];
  return rowsOutside(call) ? [call.B, call.Lq, call.H, call.Dv] : [call.B, call.H, call.Lq, call.Dv];
}

/** Strides of a contiguous tensor of outputShape. */
export function outputOperand(call: AttentionCall, tensor: Tensor): Operand {
  const { H, Lq, Dv } = call;
  const batch = H * Lq * Dv;
  return rowsOutside(call)
    ? { tensor, offset: 0, batch, head: Dv, row: H * Dv }
    : { tensor, offset: 0, batch, head: Lq * Dv, row: Dv };
}

/** Heads side by side in each row (layout blhd, or packed). */
function rowsOutside(call: AttentionCall): boolean {
  return call.packed !== undefined || call.q.head < call.q.row;
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, n) => a * n, 1);

function packedRows({ q }: AttentionCall): number {
  return q.row === 0 ? 0 : Math.ceil((q.tensor.size - q.offset) / q.row);
}

function statisticsShape(call: AttentionCall): number[] {
  return call.packed ? [packedRows(call), call.H] : [call.B, call.H, call.Lq];
}

/**
 * Gradients from `output` and `stats` as the forward gave them and dOutput, an Operand or a tensor of outputShape.
 * The kernels recompute the weights; dBias and dSinks are allocated here.
 */
export function attentionBackward(
  call: AttentionCall,
  output: Tensor | Operand,
  dOutput: Tensor | Operand,
  stats: AttentionStatistics,
  wants: AttentionWants,
): AttentionGradients {
  check(call);
  const engine = call.q.tensor.engine;
  const o = 'offset' in output ? output : outputOperand(call, output);
  const dO = 'offset' in dOutput ? dOutput : outputOperand(call, dOutput);
  const delta = engine.empty(statisticsShape(call));
  const base = {
    ...callSlots(call, stats, 1),
    ...strided('output', o),
    ...strided('dOutput', dO),
    delta: delta.pointer,
    dLogSumExp: wants.dLogSumExp?.pointer ?? 0,
  };
  const { dq, dk, dv } = wants;
  // Rows whose keys all lie within one block sum delta on the spot.
  if (call.Lk > BLOCK || wants.merged) rowDeltas(engine, call, base);
  if (dq || dk || dv) inputGradients(engine, call, base, wants);
  const result: AttentionGradients = {};
  if (wants.dBias && call.bias) result.dBias = biasGradient(engine, call, base, !wants.merged);
  if (wants.dSinks && call.sinks) {
    result.dSinks = engine.empty([call.H]);
    engine.run('attentionSinks', { ...base, dSinks: result.dSinks.pointer }, call.H);
  }
  delta.dispose();
  return result;
}

type Base = ReturnType<typeof callSlots> &
  Strided<'output'> &
  Strided<'dOutput'> & { delta: number; dLogSumExp: number };

function rowDeltas(engine: Engine, call: AttentionCall, base: Base): void {
  const units = call.B * call.H * Math.ceil(call.Lq / BLOCK);
  if (units === 0) return;
  const perPart = unitsPerPart(units, Math.min(call.Lq, BLOCK) * call.Dv * 4);
  engine.run('attentionDelta', { ...base, perPart }, Math.ceil(units / perPart));
}

/** What one owner of dk and dv runs through: the batch entries that share k or v, and a key head's query heads. */
function shares({ B, H, Hkv, k, v, packed }: AttentionCall): { batches: number; heads: number } {
  const broadcast = B > 1 && !packed && (k.batch === 0 || v.batch === 0);
  return { batches: broadcast ? B : 1, heads: H / Hkv };
}

/** How an owner's work is split, and where pieces of dq are kept meanwhile: from shapes alone. */
function splitPieces(call: AttentionCall, owners: number, wantQ: boolean) {
  const tiles = Math.max(1, Math.ceil(call.Lk / BLOCK));
  const perPiece = Math.ceil(tiles / PIECES);
  const pieces = Math.ceil(tiles / perPiece);
  const rows = sizeOf(statisticsShape(call));
  const pieceBytes = rows * call.D * 4;
  const apart = owners < FEW_OWNERS && (!wantQ || (pieces - 1) * pieceBytes <= PARTIAL_BYTES);
  const kept = apart ? pieces - 1 : +(perPiece > 1);
  const partials = wantQ && kept > 0 ? call.q.tensor.engine.empty([kept, rows, call.D]) : undefined;
  return { units: apart ? pieces : 1, partials, pieceBytes: apart ? pieceBytes : 0 };
}

function inputGradients(engine: Engine, call: AttentionCall, base: Base, wants: AttentionWants): void {
  const { B, H, Hkv, Lq, Lk, D, Dv } = call;
  const { dq, dk, dv } = wants;
  const { batches, heads } = shares(call);
  const owners = (B / batches) * Hkv;
  if (owners === 0 || H === 0) return;
  const { units, partials, pieceBytes } = splitPieces(call, owners, dq !== undefined);
  const pieces = { ...base, ...strided('dq', dq), partials: partials?.pointer ?? 0, pieceBytes };
  const perPart = unitsPerPart(owners * units, batches * heads * Lq * (Lk / units) * (3 * D + 2 * Dv));
  const slots = {
    ...pieces,
    ...strided('dk', dk),
    ...strided('dv', dv),
    dBias: 0,
    ...{ batches, heads, units, perPart, ownDelta: +!wants.merged },
  };
  engine.run(
    'attentionBackward',
    slots as KernelArguments<'attentionBackward'>,
    Math.ceil((owners * units) / perPart),
  );
  if (partials && units > 1) {
    const chunks = B * H * Math.ceil(Lq / BLOCK);
    const perGather = unitsPerPart(chunks, Math.min(Lq, BLOCK) * D * units);
    engine.run('attentionGather', { ...pieces, perPart: perGather }, Math.ceil(chunks / perGather));
  }
  partials?.dispose();
}

/**
 * One part per (batch, head) of the bias, which runs through those it is broadcast to. Where rows or keys share its numbers,
 * sums are long and made in float64.
 */
function biasGradient(engine: Engine, call: AttentionCall, base: Base, ownDelta: boolean): Tensor {
  const bias = call.bias!;
  const dBias = engine.zeros(bias.tensor.shape);
  const [batchStride, headStride, rowStride, keyStride] = bias.strides;
  const batches = batchStride === 0 ? call.B : 1;
  const heads = headStride === 0 ? call.H : 1;
  if (call.B === 0 || call.H === 0) return dBias;
  const parts = (call.B / batches) * (call.H / heads);
  const offset = bias.offset ?? 0;
  const own = { ...base, dBias: dBias.pointer + offset * 4, batches, heads, ownDelta: +ownDelta };
  if (rowStride === 0 || keyStride === 0) {
    const sums = engine.zeros([bias.tensor.size, 2]);
    engine.run('attentionBias', { ...own, sums: sums.pointer + offset * 8 }, parts);
    sums.dispose();
    return dBias;
  }
  const none = { ...strided('dq'), ...strided('dk'), ...strided('dv') };
  const slots = { ...own, ...none, units: 1, partials: 0, pieceBytes: 0 };
  engine.run('attentionBackward', slots as KernelArguments<'attentionBackward'>, parts);
  return dBias;
}

/**
 * Weights [b − a, d − c] of queries [a,b) and keys [c,d) of one (batch, head): exp(score − rowMax)/rowSum, before
 * dropout, 0 where forbidden. Packed: indices are within sequence `batch`.
 */
export function attentionWeights(
  call: AttentionCall,
  stats: AttentionStatistics,
  batch: number,
  head: number,
  queries: readonly [number, number],
  keys: readonly [number, number],
): Tensor {
  check(call);
  const { B, H, Lq, Lk } = call;
  within('batch', batch, B);
  within('head', head, H);
  const [from, to] = range('queries', queries, Lq);
  const [first, last] = range('keys', keys, Lk);
  const engine = call.q.tensor.engine;
  const out = engine.empty([to - from, last - first]);
  if (out.size > 0) {
    const slots = { ...callSlots(call, stats, 1), out: out.pointer, batch, head, from, to, first, last };
    engine.run('attentionWeights', slots, Math.ceil((to - from) / BLOCK));
  }
  return out;
}

function within(name: string, value: number, end: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value < end)) {
    throw new OptionError(`attentionWeights: ${name} ${value} is not in [0, ${end})`);
  }
}

function range(name: string, [from, to]: readonly [number, number], end: number): readonly [number, number] {
  if (!(Number.isInteger(from) && Number.isInteger(to) && from >= 0 && from <= to && to <= end)) {
    throw new OptionError(`attentionWeights: ${name} [${from}, ${to}) are not within [0, ${end})`);
  }
  return [from, to];
}

function check({ q, k, v, H, Hkv, D, Dv }: AttentionCall): void {
  for (const [name, width] of [['D', D] as const, ['Dv', Dv] as const]) {
    if (!(width >= 1 && width <= 512))
      throw new ShapeError(`attention: ${name} is ${width}, expected 1 to 512`);
  }
  if (H > 0 && (Hkv === 0 || H % Hkv !== 0)) {
    throw new ShapeError(`attention: q has ${H} heads, not a multiple of k's ${Hkv}`);
  }
  for (const [name, { tensor }] of Object.entries({ q, k, v })) {
    if (tensor.dtype !== 'float32')
      throw new ShapeError(`attention: ${name} is ${tensor.dtype}, expected float32`);
  }
}

/** Units per part: enough work to repay a dispatch, and parts enough for threads to share evenly. */
function unitsPerPart(units: number, work: number, least = PART_WORK): number {
  const enough = Math.ceil(least / work);
  return Math.max(1, Math.min(enough, Math.ceil(units / 8)), Math.ceil(units / MAXIMUM_PARTS));
}
