// A server for one page on this machine: it listens on 127.0.0.1 alone, and serves the files it was given by name when
// it started, no others: an address never becomes a path.
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { EngineError, OptionError } from '../tensor/errors.js';

/** A file's path, or its bytes. */
export type Served = string | Uint8Array;

/** Addresses (from '/') and what is behind them. */
export type ServedFiles = ReadonlyMap<string, Served>;

export interface PageServer {
  /** Address of the page, with its port. */
  readonly url: string;
  /** Ends all connections. */
  close(): Promise<void>;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
};

/** Cross-origin isolation, for threads; scripts and workers of the page alone. */
const HEADERS: Readonly<Record<string, string>> = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Content-Security-Policy':
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; " +
    "style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
  'Cache-Control': 'no-cache',
};

/** Bytes read from a file at a time: in Node's usual 64 kB a large trace costs three times the work. */
const READ = 2 ** 20;

/** All files of a folder, under addresses that begin with `prefix`; links are not followed. */
export async function folderFiles(folder: string, prefix = '/'): Promise<[string, string][]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const lists = await Promise.all(
    entries.map(async (entry): Promise<[string, string][]> => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return folderFiles(path, `${prefix}${entry.name}/`);
      return entry.isFile() ? [[prefix + entry.name, path]] : [];
    }),
  );
  return lists.flat();
}

/**
 * Serves `files`; '/' is '/index.html'. `port` 0 takes any that is free.
 * @throws EngineError where the port is taken or may not be used.
 */
export async function servePage(files: ServedFiles, port = 0): Promise<PageServer> {
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new OptionError(`port is a whole number from 0 to 65535, got ${port}`);
  let hosts: ReadonlySet<string> = new Set();
  const server = createServer((request, response) => {
    answer(files, hosts, request, response).catch(() => response.destroy());
  });
  const own = await listen(server, port);
  // A browser leaves out the port that is usual.
  const end = own === 80 ? '' : `:${own}`;
  hosts = new Set([`127.0.0.1${end}`, `localhost${end}`]);
  return {
    url: `http://127.0.0.1:${own}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = error.code === 'EADDRINUSE' ? 'is in use; choose another with --port' : error.message;
      reject(new EngineError(`port ${port} ${reason}`, { cause: error }));
    });
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

async function answer(
  files: ServedFiles,
  hosts: ReadonlySet<string>,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const refuse = (status: number, text: string, more: Record<string, string> = {}) => {
    response
      .writeHead(status, { ...HEADERS, ...more, 'Content-Type': 'text/plain; charset=utf-8' })
      .end(text);
  };
  // A foreign name that was made to point here would let its page read ours.
  if (!hosts.has(request.headers.host ?? '')) return refuse(403, 'This server answers to 127.0.0.1 alone.\n');
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return refuse(405, 'GET or HEAD, please.\n', { Allow: 'GET, HEAD' });
  const path = pathOf(request.url ?? '/');
  const file = path === undefined ? undefined : files.get(path === '/' ? '/index.html' : path);
  if (file === undefined) return refuse(404, 'There is no such file.\n');
  const size = await sizeOf(file);
  if (size === undefined) return refuse(404, 'The file is gone.\n');
  const range = rangeOf(request.headers.range, size);
  if (range === 'outside') return refuse(416, 'Outside the file.\n', { 'Content-Range': `bytes */${size}` });
  const [from, to] = range ?? [0, size - 1];
  response.writeHead(range ? 206 : 200, {
    ...HEADERS,
    'Content-Type': TYPES[extname(typeof file === 'string' ? file : path!)] ?? 'application/octet-stream',
    'Content-Length': String(to - from + 1),
    'Accept-Ranges': 'bytes',
    ...(range && { 'Content-Range': `bytes ${from}-${to}/${size}` }),
  });
  if (request.method === 'HEAD' || size === 0) return void response.end();
  if (typeof file !== 'string') return void response.end(file.subarray(from, to + 1));
  // A page that gives up a request must not leave the file open.
  await pipeline(createReadStream(file, { start: from, end: to, highWaterMark: READ }), response);
}

async function sizeOf(file: Served): Promise<number | undefined> {
  if (typeof file !== 'string') return file.length;
  try {
    return (await stat(file)).size;
  } catch {
    return undefined;
  }
}

/** The path of a request, decoded, without its query; undefined if it is none. */
function pathOf(url: string): string | undefined {
  try {
    return decodeURIComponent(url.split('?', 1)[0]);
  } catch {
    return undefined;
  }
}

/** First and last byte of a single range; undefined for the whole file (also for what we do not serve in parts). */
function rangeOf(header: string | undefined, size: number): [number, number] | 'outside' | undefined {
  const match = /^bytes=(\d{1,15})-(\d{0,15})$/.exec(header ?? '');
  if (!match) return undefined;
  const from = Number(match[1]);
  const to = match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return from >= size || to < from ? 'outside' : [from, to];
}
