// A trace: the attention of one run of a model, by name, with the texts it stands on; and its file format, `fovea-trace`
// (docs/trace-format.md). It holds q, k and row statistics, or the file they lie in: weights are computed on demand.
import type { AttentionOptions } from '../attention/options.js';
import { type RowStatistics, recallStatistics } from '../attention/statistics.js';
import type { Engine } from '../engine/types.js';
import { bytesPerElement } from '../tensor/dtype.js';
import { EngineError, FileFormatError, FoveaError, OptionError } from '../tensor/errors.js';
import { type HostTensor, sizeOf, type TensorLike } from '../tensor/host.js';
import { serializeSafetensors } from '../tensor/safetensors.js';
import type { AttentionMap } from './attention-map.js';
import { type AttentionMapOptions, mapOf, streamedMap } from './map-of.js';
import { Progress, type Watch } from './progress.js';
import { type ByteSource, type OpenBytes, openBytes } from './random-access.js';
import { readTraceFile } from './trace-file.js';
import {
  type EntryDescription,
  type ErrorMaker,
  formatTraceDescription,
  type PLAIN_OPTIONS,
  type PlainOptions,
  readDescription,
  type TokenText,
  type TraceDescription,
} from './trace-format.js';
import { type Numbers, wrongNumber } from './trace-numbers.js';
import {
  attentionOptions,
  checkParts,
  heldPart,
  PARTS,
  type PartName,
  type Parts,
  TENSOR_OPTIONS,
  type TracePart,
} from './trace-parts.js';

export type { TokenText };

/** Options of a traced attention: those that its weights depend on, of one batch entry. */
export type TraceOptions = Pick<
  AttentionOptions,
  (typeof PLAIN_OPTIONS)[number] | (typeof TENSOR_OPTIONS)[number]
>;

/** One attention, as it goes into a trace. */
export interface TraceInput {
  /** As `decoder.0.crossAttention`. */
  readonly name: string;
  /** Names of the texts that queries and keys stand on. */
  readonly queries?: string;
  readonly keys?: string;
  /** The text whose token t query t leads to: a decoder's next tokens. */
  readonly predicts?: string;
  /** [H,Lq,D] */
  readonly q: TensorLike;
  /** [Hkv,Lk,D] */
  readonly k: TensorLike;
  readonly options?: TraceOptions;
  /** [H,Lq], as attention() returns it (its own array carries more digits than a copy), or float64. */
  readonly logSumExp?: TensorLike;
  /** [Hkv,Lk,Dv], and the projection [E,H·Dv] that follows (torch's `out_proj.weight`): for value-weighted norms. */
  readonly v?: TensorLike;
  readonly projection?: TensorLike;
}

/** What norms of value-weighted attention need: v [H,Lk,Dv], one per query head, and projection [E,H·Dv]. */
export interface TraceValues {
  readonly v: HostTensor;
  readonly projection: HostTensor;
}

/** What the entries of a trace share. */
interface Context {
  readonly engine: Engine | undefined;
  /** Makes what is thrown for what is wrong. */
  readonly error: ErrorMaker;
}

const wrongCall: ErrorMaker = (message) => new OptionError(`trace: ${message}`);
const wrongFile: ErrorMaker = (message) => new FileFormatError(`trace: ${message}`);

/** One attention of a trace. */
export class TraceEntry implements EntryDescription {
  readonly name: string;
  readonly queries?: string;
  readonly keys?: string;
  readonly predicts?: string;
  /** Without those that are tensors. */
  readonly options: PlainOptions;
  readonly shape: readonly [H: number, Lq: number, Lk: number];
  readonly D: number;
  /** @internal */
  readonly parts: Parts;
  #making: Promise<AttentionMap> | undefined;
  #map: AttentionMap | undefined;
  /** Reads q and k of a file. */
  #load: ((watch: Watch) => Promise<void>) | undefined;
  #disposed = false;
  readonly #engine: Engine | undefined;
  /** Makes what is thrown of a logSumExp that is another's. */
  readonly #error: ErrorMaker;

  /** @internal */
  constructor(description: EntryDescription, parts: Parts, { engine, error }: Context) {
    const { name, queries, keys, predicts, options } = description;
    Object.assign(this, { queries, keys, predicts });
    this.name = name;
    this.options = options;
    this.parts = parts;
    this.#engine = engine;
    this.#error = (message) => error(`${name}: ${message}`);
    ({ shape: this.shape, D: this.D } = checkParts(description, parts));
  }

  /**
   * The map of its weights, of shape [1,H,Lq,Lk], made at the first call; the trace disposes it. q and k of a file go
   * into the engine meanwhile, piece by piece, and are held nowhere else; heads beyond the 1 GiB that an engine keeps of
   * all traces are read when a question needs them. Rejects with FileFormatError where the file's numbers are not legal (and
   * so does a question to a head whose logSumExp does not belong to its q and k), LimitError where the engine has no room, the
   * signal's reason (a later call goes on), EngineError after `dispose`.
   */
  async map(watch: Watch = {}): Promise<AttentionMap> {
    this.#live();
    watch.signal?.throwIfAborted();
    this.#making ??= this.#make().catch((error) => {
      this.#making = undefined;
      throw error;
    });
    const map = await this.#making;
    await this.#load?.(watch);
    this.#live();
    return map;
  }

  /** What valueWeightedNorms takes, or undefined where the trace has none. */
  async values(): Promise<TraceValues | undefined> {
    this.#live();
    const [v, projection] = [await this.read('v'), await this.read('projection')];
    return v && projection && { v: forQueryHeads(v, this.shape[0]), projection };
  }

  /** @internal */
  async read(part: PartName, progress?: Progress): Promise<HostTensor | undefined> {
    return this.parts[part]?.read(progress);
  }

  async #make(): Promise<AttentionMap> {
    const options: Record<string, unknown> = { ...attentionOptions(this.options) };
    for (const name of TENSOR_OPTIONS) if (this.parts[name]) options[name] = await this.read(name);
    const rows = this.parts.logSumExp;
    // Two bytes tell too little: as good as none.
    const logSumExp = rows && bytesPerElement(rows.dtype) > 2 ? await rows.read() : undefined;
    const map = await this.#mapOf({ ...options, engine: this.#engine, logSumExp });
    if (this.#disposed) map.dispose();
    this.#live();
    this.#map = map;
    return map;
  }

  async #mapOf(call: AttentionMapOptions): Promise<AttentionMap> {
    const [q, k] = [this.parts.q!, this.parts.k!];
    if (q.stream === undefined || k.stream === undefined) {
      return mapOf(await q.read(), await k.read(), call, this.#error);
    }
    const streams = { q: q.stream, k: k.stream };
    const { map, load } = await streamedMap([q.shape, k.shape], streams, call, this.#error);
    this.#load = load;
    return map;
  }

  #live(): void {
    if (this.#disposed) throw new EngineError(`trace: ${this.name} used after its trace was disposed`);
  }

  /** @internal */
  dispose(): void {
    this.#disposed = true;
    this.#map?.dispose();
  }
}

/** v of each query head's key head. */
function forQueryHeads(v: HostTensor, H: number): HostTensor {
  const [Hkv, Lk, Dv] = v.shape;
  if (Hkv === H) return v;
  const size = Lk * Dv;
  const data = new (v.data.constructor as Float32ArrayConstructor)(H * size);
  for (let h = 0; h < H; h++) {
    const from = Math.floor((h * Hkv) / H) * size;
    data.set((v.data as Float32Array).subarray(from, from + size), h * size);
  }
  return { dtype: v.dtype, shape: [H, Lk, Dv], data } as HostTensor;
}

/** Attention of one run, by name. Dispose it: it may hold a file open, and memory in the engine. */
export class Trace implements TraceDescription {
  /** What computed it, in words. */
  readonly model?: string;
  readonly texts: Readonly<Record<string, TokenText>>;
  readonly entries: readonly TraceEntry[];
  readonly #close: () => void;

  /** @internal */
  constructor(
    { model, texts, entries }: TraceDescription,
    parts: ReadonlyMap<string, Parts>,
    context: Context,
    close: () => void,
  ) {
    this.model = model;
    this.texts = texts;
    this.entries = entries.map((entry) => new TraceEntry(entry, parts.get(entry.name)!, context));
    for (const entry of this.entries) checkTexts(entry, texts);
    this.#close = close;
  }

  /** Frees its maps and closes its file; maps and tensors asked for afterwards reject with EngineError. */
  dispose(): void {
    for (const entry of this.entries) entry.dispose();
    this.#close();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}

function checkTexts({ name, shape: [, Lq, Lk], ...sides }: TraceEntry, texts: Trace['texts']): void {
  for (const [side, length] of [
    ['queries', Lq],
    ['predicts', Lq],
    ['keys', Lk],
  ] as const) {
    const text = sides[side];
    const tokens = text === undefined ? length : texts[text].tokens.length;
    if (tokens !== length)
      throw new OptionError(
        `trace: ${name}: expected ${length} tokens of ${side}, text ${JSON.stringify(text)} has ${tokens}`,
      );
  }
}

/**
 * Makes a trace of tensors at hand, which must not change while it is in use.
 * Throws ShapeError, DTypeError or OptionError naming the entry.
 */
export function createTrace(
  {
    model,
    texts = {},
    entries,
  }: {
    readonly model?: string;
    readonly texts?: Readonly<Record<string, TokenText>>;
    readonly entries: readonly TraceInput[];
  },
  { engine }: { readonly engine?: Engine } = {},
): Trace {
  const made = entries.map(describeInput);
  const description = readDescription(
    { model, texts, entries: made.map(({ description }) => description) },
    wrongCall,
  );
  const parts = new Map(made.map(({ description, parts }) => [description.name, parts]));
  return new Trace(description, parts, { engine, error: wrongCall }, () => {});
}

function describeInput({ q, k, v, projection, logSumExp, options = {}, ...names }: TraceInput) {
  const what = `trace: ${names.name}`;
  const { causal, window, keyLengths, scale, softcap, ...tensors } = options;
  const parts: Parts = {};
  const given = { q, k, v, projection, logSumExp, ...tensors };
  for (const [part, tensor] of Object.entries(given) as [PartName, TensorLike | undefined][]) {
    if (!(part in PARTS)) throw new OptionError(`${what}: option ${part} does not go into a trace`);
    if (tensor !== undefined) parts[part] = heldPart(`${what}.${part}`, tensor, part === 'mask');
  }
  const remembered = logSumExp && recallStatistics(logSumExp.data);
  if (remembered) parts.logSumExp = preciseLogSumExp(parts.logSumExp!.shape, remembered);
  const description = {
    ...names,
    options: {
      causal:
        typeof causal === 'object' ? { offset: single(`${what}: causal.offset`, causal.offset) } : causal,
      window: window && Array.from(window),
      keyLengths: keyLengths && [single(`${what}: keyLengths`, keyLengths)],
      scale,
      softcap,
    },
  };
  return { description, parts };
}

/** The one number of a causal offset or of keyLengths. */
function single(what: string, value: number | Int32Array | TensorLike): number {
  if (typeof value === 'number') return value;
  const numbers = ArrayBuffer.isView(value) ? value : value?.data;
  if (!(numbers instanceof Int32Array) || numbers.length !== 1)
    throw new OptionError(`${what}: expected one number, in an Int32Array`);
  return numbers[0];
}

/** In float64: in float32 alone a large one would lose digits of the weights. */
function preciseLogSumExp(shape: readonly number[], { rowMax, rowSum }: RowStatistics): TracePart {
  const data = Float64Array.from(rowMax, (max, i) => max + Math.log(rowSum[i]));
  return heldPart('logSumExp', { dtype: 'float64', shape, data });
}

/**
 * Opens a trace: its header is read and checked at once, tensors when they are asked for, and never twice at a time.
 * Bytes in memory are viewed, not copied: they must not change. Rejects with FileFormatError naming what is wrong.
 */
export async function openTrace(
  source: ByteSource,
  { engine }: { readonly engine?: Engine } = {},
): Promise<Trace> {
  const file: OpenBytes = await openBytes(source);
  try {
    const { description, parts } = await readTraceFile(file);
    return new Trace(description, parts, { engine, error: wrongFile }, () => void file.close());
  } catch (error) {
    await file.close();
    // What would be a wrong call is here a wrong file.
    if (!(error instanceof FoveaError) || error instanceof FileFormatError) throw error;
    throw new FileFormatError(error.message, { cause: error });
  }
}

/**
 * The bytes of a trace's file: all it holds, read from its own file where it has one. Rejects with OptionError for numbers
 * that openTrace would refuse, and with the signal's reason.
 */
export async function saveTrace(trace: Trace, watch: Watch = {}): Promise<Uint8Array> {
  const parts = trace.entries.flatMap((entry) =>
    (Object.keys(entry.parts) as PartName[]).map((part) => ({ entry, part })),
  );
  const numbers = parts.reduce((sum, { entry, part }) => sum + sizeOf(part, entry.parts[part]!.shape), 0);
  // Each is read, then checked.
  const progress = new Progress(2 * numbers, watch);
  const tensors: [string, HostTensor][] = [];
  for (const { entry, part } of parts) {
    await progress.next();
    const tensor = (await entry.read(part, progress))!;
    const name = `${entry.name}.${part}`;
    await checkNumbers(name, PARTS[part], tensor, progress);
    tensors.push([name, tensor]);
  }
  return serializeSafetensors(tensors, [['fovea', formatTraceDescription(trace)]]);
}

/** Numbers checked between two looks at the clock. */
const STEP = 2 ** 20;

async function checkNumbers(
  name: string,
  numbers: Numbers,
  { dtype, data, shape }: HostTensor,
  progress: Progress,
): Promise<void> {
  for (let from = 0; from < data.length; from += STEP) {
    await progress.next();
    const piece = { dtype, data: data.subarray(from, from + STEP) };
    const wrong = wrongNumber(numbers, piece, from, shape);
    if (wrong) throw wrongCall(`${name}: ${wrong}`);
    progress.advance(piece.data.length);
  }
}
