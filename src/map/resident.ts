// Keys that maps keep in an engine between questions: whole key heads, the least recently used given up first, all maps
// of one engine together within a stated budget.
import type { AttentionProblem } from '../attention/problem.js';
import type { Operand } from '../engine/ops/attention.js';
import type { Engine } from '../engine/types.js';
import { uploadRows } from './call.js';
import { budget } from './parts.js';

/** Bytes of keys kept per engine: 32 MiB, unless the working budget is another. */
export const residentBytes = () => 2 * budget.bytes;

/** Its owner is named, not held: a map that nobody refers to any more must not keep its caller's arrays alive. */
interface Held {
  readonly owner: number;
  readonly operand: Operand;
  readonly bytes: number;
}

const engines = new WeakMap<Engine, Map<string, Held>>();
const names = new WeakMap<object, number>();
let named = 0;

/** Whether the keys of one head are kept: it follows from their size alone. */
export function staysResident(p: AttentionProblem, keys: number): boolean {
  return 4 * keys * p.D <= residentBytes();
}

/** All `keys` keys of one key head, brought in unless they are there. `owner` is whose they are: see forget(). */
export function residentKeys(
  engine: Engine,
  owner: object,
  p: AttentionProblem,
  batch: number,
  keyHead: number,
  keys: number,
): Operand {
  const all = engines.get(engine) ?? new Map<string, Held>();
  engines.set(engine, all);
  const own = names.get(owner) ?? named++;
  names.set(owner, own);
  const name = `${own}:${p.k.offsets[batch]}:${keyHead}:${keys}`;
  let held = all.get(name);
  all.delete(name);
  if (held === undefined) {
    const bytes = 4 * keys * p.D;
    makeRoom(all, bytes);
    const piece = {
      batches: [batch, batch + 1],
      heads: [0, 0],
      keyHeads: [keyHead, keyHead + 1],
      rows: [0, 0],
      keys: [0, keys],
    } as const;
    const operand = uploadRows(engine, p, 'k', piece);
    engine.keep(operand.tensor);
    held = { owner: own, operand, bytes };
  }
  all.set(name, held);
  return held.operand;
}

function makeRoom(all: Map<string, Held>, bytes: number): void {
  let sum = bytes;
  for (const held of all.values()) sum += held.bytes;
  for (const [name, held] of all) {
    if (sum <= residentBytes()) return;
    sum -= held.bytes;
    held.operand.tensor.dispose();
    all.delete(name);
  }
}

/** Gives up what is kept for an owner. */
export function forget(engine: Engine, owner: object): void {
  const all = engines.get(engine);
  const own = names.get(owner);
  for (const [name, held] of all ?? []) {
    if (held.owner !== own) continue;
    held.operand.tensor.dispose();
    all!.delete(name);
  }
}
