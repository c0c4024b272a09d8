// Tests in Node import the built package (dist/), so that workers and wasm resolve as they do for a user.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/global-setup.ts'],
    // What a page shows takes its time on a busy machine.
    expect: { poll: { timeout: 15_000 } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Engines bring threads of their own: two files at a time fill a small machine.
    maxWorkers: 2,
    pool: 'forks',
  },
});
