// The bench behind the table of tiles (src/kernels/cpu/assembly/tiles.ts): compiles the kernels with each width of
// attention's register tile and times the forward, one thread, against the machine's peak in the same run.
// Usage: npm run bench:tune [-- --record]      --record writes this Node's part of bench/results/tune.json
// A Node without relaxed SIMD measures the strict build alone. Run it on a quiet machine.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { configure, createEngine } from '../dist/engine/engine.js';
import { attentionForward } from '../dist/engine/ops/attention.js';
import { compileKernels } from '../scripts/kernels.mjs';
import { interleave, median, seeded } from './measure.mjs';
import { preparePeak } from './peak.mjs';

const WIDTHS = [4, 5, 6];
const SHAPES = [
  { N: 1024, D: 64 },
  { N: 512, D: 32 },
  { N: 512, D: 128 },
];
const B = 1;
const H = 4;

const folder = mkdtempSync(join(tmpdir(), 'fovea-tune-'));
process.on('exit', () => rmSync(folder, { recursive: true }));

async function engineOf(build, wide) {
  const file = join(folder, `${build}-${wide}.wasm`);
  compileKernels(build, file, { TUNE_WIDE: wide });
  configure({ wasmUrl: pathToFileURL(file) });
  return createEngine({ threads: 1, simd: build });
}

function forward(engine, { N, D }) {
  const random = seeded();
  const operand = () => {
    const tensor = engine.tensor(
      Float32Array.from({ length: H * N * D }, () => 2 * random()),
      [H, N, D],
    );
    return { tensor, offset: 0, batch: 0, head: N * D, row: D };
  };
  const call = {
    ...{ q: operand(), k: operand(), v: operand(), B, H, Hkv: H, Lq: N, Lk: N, D, Dv: D },
    ...{ scale: 1 / Math.sqrt(D), softcap: 0, causal: false, window: [-1, -1], offset: 0 },
  };
  return { sync: true, flop: 4 * H * N * N * D, run: () => engine.scope(() => void attentionForward(call)) };
}

/** GFLOP/s and part of the peak, by shape and width. */
async function tune(build) {
  const engines = [];
  for (const wide of WIDTHS) engines.push(await engineOf(build, wide));
  // The peak's own tile does not depend on the width.
  const peak = { sync: true, ...(await preparePeak(engines[0])) };
  const results = [];
  for (const shape of SHAPES) {
    const jobs = engines.map((engine) => forward(engine, shape));
    const [peakTimes, ...times] = await interleave([peak, ...jobs]);
    const byWidth = WIDTHS.map((wide, n) => ({
      wide,
      gflops: median(times[n].map((ms) => jobs[n].flop / ms / 1e6)),
      ofPeak: median(times[n].map((ms, round) => jobs[n].flop / ms / (peak.flop / peakTimes[round]))),
    }));
    results.push({ ...shape, peak: median(peakTimes.map((ms) => peak.flop / ms / 1e6)), byWidth });
  }
  for (const engine of engines) await engine.dispose();
  return results;
}

const first = await createEngine({ threads: 1 });
const builds = first.build === 'relaxed' ? ['relaxed', 'strict'] : ['strict'];
await first.dispose();
const found = {};
for (const build of builds) {
  found[build] = await tune(build);
  for (const { N, D, peak, byWidth } of found[build]) {
    const cells = byWidth.map(
      ({ wide, gflops, ofPeak }) => `${wide}x8 ${gflops.toFixed(1)} (${(100 * ofPeak).toFixed(0)}%)`,
    );
    console.log(`${build}  N=${N} D=${D}  peak ${peak.toFixed(1)}  ${cells.join('  ')}`);
  }
}
if (process.argv.includes('--record')) {
  const path = join(import.meta.dirname, 'results/tune.json');
  const old = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
  const [major] = process.version.slice(1).split('.');
  const date = new Date().toISOString().slice(0, 10);
  const all = { ...old, format: 'fovea-bench-tune', version: 1, [`node ${major}`]: { date, ...found } };
  writeFileSync(path, `${JSON.stringify(all, null, 1)}\n`);
}
