// A browser's worker as its owner sees it. Browsers do not tell when a worker ends, only when it fails.
import type { WorkerHandle } from './platform.js';

export function handleOf(worker: Worker): WorkerHandle {
  return {
    post: (message, transfer = []) => worker.postMessage(message, transfer),
    listen(received, died) {
      worker.onmessage = (event) => received(event.data);
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
      worker.terminate();
    },
  };
}
