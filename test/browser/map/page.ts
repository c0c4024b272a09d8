// A page with <fovea-map> and maps of known numbers. Tests call it through globalThis.page.
import { type AttentionMap, attentionMap, configure } from 'fovea';
import 'fovea/elements';
import relaxed from 'fovea/wasm/relaxed.wasm';
import strict from 'fovea/wasm/strict.wasm';
import { makeInputs, type Sizes } from '../app/inputs.js';

configure({ wasmUrl: { relaxed, strict }, workerUrl: './worker.js' });

/** As the element's. */
export type View = { queries: readonly [number, number]; keys: readonly [number, number] };
const element = () => document.querySelector('fovea-map')!;
/** What no page reaches: the tiles that are kept, and where the element looks. */
const surface = () => (element() as unknown as { surface: Inside }).surface;
interface Inside {
  cache: { bytes: number; budget: number };
  camera: { cellAt(x: number, y: number): { x: number; y: number } };
}
let map: AttentionMap;
const asked: { signal?: AbortSignal }[] = [];

/** The element's next event of a kind that satisfies a condition. */
function heard<T>(name: string, wanted: (detail: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    const hear = (event: Event) => {
      const { detail } = event as CustomEvent<T>;
      if (!wanted(detail)) return;
      element().removeEventListener(name, hear);
      resolve(detail);
    };
    element().addEventListener(name, hear);
  });
}

const exact = () => heard<{ fraction: number }>('fovea-picture', ({ fraction }) => fraction === 1);

globalThis.page = {
  async open(sizes, settings, everywhere) {
    const { q, k } = makeInputs(sizes);
    if (everywhere !== undefined) q.data.fill(everywhere);
    map = await attentionMap(q, k);
    const [pool, refine] = [map.pool.bind(map), map.refine.bind(map)];
    map.pool = (place) => {
      asked.push(place);
      return pool(place);
    };
    map.refine = (place) => {
      asked.push(place);
      return refine(place);
    };
    Object.assign(element(), settings, { map });
    await element().updateComplete;
  },
  async show(sizes, settings) {
    const drawn = exact();
    await globalThis.page.open(sizes, settings);
    await drawn;
  },
  async look(view) {
    const drawn = exact();
    element().view = view;
    await drawn;
    return element().view;
  },
  /** Looks at one place after another without waiting. */
  async hurry(views) {
    for (const view of views) {
      element().view = view;
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
  },
  exact: async () => void (await exact()),
  cell: () => heard('fovea-cell', (detail) => detail !== null),
  moved: () => heard('fovea-view', () => true),
  settings: () => heard('fovea-settings', () => true),
  view: () => element().view,
  cellAt(x, y) {
    const { left, top } = element().renderRoot.querySelector('.frame')!.getBoundingClientRect();
    return surface().camera.cellAt(x - left, y - top);
  },
  set: (settings) => void Object.assign(element(), settings),
  end: () => map.dispose(),
  stopped: () => asked.map(({ signal }) => signal?.aborted ?? false),
  bytes: () => {
    const { cache } = surface();
    return [cache.bytes, cache.budget];
  },
  svg: () => element().toSvg(),
  async png() {
    const image = await createImageBitmap(await element().toPng());
    return [image.width, image.height];
  },
};

declare global {
  var page: {
    /** Sets another map, with all numbers of its queries the same where given. */
    open(sizes: Sizes, settings?: Record<string, unknown>, everywhere?: number): Promise<void>;
    /** The same, until its picture is exact. */
    show(sizes: Sizes, settings: Record<string, unknown>): Promise<void>;
    look(view: View): Promise<View>;
    hurry(views: View[]): Promise<void>;
    exact(): Promise<void>;
    cell(): Promise<{ query: number; key: number; weight: number; score: number }>;
    moved(): Promise<View>;
    settings(): Promise<{ reduce: string; scale: string; range?: [number, number] }>;
    view(): View;
    /** The fractional cell at a point of the window. */
    cellAt(x: number, y: number): { x: number; y: number };
    set(settings: Record<string, unknown>): void;
    end(): void;
    /** Of each picture that was asked for: whether it was stopped. */
    stopped(): boolean[];
    bytes(): number[];
    svg(): Promise<string>;
    png(): Promise<number[]>;
  };
}
