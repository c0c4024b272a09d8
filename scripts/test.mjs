// Runs the tests in Node, then those in a browser, and closes with one line: `N passed, N failed[, N skipped]`.
// A Chromium is taken from CHROMIUM_PATH, /usr/bin/chromium or Playwright's own; where there is none the browser
// tests are skipped and it says so. FOVEA_NO_SKIP=1 (continuous integration) makes any skip a failure.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChromium } from './chromium.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const reports = mkdtempSync(join(tmpdir(), 'fovea-test-'));
const noSkip = process.env.FOVEA_NO_SKIP === '1';
const only = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };

function vitest(name, args, env = {}) {
  const report = join(reports, `${name}.json`);
  const command = [
    join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--reporter=default', '--reporter=json',
    `--outputFile.json=${report}`, ...args,
  ];
  const { status } = spawnSync(process.execPath, command, {
    cwd: root, stdio: 'inherit', env: { ...process.env, ...env },
  });
  if (!existsSync(report)) {
    total.failed++;
    return;
  }
  const result = JSON.parse(readFileSync(report, 'utf8'));
  total.passed += result.numPassedTests;
  total.failed += result.numFailedTests;
  total.skipped += result.numPendingTests + (result.numTodoTests ?? 0);
  // A file that could not even be collected counts as one failure.
  if (status !== 0 && result.numFailedTests === 0) total.failed++;
}

vitest('node', only);
const chromium = findChromium();
if (only.length === 0 && chromium) {
  vitest('browser', ['--config', 'vitest.browser.config.mjs'], { CHROMIUM_PATH: chromium });
} else if (only.length === 0) {
  console.log('Browser tests skipped: no Chromium found (CHROMIUM_PATH, /usr/bin/chromium, Playwright\'s own).');
  total.skipped++;
}
rmSync(reports, { recursive: true, force: true });
if (noSkip && total.skipped > 0) {
  console.log(`${total.skipped} skipped, where none may be: counted as failures.`);
  total.failed += total.skipped;
  total.skipped = 0;
}
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : '';
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exitCode = total.failed > 0 || total.passed === 0 ? 1 : 0;
