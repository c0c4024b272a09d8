// All properties of attention, those that break soonest first.
import { boxSteps } from './boxes.js';
import { decodeSteps } from './decode.js';
import { edgeNumberSteps } from './edges.js';
import { fenceSteps } from './fences.js';
import { directSteps, headStep, packedDrawStep, pieceSteps } from './gradients.js';
import { hostDoorSteps, hostSteps } from './host.js';
import { issuedSteps } from './issued.js';
import { cornerSteps, edgeSteps, randomSteps, unluckySteps, widthSteps, windowSteps } from './kernels.js';
import type { Step } from './lab.js';
import { cuttingSteps, largeSteps, numberSteps, spoilStep } from './numbers.js';
import { opsSteps } from './ops.js';
import { planSteps } from './plans.js';
import { readingSteps } from './readings.js';
import { slotSteps } from './slots.js';
import { workSteps } from './work.js';

export { apartEngine } from './apart.js';
export { truths } from './lab.js';
export { countWork } from './work.js';

/** Counted and recorded in the strict build: the other has wider tiles. */
export const STRICT_ALONE = 'turns of loops, strict build';

/** Groups of steps by title; the order is that of the mutation script. */
export const PROPERTIES: Record<string, readonly Step[]> = {
  'every option at once': [spoilStep, ...cornerSteps],
  [STRICT_ALONE]: workSteps,
  'random calls': randomSteps.flatMap((step, n) => (n % 10 === 0 ? [spoilStep, step] : [step])),
  'calls in which plain float32 is lucky': unluckySteps,
  'the door of engine tensors': opsSteps,
  'what kernels are told': [...issuedSteps, ...slotSteps],
  'few queries over many keys': decodeSteps,
  'what maps read': readingSteps,
  'large and small scores': largeSteps,
  'NaN, ∞, empty rows, order of keys': numberSteps,
  'lengths around the edges of tiles': [...edgeSteps, ...windowSteps],
  'widths from 1 to 512': widthSteps,
  'gradients in pieces, packed draws': [...pieceSteps, ...directSteps, headStep, packedDrawStep],
  'host arrays: boxes and plans': [...boxSteps, ...planSteps],
  'host arrays: random calls': hostSteps,
  'host arrays: merging, rows, ranges': hostDoorSteps,
  'parts and threads': cuttingSteps,
  'numbers on an edge': edgeNumberSteps,
  'behind fences': fenceSteps,
};
