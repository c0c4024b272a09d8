// The page that bench/map-page.mjs looks at: a trace's file in <fovea-map>, and stop-watches around what a reader does.
import { configure, createEngine, openTrace } from '../../dist/index.js';
import '../../dist/elements/index.js';
import relaxed from '../../dist/kernels/cpu/kernels.relaxed.wasm';
import strict from '../../dist/kernels/cpu/kernels.strict.wasm';

configure({ wasmUrl: { relaxed, strict }, workerUrl: './worker.js' });

const element = () => document.querySelector('fovea-map');
let map;

async function load() {
  const engine = await createEngine({ threads: 2 });
  const start = performance.now();
  const { size } = await (await fetch('/size')).json();
  const read = async (offset, length) => {
    const headers = { Range: `bytes=${offset}-${offset + length - 1}` };
    return new Uint8Array(await (await fetch('/trace', { headers })).arrayBuffer());
  };
  const trace = await openTrace({ size, read }, { engine });
  map = await trace.entries[0].map();
  return { ms: performance.now() - start, threads: engine.threads, backend: engine.backend };
}

/**
 * Milliseconds from a change until a picture of all in view is drawn, what share of it was read, and, where asked for, until
 * it is exact. `gap`: the longest time between two frames on the way, in milliseconds.
 */
async function watch(change, { exact = false, patience = 30_000 } = {}) {
  const start = performance.now();
  const result = { gap: 0 };
  let [last, running] = [start, true];
  const tick = () => {
    const now = performance.now();
    result.gap = Math.max(result.gap, now - last);
    last = now;
    if (running) requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, patience);
    const heard = ({ detail: { fraction } }) => {
      const ms = performance.now() - start;
      if (result.ms === undefined) Object.assign(result, { ms, fraction });
      if (fraction === 1) result.exactMs = ms;
      if (exact && fraction < 1) return;
      clearTimeout(timer);
      element().removeEventListener('fovea-picture', heard);
      // The frame is on the screen when the next begins.
      requestAnimationFrame(resolve);
    };
    element().addEventListener('fovea-picture', heard);
    change(element());
  });
  running = false;
  return result;
}

globalThis.bench = {
  load,
  show: () => watch((view) => (view.map = map)),
  look: (view, options) => watch((shown) => (shown.view = view), options),
  set: (settings) => watch((shown) => Object.assign(shown, settings)),
  view: () => element().view,
};
document.body.append(document.createElement('fovea-map'));
