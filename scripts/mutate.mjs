// Mutates every branch, offset and bound of the attention kernels and their dispatch, one at a time, and runs the
// properties of test/kernels/properties against each: a mutant that no property notices has survived.
//
// Usage: npm run mutate [-- --seconds N] [--workers N] [--keep] [--only TEXT]
//   --seconds  stop after so long; the next call goes on where this one ended
//   --keep     after a change of the properties: mutants that were caught count as caught, the others run again
//   --only     mutants of files whose path contains TEXT
// It works in .cache/mutate; sources and dist/ stay as they are. The order is random but fixed, so a run that was
// stopped is a fair sample. What it found is recorded in bench/results/mutation.json.
import { fork } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { listMutants, makeProgram } from './mutate/program.mjs';
import { record, summary } from './mutate/record.mjs';

const root = join(import.meta.dirname, '..');
const folder = join(root, '.cache', 'mutate');
const resultFile = join(folder, 'results.json');
/** A step takes some tens of milliseconds; without one for this long the mutant never ends. */
const STUCK_MILLISECONDS = 8_000;
/** A worker keeps every module it compiled. */
const MUTANTS_PER_WORKER = 150;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: 'Infinity' },
    workers: { type: 'string', default: String(Math.min(4, availableParallelism())) },
    keep: { type: 'boolean', default: false },
    only: { type: 'string', default: '' },
  },
});

/** One child process: runs mutants in turn, and is replaced when it is old, stuck or dead. */
class Runner {
  /** The outcome of one mutant. What never ends runs once more, alone and for longer: the machine may have been busy. */
  async run(mutant) {
    const first = await this.attempt(mutant, STUCK_MILLISECONDS);
    return first.stuck ? this.attempt(mutant, 3 * STUCK_MILLISECONDS) : first;
  }

  async attempt(mutant, limit) {
    if (mutant.early || this.ran >= MUTANTS_PER_WORKER) this.end();
    if (!this.child) await this.start(mutant.early ? mutant.number : undefined);
    this.ran++;
    const { child } = this;
    const outcome = await new Promise((resolve) => {
      let step = 'start';
      const failed = (message, stuck) => resolve({ gone: true, stuck, failure: { step, message } });
      const wait = () => setTimeout(() => failed('it never ends', true), limit);
      let timer = wait();
      child.on('message', (message) => {
        clearTimeout(timer);
        if (!message.step) return resolve(message);
        step = message.step;
        timer = wait();
      });
      child.on('exit', () => {
        clearTimeout(timer);
        failed('the process died', false);
      });
      if (child.connected) child.send({ id: mutant.id });
      else failed('the process died while it started', false);
    });
    child.removeAllListeners();
    if (mutant.early || outcome.gone) this.end();
    return outcome;
  }

  async start(early) {
    this.ran = 0;
    const args = early === undefined ? [folder] : [folder, String(early)];
    const script = join(import.meta.dirname, 'mutate', 'worker.mjs');
    // Most of a mutant's time goes into compiling it: only what runs is compiled, and not twice.
    const execArgv = ['--wasm-lazy-compilation', '--liftoff-only'];
    const child = fork(script, args, { execArgv, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    this.child = child;
    // A worker that dies while it loads has met a mutant that acts at import; the attempt will find it dead.
    await new Promise((resolve) => child.once('message', resolve).once('exit', resolve));
    child.removeAllListeners();
  }

  end() {
    this.child?.kill('SIGKILL');
    this.child = undefined;
  }
}

function readResults(hashes) {
  if (!existsSync(resultFile)) return {};
  const saved = JSON.parse(readFileSync(resultFile, 'utf8'));
  if (saved.hashes.program !== hashes.program) return {};
  if (saved.hashes.properties === hashes.properties) return saved.results;
  if (!values.keep) return {};
  return Object.fromEntries(Object.entries(saved.results).filter(([, outcome]) => outcome !== 'survived'));
}

/** The same order in every call, far from that of the sources: a part of a run is a fair sample. */
function shuffled(list) {
  const key = ({ id }) => createHash('sha256').update(id).digest('hex');
  const keyed = list.map((mutant) => ({ mutant, key: key(mutant) }));
  return keyed.sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ mutant }) => mutant);
}

console.error('compiling ...');
const hashes = await makeProgram(root, folder);
const mutants = listMutants(folder).filter(({ file }) => file.includes(values.only));
const results = readResults(hashes);
const save = () => writeFileSync(resultFile, JSON.stringify({ hashes, results }));

const stamp = join(folder, 'properties.hash');
const checked = `${hashes.program} ${hashes.properties}`;
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== checked) {
  console.error('checking that the program itself passes ...');
  rmSync(join(folder, 'truths.bin'), { force: true });
  const runner = new Runner();
  const { failure } = await runner.run({ id: 'none' });
  runner.end();
  if (failure) {
    console.error(`without a mutation, '${failure.step}' fails: ${failure.message}`);
    process.exit(1);
  }
  writeFileSync(stamp, checked);
}

const open = shuffled(mutants).filter(({ id }) => results[id] === undefined);
const begun = Date.now();
const stopAt = begun + 1000 * Number(values.seconds);
const total = open.length;
let done = 0;

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
  while (open.length > 0 && Date.now() < stopAt) {
    const mutant = open.shift();
    const { failure, invalid } = await runner.run(mutant);
    results[mutant.id] = invalid
      ? 'no program'
      : failure
        ? `caught: ${failure.step}: ${failure.message}`
        : 'survived';
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
