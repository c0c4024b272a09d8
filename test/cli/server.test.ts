// The page's server: it answers on this machine, to its own name, with the files it was given.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { folderFiles, type PageServer, servePage } from '../../dist/cli/server.js';

let folder: string;
let server: PageServer;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'fovea-server-'));
  mkdirSync(join(folder, 'page/assets'), { recursive: true });
  writeFileSync(join(folder, 'secret.txt'), 'secret');
  writeFileSync(join(folder, 'page/index.html'), '<!doctype html><title>page</title>');
  writeFileSync(join(folder, 'page/assets/a b.js'), 'export {}');
  writeFileSync(
    join(folder, 'page/bytes.bin'),
    Uint8Array.from({ length: 1000 }, (_, i) => i),
  );
  symlinkSync(join(folder, 'secret.txt'), join(folder, 'page/link.txt'));
  server = await servePage(
    new Map<string, string | Uint8Array>([
      ...(await folderFiles(join(folder, 'page'))),
      ['/made.json', Buffer.from('{"made":1}')],
    ]),
  );
});

afterAll(async () => {
  await server.close();
  rmSync(folder, { recursive: true });
});

/** A request whose path and headers no client library tidies up. */
function ask(path: string, { method = 'GET', headers = {} as Record<string, string> } = {}) {
  const { hostname, port } = new URL(server.url);
  return new Promise<{ status: number; headers: Record<string, unknown>; body: Buffer }>(
    (resolve, reject) => {
      request({ hostname, port, path, method, headers }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) }),
        );
      })
        .on('error', reject)
        .end();
    },
  );
}

describe('the server of a page', () => {
  test('gives the page isolated from other origins', async () => {
    const { status, headers, body } = await ask('/');
    expect(status).toBe(200);
    expect(body.toString()).toContain('<title>page</title>');
    expect(headers['content-type']).toBe('text/html; charset=utf-8');
    expect(headers['cross-origin-opener-policy']).toBe('same-origin');
    expect(headers['cross-origin-embedder-policy']).toBe('require-corp');
    expect(headers['content-security-policy']).toContain("script-src 'self' 'wasm-unsafe-eval'");
    expect((await ask('/assets/a%20b.js?v=1')).headers['content-type']).toBe(
      'text/javascript; charset=utf-8',
    );
  });

  test('gives parts of a file, and says how long it is', async () => {
    const whole = await ask('/bytes.bin', { method: 'HEAD' });
    expect([whole.headers['content-length'], whole.body.length]).toEqual(['1000', 0]);
    const part = await ask('/bytes.bin', { headers: { Range: 'bytes=998-1200' } });
    expect([part.status, part.headers['content-range']]).toEqual([206, 'bytes 998-999/1000']);
    expect([...part.body]).toEqual([998 & 255, 999 & 255]);
    expect((await ask('/bytes.bin', { headers: { Range: 'bytes=1000-' } })).status).toBe(416);
  });

  test('gives bytes as it gives files', async () => {
    const { headers, body } = await ask('/made.json');
    expect([headers['content-type'], body.toString()]).toEqual(['application/json', '{"made":1}']);
    const part = await ask('/made.json', { headers: { Range: 'bytes=2-5' } });
    expect([part.headers['content-range'], part.body.toString()]).toEqual(['bytes 2-5/10', 'made']);
  });

  test('refuses other hosts, as when a foreign name was made to point here', async () => {
    for (const host of ['evil.example', 'evil.example:80', '127.0.0.1'])
      expect((await ask('/', { headers: { Host: host } })).status).toBe(403);
    const { port } = new URL(server.url);
    expect((await ask('/', { headers: { Host: `localhost:${port}` } })).status).toBe(200);
  });

  for (const path of [
    '/../secret.txt',
    '/assets/../../secret.txt',
    '/%2e%2e/secret.txt',
    '/..%2fsecret.txt',
    '/..%5csecret.txt',
    '//secret.txt',
    '/link.txt',
    '/%00',
    '/%',
    '/page',
    '/assets/',
  ])
    test(`has nothing at ${path}`, async () => {
      const { status, body } = await ask(path);
      expect(status).toBe(404);
      expect(body.toString()).not.toContain('secret');
    });

  test('takes no orders', async () => {
    expect((await ask('/', { method: 'POST' })).status).toBe(405);
  });

  test('listens on this machine alone', async () => {
    const { port } = new URL(server.url);
    const outside = Object.values(networkInterfaces())
      .flat()
      .filter((a) => a && !a.internal && a.family === 'IPv4');
    for (const { address } of outside as { address: string }[])
      await expect(fetch(`http://${address}:${port}/`)).rejects.toThrow();
  });

  test('says in one line that a port is in use', async () => {
    const port = Number(new URL(server.url).port);
    await expect(servePage(new Map(), port)).rejects.toThrow(
      `port ${port} is in use; choose another with --port`,
    );
    await expect(servePage(new Map(), 70000)).rejects.toThrow('65535');
  });

  test.runIf(existsSync('/proc/self/fd'))('a request given up leaves no file open', async () => {
    const large = join(folder, 'page/large.bin');
    writeFileSync(large, new Uint8Array(64 << 20));
    const own = await servePage(new Map([['/large.bin', large]]));
    const open = () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`) === large;
        } catch {
          return false;
        }
      }).length;
    await new Promise<void>((resolve, reject) => {
      const asked = request(new URL('large.bin', own.url), (response) => {
        response.once('data', () => {
          expect(open()).toBe(1);
          response.destroy();
          resolve();
        });
      });
      asked.on('error', reject).end();
    });
    await expect.poll(open).toBe(0);
    await own.close();
  });
});
