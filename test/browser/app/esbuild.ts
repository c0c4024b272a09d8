// The app as esbuild bundles it: its files are named, because esbuild does not rewrite `new URL(…, import.meta.url)`.
import { configure } from 'fovea';
import relaxed from 'fovea/wasm/relaxed.wasm';
import strict from 'fovea/wasm/strict.wasm';
import './app.js';

// esbuild's loader 'file' gives addresses relative to the page; worker.js is the second entry point, fovea/worker.
configure({ wasmUrl: { relaxed, strict }, workerUrl: './worker.js' });
