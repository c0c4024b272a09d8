// Every illegal call is refused with its type, and a message that names the operand, what was expected and what came.
import { describe, expect, test } from 'vitest';
import { validateAttention } from '../../dist/attention/validate.js';
import { DTypeError, LimitError, OptionError, ShapeError } from '../../dist/tensor/errors.js';

type Kind = new (message: string) => Error;
const size = (shape: number[]) => shape.reduce((a, n) => a * n, 1);
const f32 = (...shape: number[]) => ({ data: new Float32Array(size(shape)), shape });
const f64 = (...shape: number[]) => ({ data: new Float64Array(size(shape)), shape });
const bool = (...shape: number[]) => ({ data: new Uint8Array(size(shape)), shape, dtype: 'bool' });
const i32 = (...numbers: number[]) => Int32Array.from(numbers);

function refusal(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    return error as Error;
  }
  throw new Error('the call was not refused');
}

/** q [2,4,3,8], k and v [2,2,5,8], with one thing wrong. */
function check(kind: Kind, message: string, q: unknown, k: unknown, v: unknown, options?: unknown): void {
  const error = refusal(() => validateAttention(q, k, v, options as never));
  expect(error).toBeInstanceOf(kind);
  expect(error.message).toBe(message);
}

const [Q, K] = [f32(2, 4, 3, 8), f32(2, 2, 5, 8)];

describe('operands', () => {
  test.each<[Kind, string, unknown, unknown, unknown, unknown?]>([
    [
      ShapeError,
      "attention: q has 6 heads, not a multiple of k's 4",
      f32(1, 6, 2, 8),
      f32(1, 4, 2, 8),
      f32(1, 4, 2, 8),
    ],
    [
      ShapeError,
      "attention: q has 2 heads, not a multiple of k's 0",
      f32(1, 2, 2, 8),
      f32(1, 0, 2, 8),
      f32(1, 0, 2, 8),
    ],
    [ShapeError, "attention: v has 4 heads, expected k's 2", Q, K, f32(2, 4, 5, 8)],
    [ShapeError, "attention: v has 6 rows, expected k's 5", Q, K, f32(2, 2, 6, 8)],
    [ShapeError, "attention: k has width 7, expected q's 8", Q, f32(2, 2, 5, 7), K],
    [ShapeError, "attention: k has batch [3], expected q's [2] or 1 in its place", Q, f32(3, 2, 5, 8), K],
    [ShapeError, "attention: v has batch [3], expected q's [2] or 1 in its place", Q, K, f32(3, 2, 5, 8)],
    [ShapeError, "attention: k has batch [2], expected q's [1] or 1 in its place", f32(1, 2, 3, 8), K, K],
    [ShapeError, "attention: k has rank 3, expected q's 4 (shape [2, 5, 8])", Q, f32(2, 5, 8), K],
    [ShapeError, "attention: v has rank 2, expected q's 4 (shape [5, 8])", Q, K, f32(5, 8)],
    [
      ShapeError,
      "attention: q in layout 'bhld' is [Lq,D] or more dimensions, got shape [8]",
      f32(8),
      f32(8),
      f32(8),
    ],
    [
      ShapeError,
      "attention: q in layout 'blhd' is [L,H,D] or more dimensions, got shape [3, 8]",
      f32(3, 8),
      f32(5, 8),
      f32(5, 8),
      { layout: 'blhd' },
    ],
    [ShapeError, 'attention: q has width 0, expected 1 to 512', f32(1, 0), f32(1, 0), f32(1, 1)],
    [ShapeError, 'attention: v has width 0, expected 1 to 512', f32(1, 1), f32(1, 1), f32(1, 0)],
    [ShapeError, 'attention: q has width 513, expected 1 to 512', f32(1, 513), f32(1, 513), f32(1, 1)],
    [ShapeError, 'attention: v has width 513, expected 1 to 512', f32(1, 1), f32(1, 1), f32(1, 513)],
    [
      ShapeError,
      'attention: k: shape [2, 2, 5, 8] needs 160, data has 159 elements',
      Q,
      { data: new Float32Array(159), shape: [2, 2, 5, 8] },
      K,
    ],
    [
      DTypeError,
      'attention: q: expected float32, float16 or float64, got int32',
      { data: new Int32Array(8), shape: [1, 8] },
      f32(1, 8),
      f32(1, 8),
    ],
    [
      DTypeError,
      'attention: v: expected float32, float16 or float64, got uint16',
      f32(1, 8),
      f32(1, 8),
      { data: new Uint16Array(8), shape: [1, 8] },
    ],
    [
      DTypeError,
      'attention: v: expected float32, float16 or float64, got bfloat16',
      f32(1, 8),
      f32(1, 8),
      { data: new Uint16Array(8), shape: [1, 8], dtype: 'bfloat16' },
    ],
    [
      DTypeError,
      'attention: q: expected data in a typed array, got an array: wrap it, as in new Float32Array(data)',
      { data: [1], shape: [1, 1] },
      f32(1, 1),
      f32(1, 1),
    ],
    [DTypeError, 'attention: q: expected a tensor { data, shape }, got undefined', undefined, K, K],
    [DTypeError, "attention: q: dtype is a name, such as 'float32', got 5n", { ...Q, dtype: 5n }, K, K],
    [
      LimitError,
      'attention: k has 4294967296 rows, at most 2147483647 are served',
      f32(0, 1, 1, 8),
      f32(0, 1, 2 ** 32, 8),
      f32(0, 1, 2 ** 32, 8),
    ],
    [
      LimitError,
      'attention: q has 4294967296 batch entries, at most 268435456 are served',
      f32(2 ** 32, 0, 1, 8),
      f32(1, 0, 1, 8),
      f32(1, 0, 1, 8),
    ],
  ])('%o: %s', (...args) => check(...args));
});

const options: [Kind, string, unknown][] = [
  [OptionError, 'attention: expected options to be an object, got 5', 5],
  [OptionError, 'attention: expected options to be an object, got null', null],
  [OptionError, "attention: layout is 'bhld' or 'blhd', got null", { layout: null }],
  [
    OptionError,
    'attention: unknown option "casual", expected one of layout, causal, window, keyLengths, mask, bias, scale, softcap, alibi, sinks, dropout, cuSeqlens, engine, allowReference',
    { casual: true },
  ],
  [OptionError, "attention: layout is 'bhld' or 'blhd', got \"bldh\"", { layout: 'bldh' }],
  [
    OptionError,
    "attention: causal: true needs Lq = Lk, got Lq = 3 and Lk = 5; say 'upper-left' (row i may attend to keys j ≤ i) or 'lower-right' (j ≤ i + Lk − Lq)",
    { causal: true },
  ],
  [
    OptionError,
    "attention: causal is true, 'upper-left', 'lower-right' or { offset }, got \"upper_left\"",
    { causal: 'upper_left' },
  ],
  [
    OptionError,
    "attention: causal is true, 'upper-left', 'lower-right' or { offset }, got an object",
    { causal: {} },
  ],
  [
    OptionError,
    "attention: causal is true, 'upper-left', 'lower-right' or { offset }, got null",
    { causal: null },
  ],
  [
    OptionError,
    'attention: causal.offset is a whole number of 32 bits, got 0.5',
    { causal: { offset: 0.5 } },
  ],
  [
    OptionError,
    'attention: causal.offset is a whole number of 32 bits, got 4294967296',
    { causal: { offset: 2 ** 32 } },
  ],
  [
    ShapeError,
    'attention: causal.offset has 3 entries, expected one per batch entry, 2',
    { causal: { offset: i32(1, 2, 3) } },
  ],
  [
    DTypeError,
    'attention: causal.offset: expected an Int32Array, got an array',
    { causal: { offset: [1, 2] } },
  ],
  [
    OptionError,
    'attention: window is [left, right], whole numbers from 0 or −1 for open, got 3',
    { window: 3 },
  ],
  [
    OptionError,
    'attention: window is [left, right], whole numbers from 0 or −1 for open, got [1]',
    { window: [1] },
  ],
  [
    OptionError,
    'attention: window is [left, right], whole numbers from 0 or −1 for open, got [-2, 1]',
    { window: [-2, 1] },
  ],
  [
    OptionError,
    'attention: window is [left, right], whole numbers from 0 or −1 for open, got [1, 0.5]',
    { window: [1, 0.5] },
  ],
  [
    ShapeError,
    'attention: keyLengths has 1 entries, expected one per batch entry, 2',
    { keyLengths: i32(1) },
  ],
  [OptionError, 'attention: keyLengths[1] is 6, expected 0 to Lk = 5', { keyLengths: i32(1, 6) }],
  [OptionError, 'attention: keyLengths[0] is -1, expected 0 to Lk = 5', { keyLengths: i32(-1, 6) }],
  [DTypeError, 'attention: keyLengths: expected an Int32Array, got an array', { keyLengths: [1, 2] }],
  [
    DTypeError,
    'attention: keyLengths: expected an Int32Array, got Float32Array',
    { keyLengths: new Float32Array(2) },
  ],
  [
    DTypeError,
    'attention: keyLengths: expected int32, got int64',
    { keyLengths: { data: new BigInt64Array(2), shape: [2] } },
  ],
  [
    ShapeError,
    'attention: keyLengths: expected rank 1, got shape [2, 1]',
    { keyLengths: { data: i32(1, 2), shape: [2, 1] } },
  ],
  [
    DTypeError,
    'attention: mask: expected bool, got float32; numbers to add to the scores go in bias',
    { mask: f32(3, 5) },
  ],
  [
    DTypeError,
    "attention: mask: expected bool, got uint8; say dtype: 'bool'",
    { mask: { data: new Uint8Array(15), shape: [3, 5] } },
  ],
  [
    DTypeError,
    'attention: mask: expected bool, got int32',
    { mask: { data: new Int32Array(15), shape: [3, 5] } },
  ],
  [
    ShapeError,
    'attention: mask of shape [3, 4] does not broadcast to [B,H,Lq,Lk] = [2, 4, 3, 5]',
    { mask: bool(3, 4) },
  ],
  [
    ShapeError,
    'attention: mask of shape [2, 3, 5] does not broadcast to [B,H,Lq,Lk] = [2, 4, 3, 5]',
    { mask: bool(2, 3, 5) },
  ],
  [
    ShapeError,
    'attention: mask of shape [1, 1, 1, 3, 5, 1] does not broadcast to […,H,Lq,Lk] = [2, 4, 3, 5]',
    { mask: bool(1, 1, 1, 3, 5, 1) },
  ],
  [
    ShapeError,
    'attention: bias of shape [3, 3, 5] does not broadcast to [B,H,Lq,Lk] = [2, 4, 3, 5]',
    { bias: f32(3, 3, 5) },
  ],
  [
    DTypeError,
    'attention: bias: expected float32, float16 or float64, got bool; what may attend goes in mask',
    { bias: bool(3, 5) },
  ],
  [OptionError, 'attention: scale is a finite number, got NaN', { scale: Number.NaN }],
  [OptionError, 'attention: scale is a finite number, got Infinity', { scale: Number.POSITIVE_INFINITY }],
  [OptionError, 'attention: scale is a finite number, got "1"', { scale: '1' }],
  [OptionError, 'attention: softcap is a finite number from 0 (off), got -1', { softcap: -1 }],
  [OptionError, 'attention: softcap is a finite number from 0 (off), got NaN', { softcap: Number.NaN }],
  [
    OptionError,
    'attention: softcap is a finite number from 0 (off), got Infinity',
    { softcap: Number.POSITIVE_INFINITY },
  ],
  [ShapeError, 'attention: alibi is [H] = [4] or [B,H] = [2, 4], got [2]', { alibi: f32(2) }],
  [ShapeError, 'attention: alibi is [H] = [4] or [B,H] = [2, 4], got [4, 2]', { alibi: f32(4, 2) }],
  [ShapeError, 'attention: sinks is [H] = [4], got [2, 4]', { sinks: f32(2, 4) }],
  [
    DTypeError,
    'attention: sinks: expected float32, float16 or float64, got int32',
    { sinks: { data: new Int32Array(4), shape: [4] } },
  ],
  [OptionError, 'attention: dropout is { rate, seed } or { rate, keep }, got 0.5', { dropout: 0.5 }],
  [
    OptionError,
    'attention: dropout.rate is a number from 0 to below 1, got 1',
    { dropout: { rate: 1, seed: 1 } },
  ],
  [
    OptionError,
    'attention: dropout.rate is a number from 0 to below 1, got -0.1',
    { dropout: { rate: -0.1, seed: 1 } },
  ],
  [
    OptionError,
    'attention: dropout.rate is a number from 0 to below 1, got NaN',
    { dropout: { rate: Number.NaN, seed: 1 } },
  ],
  [OptionError, 'attention: dropout has either seed or keep, got neither', { dropout: { rate: 0.5 } }],
  [
    OptionError,
    'attention: dropout has either seed or keep, got both',
    { dropout: { rate: 0.5, seed: 1, keep: bool(3, 5) } },
  ],
  [
    OptionError,
    'attention: unknown option dropout.p, expected rate, seed, keyOffset or keep',
    { dropout: { rate: 0.5, seed: 1, p: 2 } },
  ],
  [
    OptionError,
    'attention: dropout.seed is a whole number from 0 (a bigint below 2^64), got -1',
    { dropout: { rate: 0.5, seed: -1 } },
  ],
  [
    OptionError,
    'attention: dropout.seed is a whole number from 0 (a bigint below 2^64), got 1.5',
    { dropout: { rate: 0.5, seed: 1.5 } },
  ],
  [
    OptionError,
    'attention: dropout.seed is a whole number from 0 (a bigint below 2^64), got 18446744073709551616n',
    { dropout: { rate: 0.5, seed: 2n ** 64n } },
  ],
  [
    OptionError,
    'attention: dropout.keyOffset is a whole number from 0 to 2147483642, got -1',
    { dropout: { rate: 0.5, seed: 1, keyOffset: -1 } },
  ],
  [
    OptionError,
    'attention: dropout.keyOffset goes with seed, not with keep',
    { dropout: { rate: 0.5, keep: bool(3, 5), keyOffset: 1 } },
  ],
  [
    DTypeError,
    'attention: dropout.keep: expected bool, got float32',
    { dropout: { rate: 0.5, keep: f32(3, 5) } },
  ],
  [
    ShapeError,
    'attention: dropout.keep of shape [5, 3] does not broadcast to [B,H,Lq,Lk] = [2, 4, 3, 5]',
    { dropout: { rate: 0.5, keep: bool(5, 3) } },
  ],
];

describe('options', () => {
  test.each(options)('%o: %s', (kind, message, option) => check(kind, message, Q, K, K, option));
});

describe('packed sequences', () => {
  const [q, k] = [f32(3, 4, 8), f32(5, 2, 8)];
  const good = { q: i32(0, 1, 3), k: i32(0, 5, 5) };
  test.each<[Kind, string, unknown]>([
    [OptionError, 'attention: cuSeqlens is { q, k }, got true', { cuSeqlens: true }],
    [
      DTypeError,
      'attention: cuSeqlens.k: expected an Int32Array, got undefined',
      { cuSeqlens: { q: i32(0, 3) } },
    ],
    [
      ShapeError,
      'attention: cuSeqlens.q has B+1 entries, at least 1, got 0',
      { cuSeqlens: { q: i32(), k: i32(0, 5) } },
    ],
    [OptionError, 'attention: cuSeqlens.q starts at 0, got 1', { cuSeqlens: { q: i32(1, 3), k: i32(0, 5) } }],
    [
      OptionError,
      'attention: cuSeqlens.q is non-decreasing, got 1 after 2 at 2',
      { cuSeqlens: { q: i32(0, 2, 1, 3), k: i32(0, 5) } },
    ],
    [
      OptionError,
      "attention: cuSeqlens.k ends at k's 5 rows, got 4",
      { cuSeqlens: { q: i32(0, 3), k: i32(0, 4) } },
    ],
    [
      ShapeError,
      "attention: cuSeqlens.k has 1 sequences, expected cuSeqlens.q's 2",
      { cuSeqlens: { q: i32(0, 1, 3), k: i32(0, 5) } },
    ],
    [OptionError, 'attention: mask does not go with cuSeqlens', { cuSeqlens: good, mask: bool(1, 1) }],
    [OptionError, 'attention: bias does not go with cuSeqlens', { cuSeqlens: good, bias: f32(1, 1) }],
    [
      OptionError,
      'attention: keyLengths does not go with cuSeqlens',
      { cuSeqlens: good, keyLengths: i32(1, 1) },
    ],
    [
      OptionError,
      "attention: packed sequences are [T,H,D], layout 'bhld' contradicts cuSeqlens",
      { cuSeqlens: good, layout: 'bhld' },
    ],
    [
      OptionError,
      "attention: causal: true needs Lq = Lk, got Lq = 1 and Lk = 5 in sequence 0; say 'upper-left' (row i may attend to keys j ≤ i) or 'lower-right' (j ≤ i + Lk − Lq)",
      { cuSeqlens: good, causal: true },
    ],
  ])('%o: %s', (kind, message, option) => check(kind, message, q, k, k, option));

  test('other ranks', () => {
    const message = 'attention: with cuSeqlens q is [T,H,D], of rank 3, got shape [2, 4, 3, 8]';
    check(ShapeError, message, Q, K, K, { cuSeqlens: good });
  });
});

describe('legal calls', () => {
  test('the diagonal: 0, given, else keyLengths[b] − Lq or Lk − Lq', () => {
    const diagonal = (option: object) => [...validateAttention(Q, K, K, option).diagonal];
    const keyLengths = i32(4, 1);
    expect(diagonal({})).toEqual([2, 2]);
    expect(diagonal({ window: [1, 1], keyLengths })).toEqual([1, -2]);
    expect(diagonal({ causal: 'lower-right', keyLengths })).toEqual([1, -2]);
    expect(diagonal({ causal: 'upper-left', keyLengths })).toEqual([0, 0]);
    expect(diagonal({ causal: { offset: -3 } })).toEqual([-3, -3]);
    expect(diagonal({ causal: { offset: i32(7, 8) }, keyLengths })).toEqual([7, 8]);
    const packed = validateAttention(f32(3, 4, 8), f32(5, 2, 8), f32(5, 2, 8), {
      cuSeqlens: { q: i32(0, 1, 3), k: i32(0, 5, 5) },
    });
    expect([...packed.diagonal]).toEqual([4, -2]);
    expect([packed.Lq, packed.Lk, packed.B]).toEqual([2, 5, 2]);
  });

  test('defaults, and values that switch an option off', () => {
    const p = validateAttention(Q, K, K, {
      causal: false,
      softcap: 0,
      dropout: { rate: 0, seed: 1 },
      window: [-1, -1],
    });
    expect(p).toMatchObject({ scale: 1 / Math.sqrt(8), softcap: 0, causal: false, usesDiagonal: false });
    expect(p.dropout).toBeUndefined();
    expect(validateAttention(Q, K, K, { scale: 0 }).scale).toBe(0);
    expect(validateAttention(Q, K, K, { scale: -2, mask: undefined }).scale).toBe(-2);
    expect(validateAttention(f64(2, 512), f64(2, 512), f64(2, 512), { causal: true }).causal).toBe(true);
  });

  test('keep at rate 0 still chooses', () => {
    expect(validateAttention(Q, K, K, { dropout: { rate: 0, keep: bool(3, 5) } }).dropout).toBeDefined();
  });

  test('tensors of other libraries: dims, type, int32 tensors', () => {
    const q = { data: new Float32Array(8), dims: [1, 8], type: 'float32' };
    const mask = { data: new Uint8Array(1), dims: [1, 1], type: 'bool' };
    const p = validateAttention(q, q, q, { mask, keyLengths: { data: i32(1), shape: [1] } });
    expect([p.Lq, p.Lk, [...p.keyCounts]]).toEqual([1, 1, [1]]);
  });
});
