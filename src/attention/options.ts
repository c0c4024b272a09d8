// The options of attention, as a caller writes them. What each means is settled here; validate.ts refuses the rest.
import type { TensorLike } from '../tensor/host.js';

/**
 * Where the diagonal of a causal call lies: row i may attend to keys j ≤ i + o.
 *
 * ```
 * Lq=2, Lk=5   'upper-left' (o=0): 10000    'lower-right' (o=Lk−Lq): 11110    { offset: 1 }: 11000
 *                                  11000                             11111                   11100
 * ```
 * `true` is 'upper-left' for Lq = Lk and refused for any other lengths, where systems disagree on its meaning.
 * An offset is one number for all, or one per batch entry (per sequence of packed calls).
 */
export type CausalOption = boolean | 'upper-left' | 'lower-right' | { readonly offset: number | Int32Array };

/**
 * Philox4x32-10 draws (see philox.ts), or an explicit choice. Survivors are multiplied by 1/(1−rate), 0 ≤ rate < 1.
 *
 * A draw is a function of the seed and the cell's logical (b, h, i, j) alone, whatever the layout, the kernel or the threads.
 * In a packed call b is the index of the sequence, i and j count within it: sequences draw as a batch of them does. A call
 * of its own for one sequence is a batch of one, so it draws with b = 0 and equals the packed call where b is 0 there too.
 */
export type DropoutOption =
  | {
      readonly rate: number;
      /** 64 bits: a whole number from 0, or a bigint below 2^64. */
      readonly seed: number | bigint;
      /** Added to the key index j in the draws, for a call that sees a part of the keys. Default 0. */
      readonly keyOffset?: number;
    }
  | {
      readonly rate: number;
      /** bool, aligned to the right of [B,H,Lq,Lk] as a mask is; true keeps the weight. */
      readonly keep: TensorLike;
    };

/** Options of one attention call. All are optional and all compose. */
export interface AttentionOptions {
  /**
   * Order of dimensions. 'bhld' (default): `[Lq,D]`, `[H,Lq,D]`, `[B,H,Lq,D]` or more leading dimensions.
   * 'blhd': `[L,H,D]`, `[B,L,H,D]` or more leading dimensions. Packed calls are `[T,H,D]` and need no layout.
   */
  readonly layout?: 'bhld' | 'blhd';
  /** Forbids keys after the diagonal. */
  readonly causal?: CausalOption;
  /**
   * `[left, right]`: row i may attend to keys i+o−left ≤ j ≤ i+o+right, inclusive; −1 leaves a side open.
   * Without `causal`, o = keyLengths[b] − Lq, or Lk − Lq.
   */
  readonly window?: readonly [number, number] | Int32Array;
  /** `Int32Array(B)`, 0 ≤ n ≤ Lk: keys at and after n are padding. */
  readonly keyLengths?: Int32Array | TensorLike;
  /** bool tensor (a Uint8Array with `dtype: 'bool'`), nonzero = may attend; broadcasts to `[B,H,Lq,Lk]`. */
  readonly mask?: TensorLike;
  /** float tensor added to the scores, −∞ forbids; broadcasts to `[B,H,Lq,Lk]`; differentiable. */
  readonly bias?: TensorLike;
  /** Multiplies q·k. Finite; 0 and negative are legal. Default 1/√D. */
  readonly scale?: number;
  /** c > 0 replaces the scaled score s by c·tanh(s/c); 0 is off. */
  readonly softcap?: number;
  /** Slopes, float `[H]` or `[B,H]`: adds −slope·|i+o−j|. */
  readonly alibi?: TensorLike;
  /** float `[H]`: one more logit per head, in the softmax's denominator only; differentiable. */
  readonly sinks?: TensorLike;
  /** Drops weights after the softmax. */
  readonly dropout?: DropoutOption;
  /**
   * Packed sequences: q `[Tq,H,D]`, k and v `[Tk,Hkv,·]`; sequence b is rows `q[b]` to `q[b+1]` (`k[b]` to `k[b+1]`).
   * Int32Array(B+1) each, from 0 to the number of rows, non-decreasing. Excludes mask, bias and keyLengths. Equal bit for bit
   * to separate calls, and with a dropout seed to a batch of the sequences (see DropoutOption).
   */
  readonly cuSeqlens?: { readonly q: Int32Array | TensorLike; readonly k: Int32Array | TensorLike };
}

/** Every option's name, in the order of the interface. */
export const OPTION_NAMES = [
  'layout',
  'causal',
  'window',
  'keyLengths',
  'mask',
  'bias',
  'scale',
  'softcap',
  'alibi',
  'sinks',
  'dropout',
  'cuSeqlens',
] as const satisfies readonly (keyof AttentionOptions)[];
