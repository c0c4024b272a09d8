// What is added to the kernels so that runs of mutants end and are short: fuel, which every turn of a loop burns, and
// marks, by which the unchanged program tells which steps reach which mutant.
import { editCode, signed } from './wasm.mjs';

// Both lie in the page of the arguments, far behind the longest block of them.
const MARKS = 32_768;
const FUEL = 60_000;
/** Turns of loops after which a program never ends: some times what the longest step takes. */
export const TURNS = 40_000_000;

const [IF, UNREACHABLE, END, CONST, LOAD, STORE, STORE_BYTE] = [0x04, 0x00, 0x0b, 0x41, 0x28, 0x36, 0x3a];
const [ADD, ABOVE, LOOP] = [0x6a, 0x4b, 0x03];
const i32 = (value) => [CONST, ...signed(BigInt(value))];
const memory = (op, align) => [op, align, 0];

const BURN = [
  ...[...i32(FUEL), ...i32(FUEL), ...memory(LOAD, 2), ...i32(1), ADD, ...memory(STORE, 2)],
  ...[...i32(FUEL), ...memory(LOAD, 2), ...i32(TURNS), ABOVE, IF, 0x40, UNREACHABLE, END],
];

/** Edits that let every loop burn fuel. */
export function fuelEdits({ functions }) {
  const loops = functions.flatMap(({ instructions }) => instructions.filter(({ op }) => op === LOOP));
  return loops.map(({ end }) => ({ from: end, to: end, put: BURN }));
}

/** The module with `edits` (fuelEdits) and one mutant's change, if it is one of the kernels. */
export function mutate(module, edits, { from, to, put }) {
  if (put === undefined) return editCode(module, edits);
  const at = edits.findIndex((edit) => edit.from > from);
  const place = at < 0 ? edits.length : at;
  return editCode(module, [...edits.slice(0, place), { from, to, put }, ...edits.slice(place)]);
}

/** The module that marks each of `places`, offsets of instructions in ascending order, when it gets there. */
export function marking(module, edits, places) {
  const marks = places.map((at, n) => ({
    from: at,
    to: at,
    put: [...i32(MARKS + n), ...i32(1), ...memory(STORE_BYTE, 0)],
  }));
  const all = [...edits, ...marks].sort((a, b) => a.from - b.from);
  return editCode(module, all);
}

const bufferOf = (engine) => engine.executor.integers.buffer;

/** Sets an engine's fuel to full, but for the turns that a step may take less than others. */
export function refuel(engine, allowed = TURNS) {
  new Uint32Array(bufferOf(engine), FUEL, 1)[0] = TURNS - Math.min(TURNS, allowed);
}

export function burnt(engine) {
  return new Uint32Array(bufferOf(engine), FUEL, 1)[0];
}

/** What the properties' lab calls a meter, of an engine whose loops burn fuel: { engine, turns() }. */
export function meterOf(engine) {
  let last = burnt(engine);
  return {
    engine,
    turns() {
      const now = burnt(engine);
      const since = now - last;
      last = now;
      return since;
    },
  };
}

/** Which of `count` places an engine's kernels have marked since the last call. */
export function takeMarks(engine, count) {
  const marks = new Uint8Array(bufferOf(engine), MARKS, count);
  const found = [];
  for (let n = 0; n < count; n++) if (marks[n] === 1) found.push(n);
  marks.fill(0);
  return found;
}
