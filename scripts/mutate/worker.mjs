// Runs mutants one after the other: each against the steps of the properties that reach it, up to the first that does
// not hold. Messages in: the id of a mutant and its steps. Messages out: after each step that it goes on, and the outcome.
// `survey` runs the program itself.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { deserialize, serialize } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { listMutants } from './program.mjs';
import { burnt, fuelEdits, marking, meterOf, mutate, refuel, TURNS, takeMarks } from './watch.mjs';

const [folder, early] = process.argv.slice(2);
// The mutant of the dispatch that is on. Choices made while the modules load need it before.
let active = early === undefined ? 0 : Number(early);
globalThis.__mutant = (number) => number === active;
const load = (file) => import(pathToFileURL(join(folder, file)).href);
const { createEngine, configure } = await load('dist/engine/engine.js');
const { PROPERTIES, apartEngine, truths } = await load('properties.mjs');
const steps = Object.values(PROPERTIES).flat();
const [truthFile, surveyFile] = ['truths.bin', 'survey.json'].map((name) => join(folder, name));
if (existsSync(truthFile))
  for (const [name, truth] of deserialize(readFileSync(truthFile))) truths.set(name, truth);
const { turns } = existsSync(surveyFile) ? JSON.parse(readFileSync(surveyFile, 'utf8')) : {};
const list = listMutants(folder);
const mutants = new Map(list.map((mutant) => [mutant.id, mutant]));
const { module } = list[0];
const edits = fuelEdits(module);

// A step that takes this much of the processor's time never ends; counted apart, since a loop hears no timer.
const progress = new Int32Array(new SharedArrayBuffer(4));
const WATCH = `const { workerData } = require('node:worker_threads');
let [step, since] = [-1, 0];
setInterval(() => {
  const now = process.cpuUsage();
  const used = now.user + now.system;
  if (Atomics.load(workerData, 0) !== step) [step, since] = [Atomics.load(workerData, 0), used];
  else if (step % 2 === 1 && used - since > 6_000_000) process.kill(process.pid, 'SIGXCPU');
}, 200);`;
new Worker(WATCH, { eval: true, workerData: progress }).unref();

// An engine keeps modules by their address: each has one of its own.
const wasmFile = join(folder, `mutant-${process.pid}.wasm`);
let made = 0;

/** Runs steps in an engine of its own for each thread count they ask for; the first failure, if any. */
async function firstFailure(wasm, numbers, after = () => {}) {
  writeFileSync(wasmFile, wasm);
  const wasmUrl = `${pathToFileURL(wasmFile).href}?${++made}`;
  configure({ wasmUrl });
  const engines = [];
  const kept = async (making) => {
    const engine = await making;
    engines.push(engine);
    return engine;
  };
  const make = (threads) => kept(createEngine({ threads, simd: 'strict' }));
  const makeApart = (ends) => kept(apartEngine('strict', wasmUrl, ends));
  let step = 'start';
  Atomics.add(progress, 0, 1);
  try {
    const engine = await make(1);
    const lab = { engine, make, makeApart, meter: async () => meterOf(engine) };
    for (const number of numbers) {
      step = steps[number].name;
      Atomics.add(progress, 0, 2);
      if (turns) refuel(lab.engine, 20 * turns[number] + 1_000_000);
      await steps[number].run(lab);
      process.send({ alive: true });
      after(number, engines);
    }
    return undefined;
  } catch (error) {
    const message = String(error?.message ?? error).split('\n')[0];
    return { step, message: message.slice(0, 200) };
  } finally {
    Atomics.add(progress, 0, 1);
    for (const engine of engines) await engine.dispose();
  }
}

/** The program itself: it must pass; which steps reach which mutant, and the turns of loops they take, go to a file. */
async function survey() {
  const offsets = list.filter(({ put }) => put).map(({ at }) => at);
  const places = [...new Set(offsets)].sort((a, b) => a - b);
  const reached = new Set();
  globalThis.__mutant = (number) => {
    reached.add(number);
    return false;
  };
  const found = { turns: steps.map(() => 0), names: steps.map(({ name }) => name), places: {}, numbers: {} };
  const add = (where, key, step) => {
    where[key] ??= [];
    if (where[key].at(-1) !== step) where[key].push(step);
  };
  const failure = await firstFailure(marking(module, edits, places), [...steps.keys()], (step, engines) => {
    for (const engine of engines) {
      found.turns[step] += burnt(engine);
      refuel(engine);
      for (const place of takeMarks(engine, places.length)) add(found.places, places[place], step);
    }
    for (const number of reached) add(found.numbers, number, step);
    reached.clear();
  });
  if (!failure) {
    writeFileSync(truthFile, serialize([...truths]));
    writeFileSync(surveyFile, JSON.stringify(found));
    console.error(`at most ${Math.max(...found.turns)} turns of loops in a step, of ${TURNS}`);
  }
  return failure;
}

async function outcomeOf(id, numbers) {
  if (id === 'survey') return { failure: await survey() };
  const mutant = mutants.get(id);
  const wasm = mutate(module, edits, mutant);
  if (!WebAssembly.validate(wasm)) return { invalid: true };
  active = mutant.number ?? 0;
  return { failure: await firstFailure(wasm, numbers) };
}

process.on('message', async ({ id, steps: numbers }) => {
  const outcome = await outcomeOf(id, numbers);
  process.send({ ...outcome, large: process.memoryUsage().rss > 900 << 20 });
});
process.on('unhandledRejection', () => {});
process.send({ ready: true });
