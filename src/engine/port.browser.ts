// A worker's side of the line to its owner, in browsers. port.node.ts has the same exports.

const scope = globalThis as unknown as {
  onmessage: ((event: { data: unknown }) => void) | null;
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
};

export function receive(received: (message: unknown) => void): void {
  scope.onmessage = (event) => received(event.data);
}

export function report(message: unknown, transfer: ArrayBuffer[] = []): void {
  scope.postMessage(message, transfer);
}
