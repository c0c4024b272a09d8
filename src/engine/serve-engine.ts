// What an engine worker does: it carries out a page's commands, one after the other, on a DirectExecutor.
import { report } from '#port';
import { LimitError } from '../tensor/errors.js';
import type { Command, Reply } from './commands.js';
import { DirectExecutor } from './direct.js';
import type { ExecutorOptions } from './executor.js';

/** Makes the executor and reports it; returns what to do with each batch of commands. */
export function serveEngine(options: ExecutorOptions): (batch: readonly Command[]) => void {
  let failed = false;
  const fail = (error: unknown) => {
    if (failed) return;
    failed = true;
    reply({ is: 'failed', message: error instanceof Error ? error.message : String(error) });
  };
  const executor = DirectExecutor.create(options).then((made) => {
    made.onFailure = fail;
    made.startThreads();
    reply({ is: 'ready', maximumBytes: made.maximumBytes });
    return made;
  });
  executor.catch(fail);
  // The page sends nothing before 'ready', so batches find the executor there and keep their order.
  return async (batch) => {
    try {
      const ready = await executor;
      for (const command of batch) if (!failed) carryOut(ready, command);
    } catch (error) {
      fail(error);
    }
  };
}

function carryOut(executor: DirectExecutor, command: Command): void {
  switch (command.do) {
    case 'grow':
      if (!executor.grow(command.bytes)) {
        throw new LimitError(`out of memory: the machine has no ${command.bytes} bytes for the engine`);
      }
      break;
    case 'write':
      executor.write(command.address, command.bytes);
      break;
    case 'zero':
      executor.zero(command.address, command.bytes);
      break;
    case 'run':
      executor.integers.set(command.slots);
      executor.run(command.kernel, command.slots.length, command.parts);
      break;
    case 'read': {
      const data = executor.copy(command.address, command.dtype, command.size);
      reply({ is: 'done', id: command.id, data }, [data.buffer as ArrayBuffer]);
      break;
    }
    case 'finish':
      reply({ is: 'done', id: command.id });
  }
}

function reply(message: Reply, transfer?: ArrayBuffer[]): void {
  report(message, transfer);
}
