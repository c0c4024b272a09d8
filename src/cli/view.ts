// fovea view: the page on this machine, with a trace or a text in it, until Ctrl-C.
import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openTrace } from '../map/trace.js';
import { FileFormatError } from '../tensor/errors.js';
import { findModel } from './input.js';
import { print, tell, UsageError } from './output.js';
import { folderFiles, type PageServer, type Served, servePage } from './server.js';
import { traceTextFile } from './text-trace.js';

/** As the command line gives them. */
export interface ViewVerbOptions {
  model: string;
  text?: string;
  port?: number;
  open?: boolean;
  json?: boolean;
}

const PAGE = fileURLToPath(new URL('../viewer/', import.meta.url));

/** Runs the verb; resolves when it is interrupted. */
export async function runView(trace: string | undefined, options: ViewVerbOptions): Promise<void> {
  if (trace !== undefined && options.text !== undefined)
    throw new UsageError('view: expected a trace or --text, got both');
  const files = await pageFiles(options.model, await whatToShow(trace, options));
  const interrupted = interruption();
  const server = await servePage(files, options.port ?? 0);
  await announce(server, options);
  await interrupted;
  await server.close();
}

/** A trace by its file's name, checked or made here, so that what is wrong is said here and not in the page. */
async function whatToShow(
  trace: string | undefined,
  { text, model }: ViewVerbOptions,
): Promise<[name: string, served: Served] | undefined> {
  if (text !== undefined) return [`${basename(text)}.safetensors`, await traceTextFile(text, { model })];
  if (trace === undefined) return undefined;
  await checkTrace(trace);
  return [basename(trace), trace];
}

/** All that is served: the page, the model beside it, the trace, and page.json, which names them. */
async function pageFiles(
  model: string,
  trace: [name: string, served: Served] | undefined,
): Promise<Map<string, Served>> {
  const page = await folderFiles(PAGE).catch(() => []);
  if (page.length === 0) throw new FileFormatError(`${PAGE}: the page is not built (npm run build)`);
  const files = new Map<string, Served>(page);
  for (const [address, path] of await folderFiles(await findModel(model), '/model/'))
    files.set(address, path);
  const config: Record<string, string> = { model: './model/' };
  if (trace !== undefined) {
    const [name, served] = trace;
    config.trace = `./trace/${encodeURIComponent(name)}`;
    files.set(`/trace/${name}`, served);
  }
  files.set('/page.json', Buffer.from(JSON.stringify(config)));
  return files;
}

async function checkTrace(path: string): Promise<void> {
  if ((await stat(path)).isDirectory())
    throw new FileFormatError(`${path}: is a folder, expected a trace file`);
  const trace = await openTrace(path);
  const { length } = trace.entries;
  trace.dispose();
  if (length === 0) throw new FileFormatError(`${path}: the trace holds no attention`);
}

async function announce({ url }: PageServer, { json, open }: ViewVerbOptions): Promise<void> {
  await print(json ? JSON.stringify({ url }) : url);
  if (process.stderr.isTTY) tell('Ctrl-C ends it.');
  if (open) openBrowser(url);
}

/** Where no browser can be started, the address is printed all the same. */
function openBrowser(url: string): void {
  const [command, ...args] =
    process.platform === 'darwin'
      ? ['open', url]
      : process.platform === 'win32'
        ? ['cmd', '/c', 'start', '', url]
        : ['xdg-open', url];
  const browser = spawn(command, args, { stdio: 'ignore', detached: true });
  browser.on('error', () => {});
  browser.unref();
}

/** Ctrl-C, or the end that other programs ask for. */
function interruption(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}
