// A part of many batch entries goes through the engine a few of them at a time: what the kernel reads was written a moment
// ago and lies in the core's cache still. While threads compute a portion, the caller fetches the results of the one before
// and brings the operands of the next.
import type { AttentionProblem } from '../attention/problem.js';
import {
  type AttentionCall,
  type AttentionResult,
  attentionForward,
  type Operand,
} from '../engine/ops/attention.js';
import type { Engine } from '../engine/types.js';
import { sizeOfBox } from './boxes.js';
import { type KeyRows, named, type Piece, rowBox, rowOperand, uploadPiece, uploadRows } from './call.js';

/** A call whose operands are in the engine, and where its output goes. */
export interface Ready {
  call: AttentionCall;
  output: Operand;
}

/** Brings what a piece needs beside its keys. */
export function makeReady(
  engine: Engine,
  p: AttentionProblem,
  piece: Piece,
  keys: KeyRows,
  options?: { sinks: boolean },
): Ready {
  const own = rowBox(p, p.output, piece.batches, piece.heads, piece.rows);
  const call = uploadPiece(engine, p, piece, keys, options);
  const output = named('output', p.output, () => engine.empty([sizeOfBox(own)]));
  return { call, output: rowOperand(p, output, own) };
}

/** Computes portions one after the other; `read` reads the results of one. */
export async function runPortions(
  engine: Engine,
  p: AttentionProblem,
  portions: readonly Piece[],
  read: (made: AttentionResult, portion: Piece) => Promise<void>[],
): Promise<void> {
  const reads: Promise<void>[] = [];
  let ready: [Ready, free: () => void];
  let fetch: (() => void) | undefined;
  /** Fetches what is computed and brings portion n. */
  const turn = (n: number) => {
    fetch?.();
    fetch = undefined;
    const portion = portions[n];
    if (portion === undefined) return;
    ready = engine.hold(() => {
      const [k, v] = [uploadRows(engine, p, 'k', portion), uploadRows(engine, p, 'v', portion)];
      return makeReady(engine, p, portion, { k, v });
    });
  };
  const overlap = engine.threads > 1;
  try {
    engine.allOrNothing(() => {
      turn(0);
      for (const [n, portion] of portions.entries()) {
        const [{ call, output }, free] = ready;
        const meanwhile = overlap ? () => turn(n + 1) : undefined;
        const [made, freeMade] = engine.hold(() => attentionForward(call, output, meanwhile));
        fetch = () => {
          reads.push(...read(made, portion));
          freeMade();
          free();
        };
        if (!overlap) turn(n + 1);
      }
      fetch?.();
    });
  } catch (error) {
    // Reads that were issued may fail for the same reason: nobody waits for them any more.
    void Promise.allSettled(reads);
    throw error;
  }
  await Promise.all(reads);
}
