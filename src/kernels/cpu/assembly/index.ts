// Entry of the WebAssembly build: re-exports every kernel. No managed objects, no static data.
export { init } from './runtime';
