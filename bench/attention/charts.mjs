// The two charts of docs/, drawn from what is recorded in bench/results/attention-*.json: speed and memory against length.
import { lineChart } from './chart.mjs';
import { SYSTEMS } from './systems.mjs';

const X = { label: 'N, queries and keys (H=8, D=64, float32, one thread)' };
const WORDS = { fovea: 'Fovea', 'onnxruntime-node': 'onnxruntime-node (native)', plain: 'plain loops' };

/** Chart files by name; `read` gives a recorded bench, or null. Empty where something is not recorded yet. */
export function charts(read) {
  const [forward, memory, long] = ['forward', 'memory', 'long'].map((group) => read(`attention-${group}`));
  if (!forward || !memory || !long) return {};
  const sizes = [...memory.results, ...long.results];
  const caption = captionOf(forward);
  return {
    'attention-speed.svg': speedChart(forward.results, sizes, caption),
    'attention-memory.svg': memoryChart(sizes, caption),
  };
}

function captionOf({ machine, node, peers, date }) {
  const versions = Object.entries(peers).map(([name, version]) => `${name} ${version}`);
  return `${machine.processor}, ${machine.cores} cores, Node ${node}, ${date}; ${versions.join(', ')}.`;
}

/** A system's name, and where it fails. */
function labelOf(name, sizes) {
  const failed = sizes.find(({ systems }) => systems[name]?.error);
  return (WORDS[name] ?? name) + (failed ? `, fails at ${failed.N.toLocaleString('en')}` : '');
}

const series = (sizes, pointsOf) =>
  SYSTEMS.map((name) => ({
    label: labelOf(name, sizes),
    points: pointsOf(name),
    own: name === 'fovea',
    dashed: name === 'onnxruntime-node',
  }));

function speedChart(forward, sizes, caption) {
  const measured = new Set(forward.map(({ N }) => N));
  const lengths = [...forward, ...sizes.filter(({ N }) => !measured.has(N))];
  const points = (name) =>
    lengths.flatMap(({ N, systems }) => {
      const made = systems[name];
      const rate = made?.median ?? made?.gflops;
      return rate === undefined ? [] : [[N, rate]];
    });
  const peak = forward.at(-1).peak.median.toFixed(0);
  return lineChart({
    title: 'Attention, forward: GFLOP/s against length',
    caption: [
      caption,
      'Medians of nine rounds, above 2,048 single calls in fresh processes; copies of inputs and outputs counted.',
      `The machine's peak in WebAssembly, one thread: ${peak} GFLOP/s. Native code has vectors four times as wide.`,
    ],
    x: { ...X, ticks: lengths.map(({ N }) => N) },
    y: { label: 'GFLOP/s', ticks: [1, 2, 4, 8, 16, 32, 64, 128, 256] },
    series: series(sizes, points),
  });
}

function memoryChart(sizes, caption) {
  const points = (name) =>
    sizes.flatMap(({ N, systems }) => {
      const made = systems[name];
      return made?.megabytes === undefined ? [] : [[N, made.megabytes]];
    });
  return lineChart({
    title: 'Attention, forward: peak memory against length, beyond inputs and outputs',
    caption: [
      caption,
      'Peak resident memory of a process, less that of one that only allocates inputs and outputs.',
    ],
    x: { ...X, ticks: sizes.map(({ N }) => N) },
    y: { label: 'MB', ticks: [4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096] },
    series: series(sizes, points),
  });
}
