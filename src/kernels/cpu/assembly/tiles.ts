// The static table of tiles: which serves which build. Chosen offline by bench/tune.mjs, whose measurements are in
// bench/results/tune.json; a timing at start would measure the baseline compiler. The bench compiles the other widths
// with --use TUNE_WIDE=n. The matrix multiplication's tile is beside its code, in gemm-tile.ts.

/**
 * Keys, or columns of v, that a register tile of attention's forward holds for 8 rows: 4, 5 or 6. Relaxed (Node 24): 6 is
 * 5% faster than 4 or 5. Strict: 5, which is 13% faster than 4 on Node 20 and as fast on Node 24; 6 spills registers on
 * both and falls to half of the peak. So the build alone decides, not the generation of V8.
 */
// @ts-ignore: decorator
@inline export const WIDE: i32 = isDefined(TUNE_WIDE) ? TUNE_WIDE : ASC_FEATURE_RELAXED_SIMD ? 6 : 5;
