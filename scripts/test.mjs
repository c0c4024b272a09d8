// Runs all tests and closes with one line: `N passed, N failed[, N skipped]`.
// A Chromium is taken from CHROMIUM_PATH, /usr/bin/chromium or Playwright's own; where there is none the browser
// tests are skipped, and it says so. FOVEA_NO_SKIP=1 (continuous integration) makes any skip a failure.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findChromium } from './chromium.mjs';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const reports = mkdtempSync(join(tmpdir(), 'fovea-test-'));
const report = join(reports, 'report.json');
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`];
const { status } = spawnSync(process.execPath, [vitest, 'run', ...reporters, ...process.argv.slice(2)], {
  cwd: root,
  stdio: 'inherit',
});

let passed = 0;
let failed = 0;
let skipped = 0;
if (existsSync(report)) {
  const result = JSON.parse(readFileSync(report, 'utf8'));
  passed = result.numPassedTests;
  failed = result.numFailedTests;
  skipped = result.numPendingTests + (result.numTodoTests ?? 0);
}
// A file that could not even be collected, or a run that died, counts as one failure.
if (status !== 0 && failed === 0) failed = 1;
rmSync(reports, { recursive: true, force: true });

if (!findChromium()) {
  console.log(
    "Browser tests were skipped: no Chromium found (CHROMIUM_PATH, /usr/bin/chromium, Playwright's own).",
  );
}
if (process.env.FOVEA_NO_SKIP === '1' && skipped > 0) {
  console.log(`${skipped} tests were skipped, where none may be: counted as failures.`);
  failed += skipped;
  skipped = 0;
}
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
