// The static build in Firefox, which no test driver of ours speaks to: a page beside it holds it in a frame, types a
// sentence into it and asks the test's server for an address that tells what it saw. Skipped where no Firefox is found.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { FRENCH, makeTinyModel, SENTENCES } from '../helpers/tiny-model.js';
import { ISOLATED, type Server, serve } from './server.js';

const firefox = ['/usr/bin/firefox-esr', '/usr/bin/firefox'].find(existsSync);
if (!firefox) console.warn('The page is not tested in Firefox: none found.');
const viewer = join(import.meta.dirname, '../../dist/viewer');
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 });

/** What the page beside it does, in the browser. */
const DRIVER = `<!doctype html><title>driver</title><iframe src="/page/index.html" width="1000" height="700"></iframe>
<script type="module">
const frame = document.querySelector('iframe');
const until = async (look) => {
  for (;;) {
    const seen = look();
    if (seen) return seen;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};
const find = (...path) => path.reduce(
  (node, selector) => (node?.shadowRoot ?? node)?.querySelector(selector), frame.contentDocument);
try {
  const box = await until(() => find('fovea-page', 'view-live', 'textarea'));
  box.value = ${JSON.stringify(SENTENCES[0])};
  box.dispatchEvent(new Event('input'));
  // An example's translation stands there first.
  const text = await until(
    () => [find('fovea-page', 'view-live', 'output')?.textContent.trim()].find((seen) => seen === ${JSON.stringify(FRENCH[0])}));
  await until(() => find('fovea-page', 'view-live', 'fovea-words', 'path'));
  find('fovea-page', 'nav a[href*="view=overview"]').click();
  await until(() => find('fovea-page', 'view-overview', 'fovea-heads', '.numbers'));
  find('fovea-page', 'nav a[href*="view=map"]').click();
  await until(() => find('fovea-page', 'view-map', 'map-pane', 'fovea-map', 'canvas'));
  await fetch('/seen/' + encodeURIComponent(text) + '/' + frame.contentWindow.crossOriginIsolated);
} catch (error) {
  await fetch('/failed/' + encodeURIComponent(error.stack));
}
</script>`;

describe.skipIf(!firefox)('the page in Firefox', () => {
  let server: Server;
  let browser: ChildProcess;
  let folder: string;
  let model: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'fovea-firefox-'));
    model = await makeTinyModel();
    await writeFile(join(folder, 'driver.html'), DRIVER);
    server = await serve({ '/page/models/en-fr/': model, '/page/': viewer, '/': folder }, ISOLATED);
    const profile = await mkdtemp(join(folder, 'profile-'));
    browser = spawn(
      firefox!,
      ['--headless', '--no-remote', '--profile', profile, `${server.url}driver.html`],
      { stdio: 'ignore', env: { ...process.env, HOME: folder, MOZ_CRASHREPORTER_DISABLE: '1' } },
    );
  });

  afterAll(async () => {
    const ended = new Promise((resolve) => browser?.once('exit', resolve));
    browser?.kill();
    await ended;
    await server?.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    await rm(model, { recursive: true });
  });

  test('translates with threads, shows words, overview and map', async () => {
    const told = () => server.requests.find((path) => /^\/(seen|failed)\//.test(path));
    await expect.poll(told, { timeout: 110_000, interval: 200 }).toBeDefined();
    expect(decodeURIComponent(told()!)).toBe(`/seen/${FRENCH[0]}/true`);
  });
});
