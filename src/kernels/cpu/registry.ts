// The one list of CPU kernels: it feeds dispatch, tests and benchmarks. Adding a kernel edits this list.
// A kernel is a wasm export `name(args: usize, part: u32): void`; `args` points at one 32-bit slot per entry,
// 'u' for an unsigned integer or pointer, 'f' for a float32. Parts of one call are independent of each other:
// they may run in any order on any thread and give the same bits.

import { ATTENTION_KERNELS } from './attention-slots.js';

/** Argument slots of each kernel, in order. */
export const KERNELS = {
  // Matrix multiplication: see assembly/gemm*.ts and engine/ops/matmul.ts. `bias` and `packedA` 0: none; flags are 0 or 1.
  gemmPack: { source: 'u', packed: 'u', n: 'u', k: 'u', along: 'u', kBlock: 'u', group: 'u', left: 'u' },
  gemm: {
    a: 'u',
    packed: 'u',
    bias: 'u',
    c: 'u',
    m: 'u',
    n: 'u',
    k: 'u',
    transposeA: 'u',
    accumulate: 'u',
    kBlock: 'u',
    rowBlock: 'u',
    columnBlock: 'u',
    packedA: 'u',
  },
  gemmDot: {
    a: 'u',
    b: 'u',
    bias: 'u',
    c: 'u',
    m: 'u',
    n: 'u',
    k: 'u',
    accumulate: 'u',
    columnBlock: 'u',
  },
  gemmSplit: {
    a: 'u',
    b: 'u',
    partials: 'u',
    m: 'u',
    n: 'u',
    k: 'u',
    transposeA: 'u',
    transposeB: 'u',
    chunk: 'u',
    kBlock: 'u',
    rowSpan: 'u',
    columnSpan: 'u',
    rowBlock: 'u',
  },
  gemmSum: {
    partials: 'u',
    bias: 'u',
    c: 'u',
    m: 'u',
    n: 'u',
    count: 'u',
    accumulate: 'u',
    rowBlock: 'u',
  },
  gemmPeak: { a: 'u', b: 'u', c: 'u', k: 'u', repeats: 'u' },
  // Attention: see attention-slots.ts, assembly/attention*.ts and engine/ops/attention.ts.
  ...ATTENTION_KERNELS,
} as const satisfies Record<string, Record<string, 'u' | 'f'>>;

export type KernelName = keyof typeof KERNELS;
export type KernelArguments<K extends KernelName> = { [slot in keyof (typeof KERNELS)[K]]: number };
