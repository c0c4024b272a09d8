// Runs mutants one after the other: each against the properties in turn, up to the first that does not hold. Messages in:
// the id of a mutant. Messages out: the step at work, so that the parent sees a mutant that never ends, and the outcome.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { listMutants } from './program.mjs';
import { replaceCode } from './wasm.mjs';

const [folder, early] = process.argv.slice(2);
// Choices made while the modules load need the number before.
globalThis.__mutant = early === undefined ? 0 : Number(early);
const load = (file) => import(pathToFileURL(join(folder, file)).href);
const { createEngine, configure } = await load('dist/engine/engine.js');
const { PROPERTIES, apartEngine, truths } = await load('properties.mjs');
const steps = Object.values(PROPERTIES).flat();
const truthFile = join(folder, 'truths.bin');
if (existsSync(truthFile))
  for (const [name, truth] of deserialize(readFileSync(truthFile))) truths.set(name, truth);
const mutants = new Map(listMutants(folder).map((mutant) => [mutant.id, mutant]));
const kernels = new Uint8Array(readFileSync(join(folder, 'kernels.wasm')));

/** Undefined, or what went wrong. */
async function firstFailure(wasm) {
  const wasmUrl = `data:application/wasm;base64,${Buffer.from(wasm).toString('base64')}`;
  configure({ wasmUrl });
  const make = (threads) => createEngine({ threads, simd: 'strict' });
  const engines = [];
  const kept = async (making) => {
    const engine = await making;
    engines.push(engine);
    return engine;
  };
  let step = 'start';
  try {
    const lab = {
      engine: await kept(make(1)),
      make: (threads) => kept(make(threads)),
      makeApart: () => kept(apartEngine('strict', wasmUrl)),
    };
    for (const { name, run } of steps) {
      step = name;
      process.send({ step });
      await run(lab);
    }
    return undefined;
  } catch (error) {
    return {
      step,
      message: String(error?.message ?? error)
        .split('\n')[0]
        .slice(0, 200),
    };
  } finally {
    for (const engine of engines) await engine.dispose();
  }
}

process.on('message', async ({ id }) => {
  const mutant = mutants.get(id);
  let wasm = kernels;
  if (mutant?.put) wasm = replaceCode(mutant.module, mutant.fn, mutant.from, mutant.to, mutant.put);
  if (!WebAssembly.validate(wasm)) {
    process.send({ id, invalid: true });
    return;
  }
  globalThis.__mutant = mutant?.number ?? 0;
  const failure = await firstFailure(wasm);
  if (id === 'none' && !failure) writeFileSync(truthFile, serialize([...truths]));
  process.send({ id, failure });
});
process.on('unhandledRejection', () => {});
process.send({ ready: true });
