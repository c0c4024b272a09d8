// The vector functions behind the kernels, compiled alone in both builds, against float64.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'fovea-math-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Each function maps `count` (a multiple of 4) float32 at 1024 in place; log64 does so with float64. */
function compile(build: 'relaxed' | 'strict'): WebAssembly.Module | undefined {
  const from = relative(folder, join(root, 'src/kernels/cpu/assembly'));
  const source = `
    import { exp4, log64, normalTail4 } from '${from}/math';
    import { fillConstants } from '${from}/constants';
    import { philox8 } from '${from}/philox';
    export function init(): void { fillConstants(); }
    export function exp(count: usize): void {
      for (let p: usize = 1024; p < 1024 + (count << 2); p += 16) v128.store(p, exp4(v128.load(p)));
    }
    export function tail(count: usize): void {
      for (let p: usize = 1024; p < 1024 + (count << 2); p += 16) v128.store(p, normalTail4(v128.load(p)));
    }
    export function log(count: usize): void {
      for (let p: usize = 1024; p < 1024 + (count << 3); p += 8) store<f64>(p, log64(load<f64>(p)));
    }
    /** At 1024: c0 of eight blocks, c1 of eight, c2 and c3 of four lanes each, then the key. The words replace them. */
    export function philox(): void {
      const p: usize = 1024, c2 = v128.load(p, 64), c3 = v128.load(p, 80);
      const a1 = v128.load(p, 32), b1 = v128.load(p, 48);
      philox8(v128.load(p), a1, v128.load(p, 16), b1, c2, c3, load<u32>(p, 96), load<u32>(p, 100), p);
    }`;
  writeFileSync(join(folder, 'math.ts'), source);
  const features = ['simd', ...(build === 'relaxed' ? ['relaxed-simd'] : [])];
  const flags = ['-O3', '--runtime', 'stub', '--initialMemory', '20', '--use', 'abort=', '--disableWarning'];
  const out = `${build}.wasm`;
  const args = ['math.ts', '-o', out, ...flags, ...features.flatMap((f) => ['--enable', f])];
  execFileSync(process.execPath, [join(root, 'node_modules/assemblyscript/bin/asc.js'), ...args], {
    cwd: folder,
  });
  const bytes = readFileSync(join(folder, out));
  return WebAssembly.validate(bytes) ? new WebAssembly.Module(bytes) : undefined;
}

type Name = 'exp' | 'tail' | 'log' | 'philox';
type Functions = Record<Name, (count: number) => void> & { init(): void; memory: WebAssembly.Memory };

const modules = (['relaxed', 'strict'] as const).flatMap((build) => compile(build) ?? []);
const builds = modules.map((module) => {
  const functions = new WebAssembly.Instance(module).exports as unknown as Functions;
  functions.init();
  return functions;
});

/** f of every number, per build. */
function values(f: 'exp' | 'tail', x: Float32Array): Float32Array[] {
  return builds.map((build) => {
    new Float32Array(build.memory.buffer, 1024, x.length).set(x);
    build[f](Math.ceil(x.length / 4) * 4);
    return new Float32Array(build.memory.buffer, 1024, x.length).slice();
  });
}

/** Error in units of the last place that the exact value has in float32. */
function ulps(got: number, want: number): number {
  const unit = 2 ** (Math.floor(Math.log2(Math.abs(want))) - 23);
  return Math.abs(got - want) / unit;
}

const grid = (from: number, to: number, count: number) =>
  Float32Array.from({ length: count }, (_, i) => from + ((to - from) * (i + 0.37)) / count);

describe('exp4', () => {
  test('within 2 ulp from -86.98 to 88.7', () => {
    for (const x of [grid(-86.98, 88.7, 200_000), grid(-1, 1, 100_000)]) {
      for (const y of values('exp', x)) {
        let worst = 0;
        for (let i = 0; i < x.length; i++) worst = Math.max(worst, ulps(y[i]!, Math.exp(x[i]!)));
        expect(worst).toBeLessThanOrEqual(2);
      }
    }
  });

  test('ends of the range: 0 below -87, Infinity above 88.73, exp(0) = 1, NaN of any payload stays NaN', () => {
    const x = Float32Array.of(-Infinity, -1e30, -104, -87, 0, -0, 88.73, 89.5, 1e30, Infinity, NaN, NaN);
    new Uint32Array(x.buffer).set([0xffffffff, 0x7fc001ff], 10);
    for (const y of values('exp', x)) {
      expect(Array.from(y)).toEqual([0, 0, 0, 0, 1, 1, Infinity, Infinity, Infinity, Infinity, NaN, NaN]);
    }
  });
});

test('normalTail4: Φ(−|x|)·e^(x²/2) within 5e-7 relative, by its continued fraction and series, to |x| = 13', () => {
  const x = grid(-13, 13, 40_000);
  for (const y of values('tail', x)) {
    let worst = 0;
    for (let i = 0; i < x.length; i++) worst = Math.max(worst, Math.abs(y[i]! / tail(Math.abs(x[i]!)) - 1));
    expect(worst).toBeLessThan(5e-7);
  }
});

/** Φ(−x)·e^(x²/2) in float64, x >= 0. */
function tail(x: number): number {
  const z = x / Math.SQRT2;
  if (z < 2) {
    let [term, sum] = [z, z];
    for (let n = 1; n < 60; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return Math.exp(z * z) * (0.5 - sum / Math.sqrt(Math.PI));
  }
  let fraction = z;
  for (let n = 150; n > 0; n--) fraction = z + n / 2 / fraction;
  return 0.5 / fraction / Math.sqrt(Math.PI);
}

test('log64: within 4e-16·max(1, |log x|) of Math.log; 0, Infinity, negative and NaN', () => {
  const ordinary = Array.from({ length: 20_000 }, (_, i) => Math.exp((i - 10_000) / 31) * (1 + i / 1e5));
  const x = Float64Array.from([0, Infinity, NaN, -1, 1, ...ordinary]);
  for (const build of builds) {
    new Float64Array(build.memory.buffer, 1024, x.length).set(x);
    build.log(x.length);
    const y = new Float64Array(build.memory.buffer, 1024, x.length);
    expect(Array.from(y.subarray(0, 5))).toEqual([-Infinity, Infinity, NaN, NaN, 0]);
    for (let i = 5; i < x.length; i++) {
      const want = Math.log(x[i]!);
      expect(Math.abs(y[i]! - want) / Math.max(1, Math.abs(want))).toBeLessThanOrEqual(4e-16);
    }
  }
});

test('philox8 gives the published words of Philox4x32-10', () => {
  const known = [
    ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ];
  const words = (text: string) => text.split(' ').map((w) => Number.parseInt(w, 16));
  for (const build of builds) {
    for (const [counter, key, want] of known) {
      for (let block = 0; block < 8; block++) {
        const memory = new Uint32Array(build.memory.buffer, 1024, 32).fill(block + 7);
        const [c0, c1, c2, c3] = words(counter!) as [number, number, number, number];
        memory[block] = c0;
        memory[8 + block] = c1;
        memory[16 + (block & 3)] = c2;
        memory[20 + (block & 3)] = c3;
        memory.set(words(key!), 24);
        build.philox(0);
        const at = 16 * (block >> 2) + (block & 3);
        expect([0, 1, 2, 3].map((i) => memory[at + 4 * i])).toEqual(words(want!));
      }
    }
  }
});
