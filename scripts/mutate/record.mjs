// What a run of the mutation script found: counts, and the survivors with their lines.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { makeMeter } from './meter.mjs';

/** Mutants that ran and are programs at all, and how many of them were caught. */
export function summary(mutants, results) {
  let [caught, counted] = [0, 0];
  for (const { id } of mutants) {
    const outcome = results[id];
    if (outcome === undefined || outcome === 'no program') continue;
    counted++;
    if (outcome.step) caught++;
  }
  return { caught, counted };
}

function countBy(mutants, results, key) {
  const groups = {};
  for (const mutant of mutants) {
    groups[mutant[key]] ??= [];
    groups[mutant[key]].push(mutant);
  }
  return Object.fromEntries(
    Object.entries(groups).map(([name, own]) => {
      const { caught, counted } = summary(own, results);
      return [name, { ran: counted, caught }];
    }),
  );
}

/** Writes bench/results/mutation.json. */
export function record(root, mutants, results) {
  const lines = new Map();
  const lineOf = ({ file, line }) => {
    if (!lines.has(file)) lines.set(file, readFileSync(join(root, file), 'utf8').split('\n'));
    return lines.get(file)[line - 1].trim();
  };
  const { caught, counted } = summary(mutants, results);
  const survivors = mutants
    .filter(({ id }) => results[id] === 'survived' || results[id] === 'not reached')
    .map((mutant) => {
      const { id, file, line, column, what, within } = mutant;
      const reached = results[id] === 'survived' ? {} : { reached: false };
      return { at: `${file}:${line}:${column}`, what, ...reached, code: lineOf(mutant), within };
    })
    .sort((a, b) => a.at.localeCompare(b.at, 'en', { numeric: true }));
  const git = (...args) => execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim();
  const made = {
    commit: git('rev-parse', '--short', 'HEAD'),
    mutants: mutants.length,
    ran: counted,
    caught,
    score: Number(((100 * caught) / counted).toFixed(2)),
    byKind: countBy(mutants, results, 'kind'),
    byFile: countBy(mutants, results, 'file'),
    survivors,
  };
  writeFileSync(join(root, 'bench/results/mutation.json'), `${JSON.stringify(made, null, 1)}\n`);
}

/** Writes what calls take now beside the property that holds them to it, and tells which take more or less than before. */
export async function recordWork(root, folder) {
  const file = join(root, 'test/kernels/properties/work.json');
  const { countWork } = await import(pathToFileURL(join(folder, 'properties.mjs')).href);
  const meter = await makeMeter();
  const [before, now] = [JSON.parse(readFileSync(file, 'utf8')), await countWork(meter)];
  await meter.engine.dispose();
  for (const [name, work] of Object.entries(now)) {
    for (const [kernel, count] of Object.entries(work)) {
      const was = before[name]?.[kernel];
      if (was !== count) console.log(`${name}: ${kernel} ${was ?? 'none'} → ${count}`);
    }
  }
  writeFileSync(file, `${JSON.stringify(now, null, 2)}\n`);
}
