// Work in a child process: child.mjs runs job() of one file here and prints its result as the last line. Whatever ends the
// child (an error, a signal, the time limit) comes back as an Error with its first words.
import { spawn } from 'node:child_process';
import { join } from 'node:path';

const folder = import.meta.dirname;
const LIMIT = 140_000;
const running = new Set();

/** Ends what runs when this process is told to end, which is how its own parent stops it. */
function endTogether() {
  if (process.listenerCount('SIGTERM') > 0) return;
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => {
      for (const child of running) child.kill('SIGTERM');
      process.exit(1);
    });
  }
}

/** Result of job(options) in `${file}.mjs`, run by `node`. */
export function inChild(file, options = {}, { node = process.execPath, limit = LIMIT } = {}) {
  return new Promise((done, fail) => {
    const args = [join(folder, 'child.mjs'), file, JSON.stringify(options)];
    const child = spawn(node, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    endTogether();
    running.add(child);
    const text = { out: '', err: '' };
    child.stdout.on('data', (data) => (text.out += data));
    child.stderr.on('data', (data) => (text.err += data));
    const timer = setTimeout(() => child.kill('SIGTERM'), limit);
    const started = performance.now();
    child.on('error', fail);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      const line = text.out.trim().split('\n').at(-1);
      if (code === 0 && line !== '') return done(JSON.parse(line));
      if (performance.now() - started >= limit) return fail(new Error(`no result after ${limit / 1000} s`));
      fail(new Error(firstWords(text.err) || `ended by ${signal ?? code}`));
    });
  });
}

/** The line that says what went wrong, shortened. */
function firstWords(text) {
  const lines = text.split('\n').map((line) => line.trim());
  const said = lines.find((line) => /error|out of memory|overflow/i.test(line)) ?? lines.find(Boolean) ?? '';
  return said.replace(/\S*\/(\S+:\d+)/, '$1').slice(0, 200);
}
