// What an offline page is told: drawHtml writes it as JSON into the file, the page's script reads it.
import type { HeadSummary } from '../summary.js';

export interface PageData {
  title: string;
  sheets: Sheet[];
  /** What is shown first; without it the first cross-attention there is, averaged. */
  open?: { layer?: number; head?: number };
}

/** One sentence, or one figure. */
export interface Sheet {
  title: string;
  maps: PageMap[];
}

export interface PageMap {
  /** As `decoder.2.crossAttention`. */
  name: string;
  rows: Side;
  columns: Side;
  /** Names of the heads. */
  heads: string[];
  /** [heads, rows, columns] in base64: little-endian uint16, 0 to 65535 from `low` to `high`. */
  weights: string;
  low: number;
  high: number;
  /** Without numbers that are not finite. */
  summary?: Partial<HeadSummary>[];
}

export interface Side {
  /** Name of the text: source, target, output; '' for none. */
  name: string;
  tokens: string[];
  /** Word of each token, −1 for none; and the words. */
  words?: number[];
  spelled?: string[];
}
