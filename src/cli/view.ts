// fovea view: the page on this machine, with a trace, two or a text in it, until Ctrl-C.
import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openTrace } from '../map/trace.js';
import { CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE } from '../models/files.js';
import { FileFormatError } from '../tensor/errors.js';
import { findModel } from './input.js';
import { interruptible, print, tell, UsageError } from './output.js';
import { folderFiles, type Served, servePage } from './server.js';
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
export async function runView(traces: readonly string[], options: ViewVerbOptions): Promise<void> {
  if (traces.length > 0 && options.text !== undefined)
    throw new UsageError('view: expected a trace or --text, got both');
  const files = await pageFiles(options.model);
  // Before a text is read, which may take minutes: a port that is in use is told at once.
  const server = await servePage(files, options.port ?? 0);
  try {
    const [trace, second] = await interruptible(() => whatToShow(traces, options));
    for (const shown of [trace, second]) if (shown) files.set(shown.path, shown.served);
    files.set('/page.json', Buffer.from(JSON.stringify({ model: './model/', trace: trace?.address })));
    const interrupted = interruption();
    // What the page compares stands in its address.
    const hash = second ? `#${new URLSearchParams({ view: 'compare', trace2: second.address })}` : '';
    await announce(server.url + hash, options);
    await interrupted;
  } finally {
    await server.close();
  }
}

/** A trace as the server and the page know it. */
interface Shown {
  readonly path: string;
  readonly served: Served;
  readonly address: string;
}

/** The traces, checked or made here, so that what is wrong is not said first by the page. */
async function whatToShow(traces: readonly string[], { text, model }: ViewVerbOptions): Promise<Shown[]> {
  if (text !== undefined)
    return [shownIn('trace', `${basename(text)}.safetensors`, await traceTextFile(text, { model }))];
  for (const path of traces) await checkTrace(path);
  return traces.map((path, n) => shownIn(n === 0 ? 'trace' : 'second', basename(path), path));
}

/** In folders of their own: two traces may have one name. */
const shownIn = (folder: string, name: string, served: Served): Shown => ({
  path: `/${folder}/${name}`,
  served,
  address: `./${folder}/${encodeURIComponent(name)}`,
});

/** The page, and the model's own files beside it: its folder may hold what is nobody's business. */
async function pageFiles(model: string): Promise<Map<string, Served>> {
  const page = await folderFiles(PAGE).catch(() => []);
  if (page.length === 0) throw new FileFormatError(`${PAGE}: the page is not built (npm run build)`);
  const files = new Map<string, Served>(page);
  const folder = await findModel(model);
  for (const name of [CONFIG_FILE, WEIGHTS_FILE, TOKENIZER_FILE]) {
    const path = join(folder, name);
    if (!(await stat(path)).isFile()) throw new FileFormatError(`${path}: expected a file`);
    files.set(`/model/${name}`, path);
  }
  return files;
}

async function checkTrace(path: string): Promise<void> {
  if ((await stat(path)).isDirectory())
    throw new FileFormatError(`${path}: is a folder, expected a trace file`);
  const trace = await openTrace(path).catch((error) => {
    throw error instanceof FileFormatError
      ? new FileFormatError(`${path}: ${error.message}`, { cause: error })
      : error;
  });
  const { length } = trace.entries;
  trace.dispose();
  if (length === 0) throw new FileFormatError(`${path}: the trace holds no attention`);
}

async function announce(url: string, { json, open }: ViewVerbOptions): Promise<void> {
  await print(json ? JSON.stringify({ url }) : url);
  if (process.stderr.isTTY) tell('Ctrl-C ends it.');
  if (open) openBrowser(url);
}

/** Where no browser can be started, the address is printed all the same. */
function openBrowser(url: string): void {
  const [command, ...args] = openCommand(process.platform, url);
  const browser = spawn(command, args, { stdio: 'ignore', detached: true });
  browser.on('error', () => {});
  browser.unref();
}

/** Without a shell, to which the & of an address would be the end of a command. */
export function openCommand(platform: string, url: string): readonly [command: string, ...args: string[]] {
  if (platform === 'darwin') return ['open', url];
  if (platform === 'win32') return ['rundll32', 'url.dll,FileProtocolHandler', url];
  return ['xdg-open', url];
}

/** Ctrl-C, or the end that other programs ask for. */
function interruption(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve());
    process.once('SIGTERM', () => resolve());
  });
}
