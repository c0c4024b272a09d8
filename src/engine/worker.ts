// Worker script: the engine behind a page, or a computing thread where all workers come from one configured file.
import { receive, showLife } from '#port';
import type { Command, EngineStart } from './commands.js';
import { serveEngine } from './serve-engine.js';
import { serveThread, type ThreadStart } from './serve-thread.js';

let carryOut: ((batch: readonly Command[]) => void) | undefined;

receive((message) => {
  if (carryOut) {
    carryOut(message as Command[]);
    return;
  }
  const start = message as EngineStart | ThreadStart;
  if (start.role === 'thread') serveThread(start);
  else {
    showLife();
    carryOut = serveEngine(start.options);
  }
});
