// What keys do on the focused map.

export interface KeyActions {
  /** Parts of the frame. */
  pan(x: number, y: number): void;
  zoom(factor: number): void;
  showAll(): void;
  /** Cells. */
  step(x: number, y: number): void;
  /** Zooms in on the cursor. */
  enter(): void;
  hide(): void;
}

const PAN = 0.125;
const ZOOM = 1.5;
/** Cells of a step with Control held. */
const FAR = 10;
const ARROWS: Record<string, readonly [x: number, y: number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

/** Whether the key meant something. */
export function act(event: KeyboardEvent, actions: KeyActions): boolean {
  const { key, shiftKey, ctrlKey, metaKey, altKey } = event;
  if (altKey || metaKey) return false;
  const arrow = ARROWS[key];
  if (arrow) {
    const [x, y] = arrow;
    const far = ctrlKey ? FAR : 1;
    if (shiftKey) actions.step(x * far, y * far);
    else actions.pan(-x * PAN, -y * PAN);
    return true;
  }
  if (ctrlKey) return false;
  const simple: Record<string, () => void> = {
    '+': () => actions.zoom(ZOOM),
    '=': () => actions.zoom(ZOOM),
    '-': () => actions.zoom(1 / ZOOM),
    _: () => actions.zoom(1 / ZOOM),
    '0': () => actions.showAll(),
    Home: () => actions.showAll(),
    PageUp: () => actions.pan(0, 1),
    PageDown: () => actions.pan(0, -1),
    Enter: () => actions.enter(),
    Escape: () => actions.hide(),
  };
  simple[key]?.();
  return key in simple;
}
