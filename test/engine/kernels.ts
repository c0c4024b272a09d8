// Kernels that only tests need, among them ones that trap or never end in time, compiled once
// into .cache/.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { ExecutorOptions } from '../../src/engine/executor.js';

const SOURCE = `
export function init(pointer: usize, bytes: usize): void { scratch = pointer; memory.fill(pointer, 7, bytes); }
let scratch: usize = 0;
/** out[part] = part + value */
export function mark(args: usize, part: u32): void {
  store<u32>(load<u32>(args) + (part << 2), part + load<u32>(args + 4));
}
/** out[part] += 1, to count how often a part ran */
export function count(args: usize, part: u32): void {
  const at = load<u32>(args) + (part << 2);
  store<u32>(at, load<u32>(at) + 1);
}
/** spends about value thousand steps, then out[part] = scratch pointer */
export function work(args: usize, part: u32): void {
  let n = load<u32>(args + 4) * 1000;
  let x: u32 = part | 1;
  while (n--) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
  store<u32>(load<u32>(args) + (part << 2), x == 0 ? 1 : scratch as u32);
}
/** traps in the part named by value */
export function trap(args: usize, part: u32): void {
  if (part == load<u32>(args + 4)) unreachable();
  let n: u32 = 20_000_000;
  let x: u32 = 1;
  while (n--) { x ^= x << 13; x ^= x >> 17; x ^= x << 5; }
  store<u32>(load<u32>(args), x);
}
`;

export const [MARK, COUNT, WORK, TRAP] = [0, 1, 2, 3];

let url: string | undefined;

/** What a DirectExecutor over the test kernels is made from. */
export function testKernels(threads: number): ExecutorOptions {
  url ??= compile();
  return { threads, build: 'strict', kernels: ['mark', 'count', 'work', 'trap'], wasmUrl: url };
}

function compile(): string {
  const root = resolve(import.meta.dirname, '../..');
  const hash = createHash('sha256').update(SOURCE).digest('hex').slice(0, 16);
  const file = join(root, '.cache', `test-kernels-${hash}.wasm`);
  if (!existsSync(file)) {
    const draft = join(root, '.cache', `test-kernels-${process.pid}`);
    mkdirSync(join(root, '.cache'), { recursive: true });
    writeFileSync(`${draft}.ts`, SOURCE);
    const asc = join(root, 'node_modules/assemblyscript/bin/asc.js');
    const flags = '-O --noAssert --runtime stub --importMemory --sharedMemory --initialMemory 2';
    const more = '--maximumMemory 65536 --enable threads --use abort=';
    const args = [asc, `${draft}.ts`, '-o', `${draft}.wasm`, ...flags.split(' '), ...more.split(' ')];
    execFileSync(process.execPath, args, { cwd: root });
    renameSync(`${draft}.wasm`, file);
    rmSync(`${draft}.ts`);
  }
  return pathToFileURL(file).href;
}
