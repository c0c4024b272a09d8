// Where engines come from: createEngine, the lazy default one, and where bundled applications keep the files.
import { cores, mayBlock, mayShare } from '#platform';
import { EngineError, FoveaError, OptionError } from '../tensor/errors.js';
import { checkOptions } from '../tensor/host.js';
import { CpuEngine, KERNEL_NAMES } from './cpu-engine.js';
import { DirectExecutor } from './direct.js';
import type { Executor, ExecutorOptions } from './executor.js';
import { type Build, chooseBuild } from './kernels.js';
import { QueuedExecutor, startEngineWorker } from './queued.js';
import type { Engine, EngineOptions, Tensor } from './types.js';

/** Threads by default, at most. */
const MAXIMUM_DEFAULT_THREADS = 16;
const MAXIMUM_THREADS = 256;

/** Where files lie that a bundler did not carry along. */
export interface Configuration {
  /** The WebAssembly file, or one per build: copies of fovea/wasm/relaxed.wasm and fovea/wasm/strict.wasm. */
  wasmUrl?: string | URL | { relaxed: string | URL; strict: string | URL };
  /** A bundle of fovea/worker, as a module of its own; one file serves all workers. */
  workerUrl?: string | URL;
}

const configuration: Configuration = {};

/** Tells where the WebAssembly and worker files lie, before the first engine is made.
 * Throws OptionError for a name it does not know. */
export function configure(options: Configuration): void {
  checkOptions('configure', options, ['wasmUrl', 'workerUrl']);
  Object.assign(configuration, options);
}

/**
 * Makes an engine on this machine's CPU.
 *
 * Throws OptionError for a bad option, UnsupportedError when the SIMD build asked for does not run here, EngineError
 * when no build does.
 */
export async function createEngine(options: EngineOptions = {}): Promise<Engine> {
  checkOptions('createEngine', options, ['threads', 'simd']);
  const { simd = 'auto' } = options;
  if (simd !== 'auto' && simd !== 'relaxed' && simd !== 'strict') {
    throw new OptionError(`simd: expected 'auto', 'relaxed' or 'strict', got ${String(simd)}`);
  }
  const threads = chooseThreads(options.threads);
  const build = chooseBuild(simd);
  const setup: ExecutorOptions = { threads, build, kernels: KERNEL_NAMES, ...configuredUrls(build) };
  return new CpuEngine(await startExecutor(setup), build);
}

async function startExecutor(setup: ExecutorOptions): Promise<Executor> {
  try {
    if (mayBlock) return await DirectExecutor.create(setup);
    return await QueuedExecutor.create(setup, startEngineWorker(setup.workerUrl));
  } catch (cause) {
    if (cause instanceof FoveaError) throw cause;
    // A bundle without an address of its own (CommonJS), or a worker that the page may not start.
    throw new EngineError(
      `no engine starts here: ${(cause as Error)?.message}; configure({ wasmUrl, workerUrl }) tells where its files lie`,
      { cause },
    );
  }
}

/** The configured files as absolute addresses: a worker's relative ones would start from its own script. */
function configuredUrls(build: Build): { wasmUrl?: string; workerUrl?: string } {
  const { wasmUrl, workerUrl } = configuration;
  const both = typeof wasmUrl === 'object' && 'strict' in wasmUrl;
  return {
    wasmUrl: absolute('wasmUrl', both ? wasmUrl[build] : wasmUrl),
    workerUrl: absolute('workerUrl', workerUrl),
  };
}

function absolute(name: string, url: string | URL | undefined): string | undefined {
  if (url === undefined) return undefined;
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw new OptionError(`configure: ${name} is not an address, or relative where there is no page: ${url}`);
  }
}

let told = false;

function chooseThreads(wanted?: number): number {
  if (wanted !== undefined && !(Number.isInteger(wanted) && wanted >= 1 && wanted <= MAXIMUM_THREADS)) {
    throw new OptionError(`threads: expected a whole number from 1 to ${MAXIMUM_THREADS}, got ${wanted}`);
  }
  const threads = wanted ?? Math.min(MAXIMUM_DEFAULT_THREADS, cores());
  if (threads === 1 || mayShare) return threads;
  if (!told) {
    told = true;
    console.info('fovea: the page is not cross-origin isolated (COOP and COEP headers); one thread computes');
  }
  return 1;
}

let shared: Promise<CpuEngine> | undefined;

/** The engine used where none is named; made at the first call, anew after it was disposed or broke. */
export async function defaultEngine(): Promise<Engine> {
  while (shared) {
    const current = shared;
    const engine = await current;
    if (engine.usable) return engine;
    if (shared === current) shared = undefined;
  }
  const fresh = createEngine() as Promise<CpuEngine>;
  shared = fresh;
  fresh.catch(() => {
    if (shared === fresh) shared = undefined;
  });
  return fresh;
}

/** The engine all tensors belong to; throws EngineError when they belong to several. Undefined ones are skipped. */
export function sameEngine(first: Tensor, ...others: (Tensor | undefined)[]): Engine {
  for (const tensor of others) {
    if (tensor && tensor.engine !== first.engine) {
      throw new EngineError(
        'tensors of two engines cannot be mixed: read() one and copy it with engine.tensor()',
      );
    }
  }
  return first.engine;
}
