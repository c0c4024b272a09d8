// The bench's own writers: protobuf fields, and charts.
import { expect, test } from 'vitest';
import { lineChart } from '../../bench/attention/chart.mjs';
import { field, multiHeadAttention } from '../../bench/attention/onnx.mjs';

test('protobuf fields: varint and length-delimited', () => {
  expect(field(1, 300)).toEqual([0x08, 0xac, 0x02]);
  expect(field(2, 'ab')).toEqual([0x12, 2, 0x61, 0x62]);
  expect(field(20, 2)).toEqual([0xa0, 0x01, 2]);
  expect(field(5, [7, 8])).toEqual([0x2a, 2, 7, 8]);
});

test('a model is one message whose fields fill it to the last byte', () => {
  const bytes = multiHeadAttention({ B: 1, H: 2, Lq: 300, Lk: 300, D: 64, causal: true });
  const found: number[] = [];
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    found.push(tag >> 3);
    const value = varint();
    if ((tag & 7) === 2) at += value;
  }
  expect(at).toBe(bytes.length);
  expect(found).toEqual([1, 7, 8, 8]);
  const text = new TextDecoder('latin1').decode(bytes);
  expect(text).toContain('unidirectional');
  expect(text).toContain('com.microsoft');
});

test('a chart escapes its words, leaves empty series out, and puts greater values higher', () => {
  const svg = lineChart({
    title: 'a < b & c',
    caption: ['made here'],
    x: { label: 'N', ticks: [1, 2, 4] },
    y: { label: 'rate', ticks: [1, 8] },
    series: [
      { label: 'one', points: [[1, 2]] },
      { label: 'two', points: [[1, 4]] },
      { label: 'none', points: [] },
    ],
  });
  expect(svg).not.toContain('a < b');
  expect(svg).not.toContain('none<');
  const heights = [...svg.matchAll(/cy="([\d.]+)"/g)].map(([, y]) => Number(y));
  expect(heights).toHaveLength(2);
  expect(heights[1]).toBeLessThan(heights[0]);
});
