// Compiles the kernels' AssemblyScript into one SIMD build, `relaxed` or `strict`.
import { execFileSync } from 'node:child_process';
import { renameSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');

/** Writes `file`. `constants`: integers the sources may ask for with isDefined. */
export function compileKernels(build, file, constants = {}) {
  const features = ['simd', 'threads', ...(build === 'relaxed' ? ['relaxed-simd'] : [])];
  const uses = ['abort=', ...Object.entries(constants).map(([name, value]) => `${name}=${value}`)];
  const flags =
    '-O3 --noAssert --runtime stub --importMemory --sharedMemory --initialMemory 2 --maximumMemory 65536';
  const args = [
    join(root, 'node_modules/assemblyscript/bin/asc.js'),
    join(root, 'src/kernels/cpu/assembly/index.ts'),
    ...['-o', `${file}.tmp`],
    ...flags.split(' '),
    ...features.flatMap((feature) => ['--enable', feature]),
    ...uses.flatMap((use) => ['--use', use]),
  ];
  execFileSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  renameSync(`${file}.tmp`, file);
}
