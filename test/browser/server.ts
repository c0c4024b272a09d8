// A static server on this machine: folders, each under an address, with the headers asked for.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';

const TYPES: Record<string, string> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

/** Headers that make a page cross-origin isolated. */
export const ISOLATED = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

/** The strictest policy that Fovea is made for. */
export const POLICY = {
  'Content-Security-Policy': "script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'",
};

export interface Server {
  url: string;
  /** Paths that were asked for. */
  requests: string[];
  close(): Promise<void>;
}

/** Serves e.g. { '/': folder, '/model/': other }. */
export async function serve(
  folders: Record<string, string>,
  headers: Record<string, string>,
): Promise<Server> {
  const requests: string[] = [];
  const prefixes = Object.keys(folders).sort((a, b) => b.length - a.length);
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url ?? '/', 'http://localhost');
    requests.push(pathname);
    const prefix = prefixes.find((start) => pathname.startsWith(start));
    const name = normalize(decodeURIComponent(pathname.slice(prefix?.length ?? 0))) || '.';
    try {
      if (prefix === undefined || name.startsWith('..')) throw new Error('outside');
      const file = join(folders[prefix], name === '.' ? 'index.html' : name);
      const body = await readFile(file);
      const type = TYPES[extname(file)] ?? 'application/octet-stream';
      response.writeHead(200, { ...headers, 'Content-Type': type }).end(body);
    } catch {
      // Browsers ask for an icon on their own.
      response.writeHead(pathname === '/favicon.ico' ? 204 : 404, headers).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    requests,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
