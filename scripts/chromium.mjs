// Where a Chromium is: CHROMIUM_PATH, Debian's, or the one Playwright has downloaded. null where there is none.
import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

export function findChromium() {
  const own = () => {
    try {
      return chromium.executablePath();
    } catch {
      return '';
    }
  };
  const candidates = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', own()];
  return candidates.find((path) => path && existsSync(path)) ?? null;
}
