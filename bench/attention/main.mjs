// Attention against its bars and its peers. Usage: npm run bench:attention -- [GROUP...] [--json]
//   groups: forward causal threads memory long longest backward decode small calls strict   (default: all)
// Each group runs in a process of its own, on inputs that are the same for all systems, after every system's result was
// checked against float64. Copies of inputs and outputs are counted. Run it on a quiet machine, under Node 24;
// FOVEA_OLD_NODE names a Node 20 for the group `strict`.
import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { GROUPS } from './groups.mjs';
import { inChild } from './processes.mjs';
import { versions } from './systems.mjs';

const LIMIT = 600_000;

/** In a child: one group. */
export async function job({ group }) {
  const { run, title } = await import(`./${GROUPS[group]}.mjs`);
  return { title, ...(await run(group)) };
}

function show({ title, table, bars }) {
  const lines = [table.head, ...table.rows].map((row) => row.map(String));
  const widths = lines[0].map((_, n) => Math.max(...lines.map((row) => row[n].length)));
  console.log(`\n${title}`);
  for (const row of lines)
    console.log(
      `  ${row
        .map((cell, n) => cell.padEnd(widths[n]))
        .join('  ')
        .trimEnd()}`,
    );
  for (const note of table.notes ?? []) console.log(`  ${note}`);
  for (const { work, bar, measured, met } of bars) {
    console.log(`  ${met ? 'met    ' : 'NOT MET'} ${work}: ${measured}, bar ${bar}`);
  }
}

async function main() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { json: { type: 'boolean', default: false } },
  });
  const unknown = positionals.find((name) => !Object.hasOwn(GROUPS, name));
  if (unknown) throw new Error(`unknown group ${unknown}: expected ${Object.keys(GROUPS).join(', ')}`);
  if (!existsSync(new URL('../node_modules/onnxruntime-web', import.meta.url))) {
    throw new Error('the peers are not installed: npm ci --prefix bench');
  }
  const groups = {};
  for (const group of positionals.length > 0 ? positionals : Object.keys(GROUPS)) {
    try {
      const { table, ...made } = await inChild('main', { group }, { limit: LIMIT });
      groups[group] = made;
      if (!values.json) show({ ...made, table });
    } catch (error) {
      if (values.json) throw error;
      console.log(`\n${group} failed: ${error.message}`);
      process.exitCode = 1;
    }
  }
  if (!values.json) return;
  const record = { format: 'fovea-bench-attention', version: 1, peers: versions(), groups };
  console.log(JSON.stringify(record));
}

if (process.argv[1] === import.meta.filename) {
  main().catch((error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
