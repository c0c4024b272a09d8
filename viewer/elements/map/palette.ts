// The map's colours.
import { viridis } from 'fovea/inspect';
import { colourTable } from './colours.js';

/** From the lowest to the highest, as style sheets write them. */
export const PALETTE: readonly string[] = Array.from(
  { length: 65 },
  (_, i) => `rgb(${viridis(i / 64).join(' ')})`,
);
export const TABLE = colourTable(viridis);
