// A browser's worker as its owner sees it. Browsers do not tell when a worker ends, only when it fails: so one that shows
// its life (port.browser.ts) holds a lock, which is free when it ends.
import type { WorkerHandle } from './platform.js';

type Died = (reason: unknown) => void;

export function handleOf(worker: Worker): WorkerHandle {
  const ended = new AbortController();
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen(received, died) {
      worker.onmessage = ({ data }) => {
        if (typeof data?.life === 'string') void watchLife(data.life, ended.signal, died);
        else received(data);
      };
      worker.onmessageerror = () => died(new Error('a message could not be read'));
      worker.onerror = (event) => {
        event.preventDefault();
        died(
          new Error(
            event.message || 'its script could not be loaded; configure({ workerUrl }) tells where it is',
          ),
        );
      };
    },
    isDead: () => false,
    async terminate() {
      ended.abort();
      worker.terminate();
    },
  };
}

/** Calls `died` once the lock is free, unless the owner ended the worker. */
async function watchLife(life: string, signal: AbortSignal, died: Died): Promise<void> {
  const free = await navigator.locks.request(life, { signal }, () => true).catch(() => false);
  if (free) died(new Error('it ended'));
}
