// One head opened: its words on both sides, shaded by what the chosen one looks at or is looked at by, and its heat map.
import type { HeadSummary } from '../summary.js';
import type { PageMap } from './data.js';
import { button, element, walk } from './dom.js';
import { say, words } from './locale.js';
import { colorsOf, type Matrix, paint } from './matrices.js';

/** Largest map and cell, in pixels. */
const LARGEST = 640;
const CELL = 28;
/** Up to how many rows or columns cells stay as large as their labels need: then the map scrolls. */
const MANY = 120;
const READABLE = 11;
/** Words named in the line that reads the weights out. */
const NAMED = 4;

/** A row, a column, or a cell. */
interface Place {
  row?: number;
  column?: number;
}

export class Detail {
  readonly root = element('section', { className: 'detail' });
  private matrix!: Matrix;
  private rows: HTMLElement[][] = [];
  private columns: HTMLElement[][] = [];
  private readonly readout = element('p', { className: 'readout' });
  private readonly frames = [0, 1].map(() => element('div', { className: 'frame' }));
  private cell = 1;

  show(
    title: string,
    matrix: Matrix,
    map: PageMap,
    summary: Partial<HeadSummary> | undefined,
    log: boolean,
  ): void {
    this.matrix = matrix;
    this.readout.setAttribute('aria-live', 'polite');
    const numbers = summary && element('p', { className: 'numbers', textContent: spell(summary) });
    const above = this.line('column', map.columns.name || 'columns');
    const below = this.line('row', map.rows.name || 'rows');
    walk([above.buttons, below.buttons]);
    const picture = this.picture(log);
    this.rows = matrix.rows.map((_, i) => [below.buttons[i], ...picture.rows.slice(i, i + 1)]);
    this.columns = matrix.columns.map((_, j) => [above.buttons[j], ...picture.columns.slice(j, j + 1)]);
    this.root.replaceChildren(
      element('h2', { textContent: title }),
      ...(numbers ? [numbers] : []),
      above.root,
      below.root,
      this.readout,
      picture.root,
    );
    this.choose({});
  }

  /** One side's words. */
  private line(side: keyof Place, name: string) {
    const units = side === 'row' ? this.matrix.rows : this.matrix.columns;
    const buttons = units.map(({ text }, n) => {
      const made = button('word', () => this.choose({ [side]: n }));
      made.textContent = text;
      made.onfocus = made.onpointerenter = () => this.choose({ [side]: n });
      made.onblur = made.onpointerleave = () => this.choose({});
      return made;
    });
    const list = element('div', { className: 'sentence', role: 'group', ariaLabel: say(name) }, buttons);
    return {
      buttons,
      root: element('div', { className: 'side' }, [element('h3', { textContent: say(name) }), list]),
    };
  }

  private picture(log: boolean) {
    const { rows, columns } = this.matrix;
    const most = Math.max(rows.length, columns.length);
    this.cell = Math.max(most > MANY ? 2 : READABLE, Math.min(CELL, Math.floor(LARGEST / most)));
    const label = ({ text }: { text: string }) => element('span', { textContent: text, title: text });
    // Labels that would be too small to read are left out: the readout names them.
    const named = this.cell >= READABLE;
    const top = named ? columns.map(label) : [];
    const left = named ? rows.map(label) : [];
    const canvas = element('canvas', { role: 'img', ariaLabel: words.heads });
    paint(canvas, this.matrix, log);
    canvas.style.width = `${columns.length * this.cell}px`;
    canvas.style.height = `${rows.length * this.cell}px`;
    canvas.onpointermove = (event) => {
      const at = (offset: number, count: number) =>
        Math.min(count - 1, Math.max(0, Math.floor(offset / this.cell)));
      this.choose({ row: at(event.offsetY, rows.length), column: at(event.offsetX, columns.length) });
    };
    canvas.onpointerleave = () => this.choose({});
    const root = element('div', { className: 'map' }, [
      element('div', { className: 'top' }, top),
      element('div', { className: 'left' }, left),
      element('div', { className: 'cells' }, [canvas, ...this.frames]),
    ]);
    root.style.setProperty('--cell', `${this.cell}px`);
    return { root, rows: left, columns: top };
  }

  /** Shades the words that a place concerns, frames it in the map, and reads it out. */
  private choose({ row, column }: Place): void {
    const { matrix, cell } = this;
    const { rows, columns, values } = matrix;
    const color = colorsOf(matrix, false);
    const weight = (i: number, j: number) => values[i * columns.length + j];
    const mark = (
      sides: HTMLElement[][],
      chosen: number | undefined,
      weightOf: ((n: number) => number) | undefined,
    ) => {
      sides.forEach((elements, n) => {
        const [shown] = elements;
        const shade = weightOf && color(weightOf(n));
        shown.style.background = shade ? `rgb(${shade})` : '';
        shown.style.color = shade
          ? shade[0] * 0.3 + shade[1] * 0.6 + shade[2] * 0.1 > 128
            ? '#000'
            : '#fff'
          : '';
        for (const one of elements) one.classList.toggle('chosen', n === chosen);
      });
    };
    mark(this.rows, row, row === undefined && column !== undefined ? (i) => weight(i, column) : undefined);
    mark(this.columns, column, row !== undefined ? (j) => weight(row, j) : undefined);
    this.frame(this.frames[0], row, [0, (row ?? 0) * cell, columns.length * cell, cell]);
    this.frame(this.frames[1], column, [(column ?? 0) * cell, 0, cell, rows.length * cell]);
    this.readout.textContent = this.read({ row, column }, weight);
  }

  private frame(
    frame: HTMLElement,
    shown: number | undefined,
    [x, y, width, height]: readonly number[],
  ): void {
    frame.hidden = shown === undefined;
    Object.assign(frame.style, { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` });
  }

  private read({ row, column }: Place, weight: (i: number, j: number) => number): string {
    const { rows, columns } = this.matrix;
    if (row !== undefined && column !== undefined)
      return `${rows[row].text} → ${columns[column].text}: ${weight(row, column).toFixed(4)}`;
    const strongest = (units: readonly { text: string }[], of: (n: number) => number) =>
      units
        .map(({ text }, n) => ({ text, weight: of(n) }))
        .sort((a, b) => b.weight - a.weight)
        .slice(0, NAMED)
        .map(({ text, weight }) => `${text} ${weight.toFixed(3)}`)
        .join(' · ');
    if (row !== undefined)
      return `${rows[row].text} ${words.looksAt}: ${strongest(columns, (j) => weight(row, j))}`;
    if (column !== undefined)
      return `${columns[column].text} ${words.lookedAtBy}: ${strongest(rows, (i) => weight(i, column))}`;
    return words.hint;
  }
}

function spell({ head: _, ...numbers }: Partial<HeadSummary>): string {
  return Object.entries(numbers)
    .map(([name, value]) => `${say(name)} ${value.toFixed(name === 'distance' ? 1 : 2)}`)
    .join(' · ');
}
