// An engine of dist/'s kernels that counts the turns of their loops. They are those of the sources: the compiler's
// optimisation leaves every loop as it is.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CpuEngine, KERNEL_NAMES } from '../../dist/engine/cpu-engine.js';
import { DirectExecutor } from '../../dist/engine/direct.js';
import { parseModule } from './wasm.mjs';
import { fuelEdits, meterOf, mutate, refuel } from './watch.mjs';

/** What the properties' lab calls a meter, of the strict build, with an engine of its own. */
export async function makeMeter() {
  const build = 'strict';
  const dist = new URL(`../../dist/kernels/cpu/kernels.${build}.wasm`, import.meta.url);
  const module = parseModule(new Uint8Array(readFileSync(dist)));
  const folder = mkdtempSync(join(tmpdir(), 'fovea-meter-'));
  try {
    const file = join(folder, 'kernels.wasm');
    writeFileSync(file, mutate(module, fuelEdits(module), {}));
    const wasmUrl = pathToFileURL(file).href;
    const executor = await DirectExecutor.create({ threads: 1, build, kernels: KERNEL_NAMES, wasmUrl });
    const engine = new CpuEngine(executor, build);
    refuel(engine);
    return meterOf(engine);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
