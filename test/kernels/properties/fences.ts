// Steps of other files again, in an engine that watches what kernels touch (apart.ts): no part is idle or writes what
// another does, nothing changes but results, and nothing is read behind the end of an operand.
import { generator, makeCase, normals } from '../attention-cases.js';
import { decodeEnds, decodeSteps } from './decode.js';
import { fencedEdges } from './edges.js';
import { directSteps } from './gradients.js';
import { cornerSteps, randomSteps } from './kernels.js';
import { caseStep, type Step } from './lab.js';
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

/** Every operand there is, and keys that leave every rest of a register tile. */
const rests: Step[] = [1, 2, 3, 6, 7, 66, 67, 68, 69, 130].map((Lk) =>
  caseStep(`12 rows, ${Lk} keys`, () => {
    const random = generator(Lk);
    const shape = [12, Lk];
    const bools = () => Uint8Array.from({ length: 12 * Lk }, () => +(random() < 0.8));
    const options = {
      bias: { data: normals(12 * Lk, random), shape },
      mask: { data: bools(), shape, dtype: 'bool' as const },
      alibi: { data: Float32Array.of(0.1), shape: [1] },
      sinks: { data: Float32Array.of(0.5), shape: [1] },
      keyLengths: Int32Array.of(Lk),
      dropout: { rate: 0.2, keep: { data: bools(), shape, dtype: 'bool' as const } },
    };
    return makeCase({ q: [1, 1, 12, 12], k: [1, 1, Lk, 12], v: [1, 1, Lk, 9] }, options, random);
  }),
);

export const fenceSteps: Step[] = [
  ...rests,
  ...cornerSteps,
  ...every(randomSteps, 9),
  ...every(decodeSteps.slice(0, 60), 5),
  ...decodeEnds,
  ...every(readingSteps, 6),
  ...readingSteps.slice(-2),
  ...fencedEdges,
  ...directSteps.slice(0, 1),
].map(fenced);
