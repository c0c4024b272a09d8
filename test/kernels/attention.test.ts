// The properties of attention (properties/), in every build this machine has. Errors are held to twice that of plain
// float32 plus 1e-6.
import { afterAll, beforeAll, describe, test } from 'vitest';
import { createEngine } from '../../dist/engine/engine.js';
import { type Build, chooseBuild } from '../../dist/engine/kernels.js';
import type { Engine } from '../../dist/engine/types.js';
import { makeMeter } from '../../scripts/mutate/meter.mjs';
import { apartEngine, PROPERTIES, STRICT_ALONE } from './properties/index.js';
import type { Lab } from './properties/lab.js';

const builds: Build[] = chooseBuild('auto') === 'relaxed' ? ['strict', 'relaxed'] : ['strict'];

describe.each(builds)('attention, %s build: error ≤ twice plain float32 + 1e-6', (simd) => {
  let engine: Engine;
  let meter: ReturnType<typeof makeMeter> | undefined;
  beforeAll(async () => {
    engine = await createEngine({ threads: 1, simd });
  });
  afterAll(async () => {
    await engine.dispose();
    await (await meter)?.engine.dispose();
  });

  const titles = Object.keys(PROPERTIES).filter((title) => simd === 'strict' || title !== STRICT_ALONE);
  test.each(titles)('%s', { timeout: 120_000 }, async (title) => {
    const lab: Lab = {
      engine,
      make: (threads) => createEngine({ threads, simd }),
      makeApart: (ends) => apartEngine(simd, undefined, ends),
      meter: () => {
        meter ??= makeMeter();
        return meter;
      },
    };
    for (const step of PROPERTIES[title]) {
      try {
        await step.run(lab);
      } catch (cause) {
        throw new Error(`${step.name}: ${(cause as Error).message}`, { cause });
      }
    }
  });
});
