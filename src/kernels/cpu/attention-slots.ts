// Argument slots of the attention kernels. The shared ones come first; assembly/attention-state.ts reads them by number.
// Strides are in bytes; pointers of absent operands are 0.

type Slots = Record<string, 'u' | 'f'>;

const operand = <N extends string>(name: N) =>
  ({ [name]: 'u', [`${name}Batch`]: 'u', [`${name}Head`]: 'u', [`${name}Row`]: 'u' }) as {
    readonly [slot in N | `${N}Batch` | `${N}Head` | `${N}Row`]: 'u';
  };

/** Strides over [B,H,Lq,Lk]. */
const cells = <N extends string>(name: N) =>
  ({ ...operand(name), [`${name}Key`]: 'u' }) as {
    readonly [slot in N | `${N}Batch` | `${N}Head` | `${N}Row` | `${N}Key`]: 'u';
  };

/** Slots 0 to 61 of every attention kernel. */
export const ATTENTION_SLOTS = {
  ...operand('q'),
  ...operand('k'),
  ...operand('v'),
  B: 'u',
  H: 'u',
  Hkv: 'u',
  Lq: 'u',
  Lk: 'u',
  D: 'u',
  Dv: 'u',
  scale: 'f',
  softcap: 'f',
  causal: 'u',
  windowLeft: 'u',
  windowRight: 'u',
  offset: 'u',
  offsets: 'u',
  /** 1: the diagonal is keyLengths[b] (or Lk) − Lq. */
  lowerRight: 'u',
  keyLengths: 'u',
  ...cells('mask'),
  ...cells('bias'),
  alibi: 'u',
  alibiBatch: 'u',
  alibiHead: 'u',
  sinks: 'u',
  /** 0 none, 1 Philox, 2 keep mask. */
  dropMode: 'u',
  /** Keep where a word's upper 24 bits reach this. */
  dropThreshold: 'u',
  dropScale: 'f',
  seedLow: 'u',
  seedHigh: 'u',
  keyOffset: 'u',
  ...cells('keep'),
  cuQ: 'u',
  cuK: 'u',
  rowMax: 'u',
  rowSum: 'u',
  logSumExp: 'u',
  /** Units of work per part. */
  perPart: 'u',
  /** The first batch entry, head and query of this call within the one that dropout draws for. */
  batchOrigin: 'u',
  headOrigin: 'u',
  queryOrigin: 'u',
} as const satisfies Slots;

const output = operand('output');
const gradients = { ...output, ...operand('dOutput'), delta: 'u', dLogSumExp: 'u' } as const;

/** What the map's kernels read beside the call; each says which of them it uses (assembly/attention-readings.ts). */
const readings = {
  out: 'u',
  positions: 'u',
  slices: 'u',
  blocks: 'u',
  origin: 'u',
  span: 'u',
  columns: 'u',
  reach: 'u',
  width: 'u',
  most: 'u',
  own: 'u',
} as const;

type Shared = typeof ATTENTION_SLOTS;
/** An interface, which declarations name instead of repeating it for every kernel. */
export interface AttentionSlots extends Shared {}

/** The shared slots, then a kernel's own. */
const call = <const Own extends Slots>(own: Own): AttentionSlots & Own => ({ ...ATTENTION_SLOTS, ...own });

export const ATTENTION_KERNELS = {
  attentionCells: call(readings),
  attentionPool: call(readings),
  attentionMoments: call(readings),
  attentionStatistics: call(readings),
  attentionDiagonal: call(readings),
  attentionForward: call(output),
  /** `ended` begins as zeros. */
  attentionDecode: call({
    ...output,
    partials: 'u',
    partialStats: 'u',
    ended: 'u',
    runs: 'u',
  }),
  cacheRows: {
    ...operand('kFrom'),
    ...operand('kTo'),
    ...operand('vFrom'),
    ...operand('vTo'),
    B: 'u',
    H: 'u',
    rows: 'u',
    D: 'u',
    Dv: 'u',
    index: 'u',
    perPart: 'u',
  },
  attentionWeights: call({
    out: 'u',
    batch: 'u',
    head: 'u',
    from: 'u',
    to: 'u',
    first: 'u',
    last: 'u',
  }),
  attentionDelta: call(gradients),
  attentionGather: call({
    ...gradients,
    ...operand('dq'),
    partials: 'u',
    pieceBytes: 'u',
  }),
  attentionSinks: call({ ...gradients, dSinks: 'u' }),
  attentionBias: call({
    ...gradients,
    dBias: 'u',
    /** Float64 and zeros, laid out as dBias. */
    sums: 'u',
    batches: 'u',
    heads: 'u',
    ownDelta: 'u',
  }),
  attentionBackward: call({
    ...gradients,
    ...operand('dq'),
    ...operand('dk'),
    ...operand('dv'),
    dBias: 'u',
    batches: 'u',
    heads: 'u',
    /** Of an owner: one, or one for each piece of its keys. */
    units: 'u',
    partials: 'u',
    pieceBytes: 'u',
    /** Whether the statistics are of the call's keys alone. */
    ownDelta: 'u',
  }),
} as const;
