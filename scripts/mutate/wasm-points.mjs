// Mutants of a compiled kernel: every comparison, condition, integer constant, memory offset, integer operation, lane,
// deleted call and early return among the instructions that some exports reach. An inlined copy is code of its own.
import { reachable, signed, unsigned } from './wasm.mjs';

const SIMD = 0xfd0000;
const DROP = 0x1a;
const CONST = 0x41;

/** Pairs of opcodes that take each other's place: comparisons first, then arithmetic and logic of integers and lanes. */
const SWAPS = new Map();
function swap(kind, a, b, aName, bName, oneWay = false) {
  SWAPS.set(a, { kind, op: b, what: `${aName} → ${bName}` });
  if (!oneWay) SWAPS.set(b, { kind, op: a, what: `${bName} → ${aName}` });
}
for (const [type, at] of [
  ['i32', 0x46],
  ['i64', 0x51],
]) {
  swap('comparison', at, at + 1, `${type} ==`, '!=');
  swap('comparison', at + 2, at + 6, `${type} <`, '<=');
  swap('comparison', at + 3, at + 7, `${type} < unsigned`, '<=');
  swap('comparison', at + 4, at + 8, `${type} >`, '>=');
  swap('comparison', at + 5, at + 9, `${type} > unsigned`, '>=');
}
for (const [type, at] of [
  ['f32', 0x5b],
  ['f64', 0x61],
  ['f32x4', SIMD + 65],
]) {
  swap('comparison', at, at + 1, `${type} ==`, '!=');
  swap('comparison', at + 2, at + 4, `${type} <`, '<=');
  swap('comparison', at + 3, at + 5, `${type} >`, '>=');
}
swap('comparison', SIMD + 55, SIMD + 56, 'i32x4 ==', '!=');
swap('comparison', SIMD + 57, SIMD + 61, 'i32x4 <', '<=');
swap('comparison', SIMD + 58, SIMD + 62, 'i32x4 < unsigned', '<=');
swap('comparison', SIMD + 59, SIMD + 63, 'i32x4 >', '>=');
swap('comparison', SIMD + 60, SIMD + 64, 'i32x4 > unsigned', '>=');
for (const [type, at] of [
  ['i32', 0x6a],
  ['i64', 0x7c],
]) {
  swap('operation', at, at + 1, `${type} +`, '-');
  swap('operation', at + 2, at, `${type} *`, '+', true);
  swap('operation', at + 3, at + 2, `${type} /`, '*', true);
  swap('operation', at + 4, at + 2, `${type} / unsigned`, '*', true);
  swap('operation', at + 5, at + 3, `${type} %`, '/', true);
  swap('operation', at + 6, at + 4, `${type} % unsigned`, '/', true);
  swap('operation', at + 7, at + 8, `${type} &`, '|');
  swap('operation', at + 9, at + 8, `${type} ^`, '|', true);
  swap('operation', at + 10, at + 12, `${type} <<`, '>>>', true);
  swap('operation', at + 11, at + 10, `${type} >>`, '<<', true);
  swap('operation', at + 12, at + 10, `${type} >>>`, '<<', true);
}
swap('operation', SIMD + 78, SIMD + 80, 'v128 and', 'or');
swap('operation', SIMD + 79, SIMD + 78, 'v128 andnot', 'and', true);
swap('operation', SIMD + 81, SIMD + 80, 'v128 xor', 'or', true);
swap('operation', SIMD + 174, SIMD + 177, 'i32x4 +', '-');
swap('operation', SIMD + 171, SIMD + 173, 'i32x4 <<', '>>>', true);
swap('operation', SIMD + 172, SIMD + 171, 'i32x4 >>', '<<', true);
swap('operation', SIMD + 173, SIMD + 171, 'i32x4 >>>', '<<', true);
swap('operation', SIMD + 232, SIMD + 233, 'f32x4 min', 'max');
swap('operation', SIMD + 234, SIMD + 235, 'f32x4 pmin', 'pmax');
swap('operation', 0x96, 0x97, 'f32 min', 'max');

/** < > <= >= of i32 and i64. */
const isOrder = (op) => (op >= 0x48 && op <= 0x4f) || (op >= 0x53 && op <= 0x5a);

const opcode = (op) => (op >= SIMD ? [0xfd, ...unsigned(op - SIMD)] : [op]);
const i32 = (value) => [CONST, ...signed(value)];

/** A constant that is off by one: one less, but 1 for 0. */
const less = (value) => (value === 0n ? 1n : value - 1n);

/** Mutants of one instruction: what it becomes, and the bytes that replace bytes [from, to). */
function* instructionMutants(module, fn, instruction, before, after, last) {
  const { at, end, op, value, offset } = instruction;
  const whole = (kind, what, put) => ({ kind, what, from: at, to: end, put });
  const swapped = SWAPS.get(op);
  // min and max compare, then select: which of two equal numbers they take makes no difference.
  if (swapped && !(after?.op === 0x1b && isOrder(op)))
    yield whole(swapped.kind, swapped.what, opcode(swapped.op));
  if (op === 0x45) yield whole('comparison', '! → !!', [...i32(0n), 0x47]);
  if (op === 0x50) yield whole('comparison', 'i64 ! → !!', [0x42, 0, 0x52]);
  if ((op === 0x04 || op === 0x0d || op === 0x1b) && before?.op !== CONST) {
    yield { kind: 'branch', what: 'condition negated', from: at, to: at, put: [0x45] };
  }
  if (op === SIMD + 82) {
    yield { kind: 'branch', what: 'lane select, sides exchanged', from: at, to: at, put: opcode(SIMD + 77) };
  }
  if (op === CONST) yield whole('constant', `${value} → ${less(value)}`, i32(BigInt.asIntN(32, less(value))));
  if (op === 0x42)
    yield whole('constant', `${value} → ${less(value)}`, [0x42, ...signed(BigInt.asIntN(64, less(value)))]);
  if (offset !== undefined) {
    const step = [0x2c, 0x2d, 0x3a].includes(op) ? 1 : 4;
    const { offsetAt } = instruction;
    const to = offsetAt + unsigned(offset).length;
    const what = `offset ${offset} → ${offset + step}`;
    yield { kind: 'offset', what, from: offsetAt, to, put: unsigned(offset + step) };
  }
  if (instruction.lane !== undefined) {
    const lane = module.bytes[instruction.lane];
    const next = lane ^ 1;
    yield {
      kind: 'lane',
      what: `lane ${lane} → ${next}`,
      from: instruction.lane,
      to: instruction.lane + 1,
      put: [next],
    };
  }
  if (instruction.lanes !== undefined) {
    const first = module.bytes.slice(instruction.lanes, instruction.lanes + 4).map((byte) => byte ^ 4);
    const what = 'shuffle: its first lane is the neighbour';
    yield { kind: 'lane', what, from: instruction.lanes, to: instruction.lanes + 4, put: [...first] };
  }
  if (op === 0x10) {
    const own = module.functions[instruction.callee - module.imported.length];
    const [parameters, results] = module.types[own ? own.type : module.imported[instruction.callee]];
    if (results.length === 0)
      yield whole(
        'call',
        'call deleted',
        parameters.map(() => DROP),
      );
  }
  if (op === 0xfc0a || op === 0xfc0b) yield whole('call', 'copy or fill deleted', [DROP, DROP, DROP]);
  if (op === 0x0f && !last)
    yield whole(
      'branch',
      'return deleted',
      module.types[fn.type][1].map(() => DROP),
    );
}

/** All mutants of the functions that the named exports reach, each with the instruction's offset in the module. */
export function wasmMutants(module, names) {
  const made = [];
  for (const index of reachable(module, names)) {
    const fn = module.functions[index];
    const { instructions } = fn;
    instructions.forEach((instruction, n) => {
      const last = n === instructions.length - 2;
      // A condition that the compiler has decided.
      if (instruction.op === CONST && instructions[n + 1].op === DROP) return;
      for (const mutant of instructionMutants(
        module,
        fn,
        instruction,
        instructions[n - 1],
        instructions[n + 1],
        last,
      )) {
        const same = mutant.put.length === mutant.to - mutant.from;
        if (same && mutant.put.every((byte, i) => byte === module.bytes[mutant.from + i])) continue;
        made.push({ ...mutant, fn, at: instruction.at });
      }
    });
  }
  return made;
}
