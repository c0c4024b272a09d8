// The package as its users have it: packed by npm, installed into a project of its own, outside this repository.
import { execFile } from 'node:child_process';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { once } from './once.js';

export const root = join(import.meta.dirname, '../..');
const run = promisify(execFile);

export interface PackedFile {
  path: string;
  size: number;
}

export interface Installed {
  /** The packed file, and what it holds. */
  tarball: string;
  packedBytes: number;
  files: PackedFile[];
  /** A project with the package in node_modules, the consumer's scripts and the browser app. */
  project: string;
}

/** Packs and installs, once a run. */
export async function installed(): Promise<Installed> {
  const { result } = await once('installed', async (folder): Promise<Installed> => {
    const packed = await npm(root, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder);
    const [{ filename, size, files }] = JSON.parse(packed);
    const tarball = join(folder, filename);
    const project = join(folder, 'project');
    await cp(join(root, 'test/package/consumer'), project, { recursive: true });
    await cp(join(root, 'test/browser/app'), join(project, 'app'), { recursive: true });
    await writeFile(join(project, 'package.json'), '{ "private": true, "type": "module" }\n');
    await npm(project, 'install', tarball, '--prefer-offline', '--no-audit', '--no-fund', '--loglevel=error');
    return { tarball, packedBytes: size, files, project };
  });
  return result;
}

async function npm(folder: string, ...args: string[]): Promise<string> {
  const { stdout } = await run('npm', args, {
    cwd: folder,
    shell: process.platform === 'win32',
    maxBuffer: 2 ** 26,
  });
  return stdout;
}

/** A command line tool of the repository: its script, by package and name. */
export async function tool(name: string, bin: string): Promise<string> {
  const folder = join(root, 'node_modules', name);
  const manifest = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'));
  return join(folder, typeof manifest.bin === 'string' ? manifest.bin : manifest.bin[bin]);
}

/** Runs a Node script to its end; never throws. */
export async function node(
  args: string[],
  options: { cwd: string; timeout: number },
): Promise<{ code: number | null; stdout: string; stderr: string; killed: boolean }> {
  try {
    const { stdout, stderr } = await run(process.execPath, args, { ...options, maxBuffer: 2 ** 26 });
    return { code: 0, stdout, stderr, killed: false };
  } catch (error) {
    const { code, stdout, stderr, killed } = error as {
      code: number | null;
      stdout: string;
      stderr: string;
      killed: boolean;
    };
    return { code, stdout, stderr, killed };
  }
}
