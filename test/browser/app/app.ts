// The app of the browser tests: what a page does with Fovea. Tests call it through globalThis.app.
import { type AttentionMap, attention, createEngine, type Engine } from 'fovea';
import { alignWords, crossWeights } from 'fovea/inspect';
import { loadTranslator } from 'fovea/tasks';
import { makeInputs, QUERY, type Sizes } from './inputs.js';

/** What the tests compare with numbers computed in Node. */
export interface Attended {
  isolated: boolean;
  threads: number;
  backend: string;
  output: number[];
  logSumExp: number[];
  row: number[];
  topKeys: number[];
  /** Tensors left in the engine. */
  tensors: number;
  /** Code of the error that the engine gives after its end, and the map after its own. */
  codes: string[];
}

const codeOf = (error: unknown) => String((error as { code?: string }).code);

async function attend(sizes: Sizes, threads?: number): Promise<Attended> {
  const engine = await createEngine({ threads });
  const { q, k, v } = makeInputs(sizes);
  const { output, logSumExp, map, backend } = await attention(q, k, v, { causal: true, engine });
  const place = { head: sizes.heads - 1, query: QUERY };
  const row = Array.from(await map.row(place));
  const { keys } = await map.topKeys({ ...place, count: 3 });
  const codes = [await codeAfterEnd(map)];
  const { tensors } = engine.memory;
  await engine.dispose();
  codes.push(await attention(q, k, v, { causal: true, engine }).then(() => 'none', codeOf));
  return {
    isolated: crossOriginIsolated,
    threads: engine.threads,
    backend,
    output: Array.from(output.data as Float32Array),
    logSumExp: Array.from(logSumExp.data),
    row,
    topKeys: Array.from(keys),
    tensors,
    codes,
  };
}

async function codeAfterEnd(map: AttentionMap): Promise<string> {
  map.dispose();
  return map.row({ head: 0, query: 0 }).then(() => 'none', codeOf);
}

/** How many turns the page's event loop had while attention was computed. */
async function turnsWhileAttending(sizes: Sizes, threads?: number): Promise<number> {
  const engine = await createEngine({ threads });
  const { q, k, v } = makeInputs(sizes);
  // The engine has started; from here on the page would only wait.
  await engine.finish();
  const counter = countTurns();
  await attention(q, k, v, { engine });
  const turns = counter.stop();
  await engine.dispose();
  return turns;
}

function countTurns(): { stop(): number } {
  const { port1, port2 } = new MessageChannel();
  let turns = 0;
  port1.onmessage = () => {
    turns++;
    port2.postMessage(0);
  };
  port2.postMessage(0);
  return {
    stop() {
      port1.close();
      return turns;
    },
  };
}

export interface Translated {
  threads: number;
  texts: string[];
  /** Of the first sentence's words against its translation's words, row by row. */
  alignment: number[];
  sourceWords: string[];
}

async function translate(model: string, sentences: string[], threads?: number): Promise<Translated> {
  const engine: Engine = await createEngine({ threads });
  const translator = await loadTranslator(model, { engine });
  const translations = await translator.translate(sentences);
  const { source, target, attention } = translations[0];
  const { sourceWords, matrix } = alignWords(source, target, crossWeights(await attention(), { layer: 1 }));
  translator.dispose();
  await engine.dispose();
  return {
    threads: engine.threads,
    texts: translations.map(({ text }) => text),
    alignment: Array.from(matrix.values),
    sourceWords,
  };
}

declare global {
  var app: {
    attend: typeof attend;
    turnsWhileAttending: typeof turnsWhileAttending;
    translate: typeof translate;
  };
}
globalThis.app = { attend, turnsWhileAttending, translate };
