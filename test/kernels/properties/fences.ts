// Steps of other files again, in an engine that watches what kernels touch (apart.ts): no part is idle or writes what
// another does, nothing changes but results, and nothing is read behind the end of an operand.
import { decodeEnds, decodeSteps } from './decode.js';
import { directSteps } from './gradients.js';
import { cornerSteps, randomSteps } from './kernels.js';
import type { Step } from './lab.js';
import { readingSteps } from './readings.js';

const fenced = ({ name, run }: Step): Step => ({
  name: `behind fences: ${name}`,
  run: async (lab) => {
    const engine = await lab.makeApart(true);
    await run({ ...lab, engine });
    await engine.dispose();
  },
});

const every = (steps: readonly Step[], apart: number) => steps.filter((_, n) => n % apart === 0);

export const fenceSteps: Step[] = [
  ...cornerSteps,
  ...every(randomSteps, 9),
  ...every(decodeSteps.slice(0, 60), 5),
  ...decodeEnds,
  ...every(readingSteps, 6),
  ...directSteps.slice(0, 1),
].map(fenced);
