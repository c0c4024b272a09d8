// The figures of fovea translate: word by word as SVG and PNG, one a sentence; all attention of all sentences as one HTML file.
import { parse } from 'node:path';
import { alignWords, crossWeights, drawHtml, drawPng, drawSvg, type Figure } from '../inspect/index.js';
import type { Trace } from '../map/trace.js';
import { writeAtomically } from '../models/node-files.js';
import type { Translation } from '../tasks/translate.js';
import { Progress, tell } from './output.js';

export interface FigureOptions {
  svg?: string;
  png?: string;
  html?: string;
  layer?: number;
  head?: number;
}

export const wantsFigures = ({ svg, png, html }: FigureOptions): boolean =>
  svg !== undefined || png !== undefined || html !== undefined;

/** Draws as translations come: add() each, then finish(). */
export class Figures {
  private readonly traces: Trace[] = [];
  private readonly written: string[] = [];
  private count = 0;

  constructor(
    private readonly options: FigureOptions,
    private readonly sentences: number,
  ) {}

  async add(translation: Translation): Promise<void> {
    this.count++;
    const { svg, png, html } = this.options;
    if (svg !== undefined || png !== undefined) {
      const figure = await this.figure(translation);
      if (svg !== undefined) await this.write(this.numbered(svg), drawSvg(figure));
      if (png !== undefined) await this.write(this.numbered(png), await drawPng(figure));
    }
    if (html !== undefined) this.traces.push(await translation.trace());
  }

  async finish(): Promise<void> {
    const { html, layer, head } = this.options;
    if (html !== undefined) await this.write(html, await this.page(layer, head));
    for (const path of this.written) tell(`${path} written`);
  }

  private async page(layer?: number, head?: number): Promise<string> {
    const weights = this.traces
      .flatMap(({ entries }) => entries)
      .reduce((sum, { shape: [H, Lq, Lk] }) => sum + H * Lq * Lk, 0);
    const progress = new Progress('weights', weights);
    const onProgress = (fraction: number) => progress.update(Math.round(fraction * weights));
    try {
      return await drawHtml(this.traces, { layer, head, onProgress });
    } finally {
      progress.stop();
    }
  }

  dispose(): void {
    for (const trace of this.traces) trace.dispose();
  }

  private async figure(translation: Translation): Promise<Figure> {
    const { source, target } = translation;
    const weights = crossWeights(await translation.attention(), this.options);
    const { sourceWords, targetWords, matrix } = alignWords(source, target, weights);
    const { layer, head } = this.options;
    const all = [layer === undefined && 'layers', head === undefined && 'heads'].filter(Boolean);
    const parts = [
      'Cross-attention',
      ...(layer === undefined ? [] : [`layer ${layer}`]),
      ...(head === undefined ? [] : [`head ${head}`]),
      ...(all.length === 0 ? [] : [`mean of all ${all.join(' and ')}`]),
    ];
    return {
      title: parts.join(', '),
      rows: targetWords,
      columns: sourceWords,
      values: matrix.values,
      rowAxis: 'translation',
      columnAxis: 'sentence',
    };
  }

  /** a.svg, or a-1.svg, a-2.svg where there are several sentences. */
  private numbered(path: string): string {
    if (this.sentences === 1) return path;
    const { ext } = parse(path);
    return `${path.slice(0, path.length - ext.length)}-${this.count}${ext}`;
  }

  private async write(path: string, data: Uint8Array | string): Promise<void> {
    await writeAtomically(path, data);
    this.written.push(path);
  }
}
