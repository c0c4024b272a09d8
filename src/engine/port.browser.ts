// A worker's side of the line to its owner, in browsers. port.node.ts has the same exports.

const scope = globalThis as unknown as {
  onmessage: ((event: { data: unknown }) => void) | null;
  onmessageerror: (() => void) | null;
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
};

export function receive(received: (message: unknown) => void): void {
  scope.onmessage = (event) => received(event.data);
  // Heard by the owner as this worker's end: what was in the message is lost.
  scope.onmessageerror = () => {
    throw new Error('a message could not be read');
  };
}

/**
 * Lets the owner see this worker's end, of which browsers say nothing: it holds a lock as long as it lives, however long it
 * computes, and says which. Where there are no locks, outside secure contexts, nobody can tell.
 */
export function showLife(): void {
  const life = `fovea-${globalThis.crypto.randomUUID?.()}`;
  const held = globalThis.navigator.locks?.request(life, () => {
    report({ life });
    return new Promise<never>(() => {});
  });
  // Without an origin of its own (a sandboxed frame) it gets no lock, and its end is not heard.
  held?.catch(() => {});
}

export function report(message: unknown, transfer: ArrayBuffer[] = []): void {
  scope.postMessage(message, transfer);
}
