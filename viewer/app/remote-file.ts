// A file on the page's host, read in parts where the host gives parts.
import { FileFormatError, type RandomAccess } from 'fovea';

/** Files up to this size come at once: a request for each tensor would take longer. */
const WHOLE = 2 ** 24;

/**
 * Opens an address, relative to the page; a signal ends that, not what is read later. Rejects with FileFormatError for what
 * the host does not give.
 */
export async function openAddress(address: string, opening: AbortSignal): Promise<RandomAccess | Blob> {
  if (!URL.canParse(address, document.baseURI)) throw new FileFormatError(`${address}: is no address`);
  const ask = async (from: number, to: number, signal?: AbortSignal) => {
    const headers = { Range: `bytes=${from}-${to}` };
    const response = await fetch(new URL(address, document.baseURI), { headers, signal }).catch((cause) => {
      throw new FileFormatError(`${address}: cannot be fetched`, { cause });
    });
    if (!response.ok) throw new FileFormatError(`${address}: HTTP status ${response.status}`);
    return response;
  };
  const first = await ask(0, 7, opening);
  const size = Number(/\/(\d+)$/.exec(first.headers.get('Content-Range') ?? '')?.[1]);
  if (first.status !== 206 || !Number.isSafeInteger(size)) return first.blob();
  if (size <= WHOLE) return (await ask(0, size - 1, opening)).blob();
  return {
    size,
    read: async (offset, length) =>
      length === 0
        ? new Uint8Array(0)
        : new Uint8Array(await (await ask(offset, offset + length - 1)).arrayBuffer()),
  };
}
