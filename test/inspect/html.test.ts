// The self-contained HTML file: what it holds, that it is harmless, and what is refused. Its page in a browser: test/browser/offline.test.ts.
import { describe, expect, test } from 'vitest';
import { createTrace } from '../../dist/index.js';
import { drawHtml, headSummary, MOST_WEIGHTS } from '../../dist/inspect/index.js';
import { smallTrace } from '../helpers/small-trace.js';

const dataOf = (html: string) =>
  JSON.parse(/<script type="application\/json" id="data">(.*?)<\/script>/.exec(html)![1]);
const weightsOf = ({ weights, low, high }: { weights: string; low: number; high: number }) => {
  const bytes = Buffer.from(weights, 'base64');
  return Float64Array.from(
    { length: bytes.length / 2 },
    (_, n) => low + ((high - low) * bytes.readUInt16LE(2 * n)) / 65535,
  );
};

describe('HTML of a trace', () => {
  test('holds all weights of all layers and heads within 1/131070, with labels and summaries', async () => {
    const trace = smallTrace();
    const data = dataOf(await drawHtml(trace));
    expect(data.title).toBe('Je vois rougeâtre 책임을');
    expect(data.sheets.map(({ title }: { title: string }) => title)).toEqual(['I see reddish <b>&']);
    expect(data.sheets[0].maps).toHaveLength(6);
    for (const [n, entry] of trace.entries.entries()) {
      const map = data.sheets[0].maps[n];
      expect(map.name).toBe(entry.name);
      const exact = (await (await entry.map()).toTensor()).data;
      const kept = weightsOf(map);
      expect(kept).toHaveLength(exact.length);
      expect(Math.max(...kept.map((x, i) => Math.abs(x - exact[i])))).toBeLessThan(1 / 131070 + 1e-7);
      const [summary] = await headSummary(await entry.map());
      expect(map.summary[0].entropy).toBeCloseTo(summary.entropy, 3);
    }
    const cross = data.sheets[0].maps[2];
    expect(cross.rows).toMatchObject({
      name: 'output',
      tokens: trace.texts.output.tokens,
      words: [0, 1, 2, 2, 2, 3, -1],
    });
    expect(cross.columns).toMatchObject({ name: 'source', spelled: ['I', 'see', 'reddish', '<b>&'] });
    trace.dispose();
  });

  test('attention without weights is left out, and numbers that are not finite are not in its summary', async () => {
    const ones = (...shape: number[]) =>
      ({ dtype: 'float32', shape, data: new Float32Array(shape.reduce((a, b) => a * b)).fill(1) }) as const;
    const nothing = { name: 'nothing', q: ones(1, 0, 2), k: ones(1, 3, 2) };
    const large = { dtype: 'float32', shape: [1, 3, 2], data: new Float32Array(6).fill(3e38) } as const;
    const none = createTrace({ entries: [nothing] });
    await expect(drawHtml(none)).rejects.toThrow(/at least one attention that has weights/);
    const trace = createTrace({ entries: [nothing, { name: 'large', q: large, k: large }] });
    const { maps } = dataOf(await drawHtml(trace)).sheets[0];
    expect(maps.map(({ name }: { name: string }) => name)).toEqual(['large']);
    expect(maps[0].summary).toEqual([{ head: 0 }]);
  });

  test('needs nothing from outside, and no text ends its script', async () => {
    const trace = smallTrace([['</script><script>alert(1)</script>'], ['<!--']], [['<img src=x>']]);
    const html = await drawHtml(trace, { title: '</title><script>alert(2)</script>' });
    expect(html).toContain("default-src 'none'");
    expect(html.match(/<script/g)).toHaveLength(2);
    expect(html.match(/<\/script>/g)).toHaveLength(2);
    expect(html).not.toMatch(/<!--|<img|src=["']|https?:/);
    expect(dataOf(html).sheets[0].maps[0].columns.tokens).toEqual([
      '</script><script>alert(1)</script>',
      '<!--',
      '</s>',
    ]);
    trace.dispose();
  });

  test('several traces are sheets of one file; layer and head to open; progress; a signal ends it', async () => {
    const traces = [smallTrace(), smallTrace([['Yes']], [['Oui']])];
    const told: number[] = [];
    const data = dataOf(
      await drawHtml(traces, { layer: 1, head: 2, onProgress: (fraction) => told.push(fraction) }),
    );
    expect(data.sheets.map(({ title }: { title: string }) => title)).toEqual(['I see reddish <b>&', 'Yes']);
    expect([data.title, data.open]).toEqual(['translation, en to fr', { layer: 1, head: 2 }]);
    expect(told.length).toBeGreaterThan(12);
    expect(told).toEqual([...told].sort((a, b) => a - b));
    expect(told.at(-1)).toBe(1);
    await expect(drawHtml(traces, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow(
      'enough',
    );
    for (const trace of traces) trace.dispose();
  });

  test('a trace without texts has numbers for labels; none and too many weights are refused', async () => {
    const tensor = (...shape: number[]) => ({
      shape,
      data: new Float32Array(shape.reduce((a, n) => a * n, 1)),
    });
    const plain = createTrace({ entries: [{ name: 'x', q: tensor(1, 2, 1), k: tensor(1, 3, 1) }] });
    expect(dataOf(await drawHtml(plain)).sheets[0].maps[0].columns.tokens).toEqual(['0', '1', '2']);
    await expect(drawHtml([])).rejects.toThrow('at least one attention');
    const side = Math.sqrt(MOST_WEIGHTS) + 1;
    const large = createTrace({ entries: [{ name: 'x', q: tensor(1, side, 1), k: tensor(1, side, 1) }] });
    await expect(drawHtml(large)).rejects.toThrow(/at most 16777216 go into one file/);
  });
});

describe('HTML of a figure', () => {
  test('holds its panels from their least to their greatest number', async () => {
    const panels = [{ title: 'a', values: [0, 2, -2, 1] }, { values: [Number.NaN, 0, 0, 0] }];
    const html = await drawHtml({ title: 'Numbers', rows: ['r', 's'], columns: 2, panels, rowAxis: 'down' });
    const [map] = dataOf(html).sheets[0].maps;
    expect([map.low, map.high, map.heads, map.rows.name]).toEqual([-2, 2, ['a', '1'], 'down']);
    [0, 2, -2, 1, -2, 0, 0, 0].forEach((x, n) => {
      if (n !== 4) expect(weightsOf(map)[n]).toBeCloseTo(x, 3);
    });
    await expect(drawHtml({ rows: [], columns: 2, values: [] })).rejects.toThrow('drawHtml: rows');
  });
});
