// The strict build (no relaxed SIMD), one thread, N=2048: on the Node that FOVEA_OLD_NODE names (Node 20 runs it by
// itself), or else asked for on this one.
import { interleave, ratio, spread } from '../measure.mjs';
import { preparePeak } from '../peak.mjs';
import { atLeast } from './bars.mjs';
import { makeProblem } from './problem.mjs';
import { inChild } from './processes.mjs';
import { open, rates, ready } from './systems.mjs';

export const title = 'strict build, 1 thread, H=8, D=64, N=2048';

export async function job({ simd }) {
  const fovea = await open('fovea', { threads: 1, simd });
  const tile = await preparePeak(fovea.engine);
  const attend = await ready('fovea', fovea, makeProblem({ Lq: 2048 }));
  const [peak, own] = await interleave([{ ...tile, sync: true }, attend]);
  const { build } = fovea.engine;
  await fovea.close();
  return {
    ...{ node: process.version, build, gflops: spread(rates(attend.flop, own)) },
    ofPeak: ratio(rates(attend.flop, own), rates(tile.flop, peak)),
  };
}

export async function run() {
  const node = process.env.FOVEA_OLD_NODE;
  const results = await (node
    ? inChild('strict', { simd: 'auto' }, { node })
    : inChild('strict', { simd: 'strict' }));
  if (results.build !== 'strict')
    throw new Error(`FOVEA_OLD_NODE is ${results.node}, which runs the relaxed build`);
  const { gflops, ofPeak } = results;
  const note = `Node ${results.node}`;
  return {
    results,
    bars: [atLeast('strict build, forward N=2048', gflops.median, 28, ' GFLOP/s', note)],
    table: {
      head: ['node', 'GFLOP/s', 'of its peak'],
      rows: [[results.node, gflops.median.toFixed(1), `${(100 * ofPeak).toFixed(0)}%`]],
    },
  };
}
