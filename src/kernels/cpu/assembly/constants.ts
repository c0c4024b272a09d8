// Constant vectors of inner loops, as globals that init() fills. A splatted literal is built anew at every use, even
// within a loop (V8: a move of 64 bits, a transfer and a shuffle); a global is one load, or stays in a register.

export let LOG2E: v128 = i32x4(0, 0, 0, 0);
/** 1.5·2^23 + 126: see exp4. */
export let EXP_SHIFT: v128 = i32x4(0, 0, 0, 0);
export let LN2_HIGH: v128 = i32x4(0, 0, 0, 0);
export let LN2_LOW: v128 = i32x4(0, 0, 0, 0);
export let EXP_6: v128 = i32x4(0, 0, 0, 0);
export let EXP_5: v128 = i32x4(0, 0, 0, 0);
export let EXP_4: v128 = i32x4(0, 0, 0, 0);
export let EXP_3: v128 = i32x4(0, 0, 0, 0);
export let EXP_2: v128 = i32x4(0, 0, 0, 0);
/** The same of a softmax's weights, one degree less, with the least exponent and ln2 in one part: see weighHalf. */
export let WEIGHT_5: v128 = i32x4(0, 0, 0, 0);
export let WEIGHT_4: v128 = i32x4(0, 0, 0, 0);
export let WEIGHT_3: v128 = i32x4(0, 0, 0, 0);
export let WEIGHT_2: v128 = i32x4(0, 0, 0, 0);
export let LOWEST_WEIGHT: v128 = i32x4(0, 0, 0, 0);
export let MINUS_LN2: v128 = i32x4(0, 0, 0, 0);
export let TWO: v128 = i32x4(0, 0, 0, 0);
export let EXP_HIGHEST: v128 = i32x4(0, 0, 0, 0);
export let EXP_LOWEST: v128 = i32x4(0, 0, 0, 0);
export let SIGN: v128 = i32x4(0, 0, 0, 0);
export let MINUS_INFINITY: v128 = i32x4(0, 0, 0, 0);
/** The lowest finite float32. */
export let LOWEST4: v128 = i32x4(0, 0, 0, 0);
/** Multipliers and key steps of Philox4x32. */
export let PHILOX_M0: v128 = i32x4(0, 0, 0, 0);
export let PHILOX_M1: v128 = i32x4(0, 0, 0, 0);
export let PHILOX_W0: v128 = i32x4(0, 0, 0, 0);
export let PHILOX_W1: v128 = i32x4(0, 0, 0, 0);
export let ONE: v128 = i32x4(0, 0, 0, 0);
export let MINUS_HALF: v128 = i32x4(0, 0, 0, 0);
/** Coefficients of normalTail4. */
export let TAIL_STEP: v128 = i32x4(0, 0, 0, 0);
export let TAIL_1: v128 = i32x4(0, 0, 0, 0);
export let TAIL_2: v128 = i32x4(0, 0, 0, 0);
export let TAIL_3: v128 = i32x4(0, 0, 0, 0);
export let TAIL_4: v128 = i32x4(0, 0, 0, 0);
export let TAIL_5: v128 = i32x4(0, 0, 0, 0);
export let TAIL_6: v128 = i32x4(0, 0, 0, 0);
export let TAIL_7: v128 = i32x4(0, 0, 0, 0);
export let TAIL_8: v128 = i32x4(0, 0, 0, 0);
export let TAIL_9: v128 = i32x4(0, 0, 0, 0);
/** gelu's tanh form: −2√(2/π) and 0.044715 times it; for the derivative 2√(2/π) and 3·0.044715 times it. Then 1/√(2π). */
export let GATE_LINEAR: v128 = i32x4(0, 0, 0, 0);
export let GATE_CUBIC: v128 = i32x4(0, 0, 0, 0);
export let SLOPE_LINEAR: v128 = i32x4(0, 0, 0, 0);
export let SLOPE_CUBIC: v128 = i32x4(0, 0, 0, 0);
export let DENSITY: v128 = i32x4(0, 0, 0, 0);

export function fillConstants(): void {
  LOG2E = f32x4.splat(1.44269504);
  EXP_SHIFT = f32x4.splat(12583038);
  LN2_HIGH = f32x4.splat(-0.693359375);
  LN2_LOW = f32x4.splat(2.1219444e-4);
  EXP_6 = f32x4.splat(0.00276284438);
  EXP_5 = f32x4.splat(0.0167377973);
  EXP_4 = f32x4.splat(0.0833368114);
  EXP_3 = f32x4.splat(0.333330383);
  EXP_2 = f32x4.splat(0.999999867);
  WEIGHT_5 = f32x4.splat(0.0166250020);
  WEIGHT_4 = f32x4.splat(0.0837806612);
  WEIGHT_3 = f32x4.splat(0.333342314);
  WEIGHT_2 = f32x4.splat(0.999984622);
  LOWEST_WEIGHT = f32x4.splat(-87.3);
  MINUS_LN2 = f32x4.splat(-0.693147182);
  TWO = f32x4.splat(2);
  EXP_HIGHEST = f32x4.splat(89);
  EXP_LOWEST = f32x4.splat(-86.99);
  SIGN = i32x4.splat(0x80000000);
  MINUS_INFINITY = f32x4.splat(-Infinity);
  LOWEST4 = f32x4.splat(-3.4028234663852886e38);
  PHILOX_M0 = i32x4.splat(0xd2511f53);
  PHILOX_M1 = i32x4.splat(0xcd9e8d57);
  PHILOX_W0 = i32x4.splat(0x9e3779b9);
  PHILOX_W1 = i32x4.splat(0xbb67ae85);
  ONE = f32x4.splat(1);
  MINUS_HALF = f32x4.splat(-0.5);
  TAIL_STEP = f32x4.splat(0.27);
  TAIL_1 = f32x4.splat(0.107719682);
  TAIL_2 = f32x4.splat(0.107558459);
  TAIL_3 = f32x4.splat(0.101705852);
  TAIL_4 = f32x4.splat(0.0724370127);
  TAIL_5 = f32x4.splat(0.106961397);
  TAIL_6 = f32x4.splat(-0.0680167593);
  TAIL_7 = f32x4.splat(0.168785931);
  TAIL_8 = f32x4.splat(-0.126020222);
  TAIL_9 = f32x4.splat(0.0288686578);
  GATE_LINEAR = f32x4.splat(-1.59576912);
  GATE_CUBIC = f32x4.splat(-0.0713548163);
  SLOPE_LINEAR = f32x4.splat(1.59576912);
  SLOPE_CUBIC = f32x4.splat(0.214064449);
  DENSITY = f32x4.splat(0.39894228);
}
