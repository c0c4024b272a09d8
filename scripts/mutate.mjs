// Mutates every branch, offset and bound of the attention kernels and their dispatch, one at a time, and runs the
// properties of test/kernels/properties against each: a mutant that no property notices has survived.
//
// Usage: npm run mutate [-- --seconds N] [--most N] [--workers N] [--fresh] [--seed TEXT] [--only TEXT]
//   --seconds  stop after so long; the next call goes on where this one ended
//   --most     stop after so many mutants
//   --fresh    forget what was found; else a mutant that was caught counts as caught until its own file changes
//   --seed     another order: with --fresh, a sample that tests were not written for
//   --only     mutants whose place, path:line:column, matches the regular expression TEXT
//   --work     run none, but record what the calls of test/kernels/properties/work.ts take now
// It works in .cache/mutate; sources and dist/ stay as they are. The order is random but fixed, so a run that was
// stopped is a fair sample. What it found is recorded in bench/results/mutation.json.
//
// The program itself runs first and tells which steps of the properties reach which mutant: no other step can notice
// it. Of those that do, the ones that caught mutants nearby run first.
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { listMutants, makeProgram } from './mutate/program.mjs';
import { record, recordWork, summary } from './mutate/record.mjs';

const root = join(import.meta.dirname, '..');
const folder = join(root, '.cache', 'mutate');
const [resultFile, surveyFile] = ['results.json', 'survey.json'].map((name) => join(folder, name));
/** Seconds of a step after which a worker waits for something that never comes; loops end by themselves. */
const SILENT = 120;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: 'Infinity' },
    most: { type: 'string', default: 'Infinity' },
    workers: { type: 'string', default: String(Math.min(4, availableParallelism())) },
    fresh: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '' },
    work: { type: 'boolean', default: false },
  },
});

/** One child process: runs mutants in turn, and is replaced when it is large, stuck or dead. */
class Runner {
  async run(mutant, steps) {
    if (mutant.early || this.large) this.end();
    if (!this.child) await this.start(mutant.early ? mutant.number : undefined);
    const { child } = this;
    const outcome = await new Promise((resolve) => {
      const gone = (step, message) => resolve({ gone: true, failure: { step, message } });
      let silent = 0;
      // Counted in turns of this process, which may have been stopped together with the child.
      const watch = setInterval(() => ++silent > SILENT && gone('?', 'it never ends'), 1000);
      const settled = (answer) => {
        clearInterval(watch);
        answer();
      };
      child.on('message', (message) => {
        if (message.alive) silent = 0;
        else settled(() => resolve(message));
      });
      child.on('exit', (_, signal) => {
        settled(() => gone('?', signal === 'SIGXCPU' ? 'it never ends' : `the process died (${signal})`));
      });
      if (child.connected) child.send({ id: mutant.id, steps });
      else settled(() => gone('start', 'the process died while it started'));
    });
    child.removeAllListeners();
    this.large = outcome.large;
    if (mutant.early || outcome.gone) this.end();
    return outcome;
  }

  async start(early) {
    this.large = false;
    const args = early === undefined ? [folder] : [folder, String(early)];
    const script = join(import.meta.dirname, 'mutate', 'worker.mjs');
    // Most of a mutant's time goes into compiling it: only what runs is compiled, and not twice.
    const execArgv = ['--wasm-lazy-compilation', '--liftoff-only', '--no-wasm-async-compilation'];
    const child = fork(script, args, { execArgv, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    this.child = child;
    // A worker that dies while it loads has met a mutant that acts at import; the attempt will find it dead.
    await new Promise((resolve) => child.once('message', resolve).once('exit', resolve));
    child.removeAllListeners();
  }

  end() {
    if (!this.child) return;
    this.child.kill('SIGKILL');
    rmSync(join(folder, `mutant-${this.child.pid}.wasm`), { force: true });
    this.child = undefined;
  }
}

/** What is known: mutants of unchanged files that were caught; the others too, if nothing at all has changed. */
function readResults() {
  if (values.fresh || !existsSync(resultFile)) return { results: {}, again: new Set() };
  const saved = JSON.parse(readFileSync(resultFile, 'utf8'));
  if (saved.hash === hash) return { results: saved.results, again: new Set(saved.again) };
  const entries = Object.entries(saved.results);
  const again = [...(saved.again ?? []), ...entries.filter(([, { step }]) => !step).map(([id]) => id)];
  return { results: Object.fromEntries(entries.filter(([, { step }]) => step)), again: new Set(again) };
}

/** The same order in every call, far from that of the sources: a part of a run is a fair sample. */
function shuffled(list) {
  const key = ({ id }) =>
    createHash('sha256')
      .update(values.seed + id)
      .digest('hex');
  const keyed = list.map((mutant) => ({ mutant, key: key(mutant) }));
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ mutant }) => mutant);
}

/** Runs the program itself, unless it has: it must pass. */
async function survey() {
  const stamp = join(folder, 'surveyed.hash');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== hash) {
    console.error('checking that the program itself passes ...');
    for (const name of ['truths.bin', 'survey.json', 'surveyed.hash'])
      rmSync(join(folder, name), { force: true });
    const runner = new Runner();
    const { failure } = await runner.run({ id: 'survey' }, []);
    runner.end();
    if (failure) {
      console.error(`without a mutation, '${failure.step}' fails: ${failure.message}`);
      process.exit(1);
    }
    writeFileSync(stamp, hash);
  }
  return JSON.parse(readFileSync(surveyFile, 'utf8'));
}

console.error('compiling ...');
const hash = await makeProgram(root, folder);
if (values.work) {
  await recordWork(root, folder);
  process.exit();
}
const only = new RegExp(values.only);
const mutants = listMutants(folder).filter(({ file, line, column }) =>
  only.test(`${file}:${line}:${column}`),
);
const { results, again } = readResults();
const save = () =>
  writeFileSync(
    resultFile,
    JSON.stringify({ hash, results, again: [...again].filter((id) => results[id] === undefined) }),
  );
const { names, places, numbers } = await survey();

/** Lines of one file at a time: how often each step caught a mutant there. */
const catches = new Map();
const NEAR = 10;
function nearby({ file, line }) {
  const key = `${file} ${Math.floor(line / NEAR)}`;
  if (!catches.has(key)) catches.set(key, new Map());
  return catches.get(key);
}

function caughtBy(mutant, name) {
  const step = names.indexOf(name);
  if (step < 0) return;
  const near = nearby(mutant);
  near.set(step, (near.get(step) ?? 0) + 1);
}

/** The steps that reach a mutant; all, where it acts at import. */
function stepsOf(mutant) {
  if (mutant.early) return [...names.keys()];
  const own = (mutant.number === undefined ? places[mutant.at] : numbers[mutant.number]) ?? [];
  const near = nearby(mutant);
  const best = own.filter((step) => near.has(step)).sort((a, b) => near.get(b) - near.get(a));
  const first = best.slice(0, 8);
  return [...first, ...own.filter((step) => !first.includes(step))];
}

for (const mutant of mutants) if (results[mutant.id]?.step) caughtBy(mutant, results[mutant.id].step);

// First those that survived before, without which the share of the caught would look too good.
const rest = shuffled(mutants).filter(({ id }) => results[id] === undefined);
const open = [...rest.filter(({ id }) => again.has(id)), ...rest.filter(({ id }) => !again.has(id))];
const begun = Date.now();
const stopAt = begun + 1000 * Number(values.seconds);
const total = open.length;
let done = 0;
let started = 0;

function progress() {
  const left = (((Date.now() - begun) / Math.max(1, done)) * (total - done)) / 60_000;
  const { caught, counted } = summary(mutants, results);
  const share = ((100 * caught) / Math.max(1, counted)).toFixed(1);
  const line = `${done} of ${total}, ${left.toFixed(1)} min left, ${share}% of ${counted} caught`;
  if (process.stderr.isTTY) process.stderr.write(`\r${line}   `);
  else if (done % 200 === 0 || done === total) console.error(line);
}

async function serve() {
  const runner = new Runner();
  while (open.length > 0 && Date.now() < stopAt && started < Number(values.most)) {
    started++;
    const mutant = open.shift();
    const steps = stepsOf(mutant);
    const { failure, invalid } = steps.length > 0 ? await runner.run(mutant, steps) : {};
    if (failure) caughtBy(mutant, failure.step);
    results[mutant.id] = failure ?? (invalid ? 'no program' : steps.length > 0 ? 'survived' : 'not reached');
    done++;
    if (done % 50 === 0) save();
    progress();
  }
  runner.end();
}

await Promise.all(Array.from({ length: Number(values.workers) }, serve));
save();
if (process.stderr.isTTY) console.error();
if (open.length > 0) console.error(`${open.length} are left; the same command goes on`);
if (values.only === '') record(root, mutants, results);
const { caught, counted } = summary(mutants, results);
console.log(`${caught} of ${counted} mutants caught, ${((100 * caught) / Math.max(1, counted)).toFixed(2)}%`);
