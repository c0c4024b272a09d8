// Which WebAssembly build this machine runs, and where it comes from.
import { loadModule } from '#platform';
import { EngineError, UnsupportedError } from '../tensor/errors.js';

export type Build = 'relaxed' | 'strict';

// Modules of one function without parameters, written by hand: enough for WebAssembly.validate.
const HEADER = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
/** A type section for one result, a function section, and the body. */
function probe(result: number, body: number[]): Uint8Array<ArrayBuffer> {
  const code = [1, body.length + 2, 0, ...body, 0x0b];
  return new Uint8Array([...HEADER, 1, 5, 1, 0x60, 0, 1, result, 3, 2, 1, 0, 10, code.length, ...code]);
}
const V128 = 0x7b;
/** i32.const 0, i8x16.splat */
const ZEROES = [0x41, 0, 0xfd, 0x0f];
const SIMD = probe(V128, ZEROES);
/** ... f32x4.relaxed_madd */
const RELAXED = probe(V128, [...ZEROES, ...ZEROES, ...ZEROES, 0xfd, 0x85, 0x02]);

/** The build to use; throws EngineError where no build runs, UnsupportedError where the one asked for does not. */
export function chooseBuild(simd: 'auto' | Build): Build {
  if (typeof WebAssembly === 'undefined') throw new EngineError('this machine has no WebAssembly');
  if (!WebAssembly.validate(SIMD)) throw new EngineError('this machine has no WebAssembly SIMD (128 bits)');
  const relaxed = WebAssembly.validate(RELAXED);
  if (simd === 'relaxed' && !relaxed) {
    throw new UnsupportedError(
      "simd: 'relaxed' was asked for, but this machine has no WebAssembly relaxed SIMD",
    );
  }
  return simd === 'auto' ? (relaxed ? 'relaxed' : 'strict') : simd;
}

/** Where the build lies; bundlers rewrite these two expressions. */
function kernelUrl(build: Build): URL {
  return build === 'relaxed'
    ? new URL('../kernels/cpu/kernels.relaxed.wasm', import.meta.url)
    : new URL('../kernels/cpu/kernels.strict.wasm', import.meta.url);
}

const modules = new Map<string, Promise<WebAssembly.Module>>();

/** Compiles a build once; all engines and threads share the module. */
export function kernelModule(build: Build, wasmUrl?: string): Promise<WebAssembly.Module> {
  const url = wasmUrl ?? kernelUrl(build).href;
  let module = modules.get(url);
  if (!module) {
    module = loadModule(url).catch((cause: unknown) => {
      modules.delete(url);
      throw new EngineError(
        `kernels cannot be loaded from ${url}; configure({ wasmUrl }) tells where they are`,
        {
          cause,
        },
      );
    });
    modules.set(url, module);
  }
  return module;
}
