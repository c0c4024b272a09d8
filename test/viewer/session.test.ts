// Which trace the page shows when several are asked for, one before the other has come.
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { saveTrace } from '../../dist/index.js';
import { Session } from '../../viewer/app/session.js';
import { smallTrace } from '../helpers/small-trace.js';

const bytes = await saveTrace(smallTrace());
const PAGE = 'http://page.test/some/where/';

/** Asked for, and not answered yet, by file name. */
const waiting = new Map<string, ((answer: Response | Error) => void)[]>();
const asked: string[] = [];
let config: object | undefined;

beforeEach(() => {
  waiting.clear();
  asked.length = 0;
  config = undefined;
  vi.stubGlobal('location', { search: '' });
  vi.stubGlobal('document', { baseURI: PAGE });
  vi.stubGlobal('fetch', (url: URL, { signal }: RequestInit = {}) => {
    const name = url.pathname.split('/').at(-1)!;
    if (name === 'page.json')
      return Promise.resolve(config ? Response.json(config) : new Response('', { status: 404 }));
    asked.push(name);
    return new Promise((resolve, reject) => {
      const answer = (given: Response | Error) => (given instanceof Error ? reject(given) : resolve(given));
      waiting.set(name, [...(waiting.get(name) ?? []), answer]);
      signal?.addEventListener('abort', () => reject(signal.reason));
    });
  });
});
afterEach(() => vi.unstubAllGlobals());

/** The host answers a question for a file. */
async function give(name: string, answer: Response | Error = new Response(bytes as BodyInit)): Promise<void> {
  await vi.waitFor(() => expect(waiting.get(name) ?? []).not.toHaveLength(0));
  waiting.get(name)!.shift()!(answer);
}

const make = () => {
  const changed = vi.fn();
  return { session: new Session(changed, () => {}), changed };
};
const file = (name: string, content: Uint8Array = bytes) => new File([content as BlobPart], name);
/** A file that takes its time. */
function slowFile(name: string): { slow: File; go: () => void } {
  const slow = file(name);
  let go = () => {};
  const ready = new Promise<void>((resolve) => {
    go = resolve;
  });
  const slice = slow.slice.bind(slow);
  slow.slice = (...range) => {
    const part = slice(...range);
    const read = part.arrayBuffer.bind(part);
    part.arrayBuffer = async () => {
      await ready;
      return read();
    };
    return part;
  };
  return { slow, go };
}

describe('a session', () => {
  test('a slow trace never takes the place of one opened later', async () => {
    const { session } = make();
    const slow = session.showAddress('./slow.safetensors');
    const fast = session.showAddress('./fast.safetensors');
    await give('fast.safetensors');
    expect(await fast).toBe(true);
    // Its answer, where it is none, concerns nobody either.
    await give('slow.safetensors');
    expect(await slow).toBe(false);
    expect(session.current?.key).toBe('./fast.safetensors');
    expect(session.busy).toBe(false);
  });

  test('nor does one whose failure comes late', async () => {
    const { session } = make();
    const slow = session.showAddress('./slow.safetensors');
    const fast = session.showAddress('./fast.safetensors');
    await give('slow.safetensors', new Response('', { status: 500 }));
    expect(await slow).toBe(false);
    await give('fast.safetensors');
    expect(await fast).toBe(true);
  });

  test('from disk too: the file chosen last is shown, as the current trace and as the second', async () => {
    const { session } = make();
    for (const place of ['current', 'second'] as const) {
      const { slow, go } = slowFile('slow.safetensors');
      const first = session.openFile(slow, place);
      const second = await session.openFile(file('fast.safetensors'), place);
      go();
      expect(await first).toBeUndefined();
      expect(session[place]).toBe(second);
    }
  });

  test('a trace on its way is asked for once, however often the view changes', async () => {
    const { session } = make();
    const all = [1, 2, 3].map(() => session.showAddress('./one.safetensors'));
    expect(session.busy).toBe(true);
    await give('one.safetensors');
    expect(await Promise.all(all)).toEqual([true, true, true]);
    expect(await session.showAddress('./one.safetensors')).toBe(true);
    expect(asked).toEqual(['one.safetensors']);
  });

  test('one given up and asked for again is fetched again', async () => {
    const { session } = make();
    const first = session.showAddress('./one.safetensors');
    session.followLive();
    expect(session.busy).toBe(false);
    const again = session.showAddress('./one.safetensors');
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    await give('one.safetensors');
    await give('one.safetensors');
    expect([await first, await again]).toEqual([false, true]);
    expect(session.current?.key).toBe('./one.safetensors');
  });

  test('while a trace comes, and where it cannot be had, none is shown', async () => {
    const { session } = make();
    await session.openFile(file('old.safetensors'), 'current');
    const shown = session.showAddress('./nothing.safetensors');
    expect(session.current).toBeUndefined();
    await give('nothing.safetensors', new Response('', { status: 404 }));
    await expect(shown).rejects.toThrow('./nothing.safetensors: HTTP status 404');
    expect([session.current, session.busy]).toEqual([undefined, false]);
    await expect(session.showAddress('http://')).rejects.toThrow('http://: is no address');
  });

  test('Back shows a file opened before; one never opened is told, and nothing is shown', async () => {
    const { session } = make();
    const opened = await session.openFile(file('mine.safetensors'), 'current');
    expect(await session.showFile(opened!.key)).toBe(true);
    session.followLive();
    expect(session.current).toBeUndefined();
    expect(await session.showFile(opened!.key)).toBe(true);
    expect(session.current?.name).toBe('mine.safetensors');
    expect(await session.showFile('file:other.safetensors')).toBeUndefined();
    expect(session.current).toBeUndefined();
  });

  test('a second trace comes, fails and goes by itself', async () => {
    const { session } = make();
    const own = await session.openFile(file('own.safetensors'), 'current');
    const shown = session.showAddress('./second.safetensors', 'second');
    expect(session.busy).toBe(false);
    await give('second.safetensors');
    expect(await shown).toBe(true);
    expect([session.current, session.second?.name]).toEqual([own, 'second.safetensors']);
    const failing = session.showAddress('./nothing.safetensors', 'second');
    await give('nothing.safetensors', new Response('', { status: 404 }));
    await expect(failing).rejects.toThrow('HTTP status 404');
    expect([session.current, session.second]).toEqual([own, undefined]);
    const other = await session.openFile(file('own.safetensors'), 'second');
    session.close('second');
    expect(await session.showFile(own!.key)).toBe(true);
    expect([session.current, session.second]).toEqual([own, undefined]);
    expect(await session.showFile(other!.key, 'second')).toBe(true);
    expect(session.second?.name).toBe('own.safetensors');
    expect(await session.showFile('file:never.safetensors', 'second')).toBeUndefined();
    expect([session.current, session.second]).toEqual([own, undefined]);
  });

  test('a second trace given up while it comes is not shown', async () => {
    const { session } = make();
    const shown = session.showAddress('./second.safetensors', 'second');
    session.close('second');
    await give('second.safetensors');
    expect(await shown).toBe(false);
    expect(session.second).toBeUndefined();
  });

  test('another file of the same name takes the place of the first', async () => {
    const { session } = make();
    const one = await session.openFile(file('a.safetensors'), 'current');
    const two = await session.openFile(file('a.safetensors'), 'current');
    expect(session.current).toBe(two);
    expect(two?.trace).not.toBe(one?.trace);
  });

  test('a broken file leaves what is shown', async () => {
    const { session } = make();
    const good = await session.openFile(file('good.safetensors'), 'current');
    await expect(
      session.openFile(file('broken.safetensors', bytes.subarray(0, 99)), 'current'),
    ).rejects.toThrow();
    expect(session.current).toBe(good);
  });

  test('names that are no proper encodings are shown as they are', async () => {
    const { session } = make();
    const shown = session.showAddress('./100%.safetensors');
    await give('100%.safetensors');
    await shown;
    expect(session.current?.name).toBe('100%.safetensors');
  });

  test('the host says what is shown first, the page’s address before it', async () => {
    config = { trace: './trace/own.safetensors' };
    expect(await make().session.firstTrace()).toBe('./trace/own.safetensors');
    vi.stubGlobal('location', { search: '?trace=./other.safetensors' });
    expect(await make().session.firstTrace()).toBe('./other.safetensors');
    config = undefined;
    vi.stubGlobal('location', { search: '?trace=' });
    expect(await make().session.firstTrace()).toBe('live');
  });
});
