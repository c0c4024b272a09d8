// The properties of attention (properties/), in every build this machine has. Errors are held to twice that of plain
// float32 plus 1e-6.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import { type Build, chooseBuild } from '../../dist/engine/kernels.js';
import type { Engine } from '../../dist/engine/types.js';
import { apartEngine, PROPERTIES } from './properties/index.js';

const builds: Build[] = chooseBuild('auto') === 'relaxed' ? ['strict', 'relaxed'] : ['strict'];

describe.each(builds)('attention, %s build: error ≤ twice plain float32 + 1e-6', (simd) => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await createEngine({ threads: 1, simd });
  });
  afterAll(() => engine.dispose());

  test.each(Object.keys(PROPERTIES))('%s', { timeout: 120_000 }, async (title) => {
    const make = (threads: number) => createEngine({ threads, simd });
    for (const step of PROPERTIES[title]) {
      try {
        await step.run({ engine, make, makeApart: (ends) => apartEngine(simd, undefined, ends) });
      } catch (cause) {
        throw new Error(`${step.name}: ${(cause as Error).message}`, { cause });
      }
    }
  });
});
