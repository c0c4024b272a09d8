// The static build of the page: dist/viewer, for any web host, at any path.
import { defineConfig } from 'vite';

export default defineConfig({
  root: new URL('./app', import.meta.url).pathname,
  base: './',
  build: {
    outDir: '../../dist/viewer',
    emptyOutDir: true,
    target: 'es2022',
    // How long plugins took, on a busy machine, is no warning.
    rolldownOptions: { checks: { pluginTimings: false } },
    // light-dark() and color-mix() stay as they are.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
  },
  worker: { format: 'es' },
});
