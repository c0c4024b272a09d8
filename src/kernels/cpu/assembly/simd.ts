// Shared vector helpers. `fma4` is the one place where the two SIMD builds differ.

/** a·b + c on four lanes: fused in the relaxed build, rounded twice in the strict one. */
// @ts-ignore: decorator
@inline export function fma4(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(a, b, c);
  return f32x4.add(f32x4.mul(a, b), c);
}
