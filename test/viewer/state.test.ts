// The page's address: whatever stands in it, what is read from it can be shown.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Trace } from '../../dist/index.js';
import { groupsOf, select } from '../../viewer/app/groups.js';
import { formatState, parseState, sentenceOf } from '../../viewer/app/state.js';
import { entryTitle, groupTitle, percentText, STRINGS, sideTitle } from '../../viewer/app/strings.js';

const NAMES = [
  ...['view', 'trace', 'trace2', 'text', 'at', 'head', 'at2', 'head2', 'look', 'units', 'measure', 'word'],
  ...['sort', 'box', 'reduce', 'scale', 'range', 'lang', 'theme', 'nobody'],
];
const number = fc.oneof(fc.double(), fc.integer(), fc.constantFrom('', ' ', '-0', '1e999', 'NaN', '0x10'));
/** What people, programs and broken links write. */
const value = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.array(number, { maxLength: 6 }).map((list) => list.join(',')),
  fc.constantFrom('map', 'words', 'live', 'q3', 'k99999999', 'arcs', 'log', 'ko', 'dark', 'max', '__proto__'),
  fc.constantFrom(
    'live',
    'file:',
    'file:x',
    './a.safetensors',
    '%',
    '%E0%A4%A',
    '../..',
    'javascript:0',
    'http://',
  ),
);
const address = fc.oneof(
  fc.array(fc.tuple(fc.constantFrom(...NAMES), value), { maxLength: 12 }).map((list) => {
    return `#${list.map(([name, text]) => `${name}=${encodeURIComponent(text.toWellFormed())}`).join('&')}`;
  }),
  fc.string({ unit: 'binary' }).map((text) => `#${text}`),
);

const isSpan = ([from, to]: readonly [number, number]) => Number.isFinite(from) && from < to;

describe('an address', () => {
  test('is read without an error, whatever stands in it, and what is read is legal', () => {
    fc.assert(
      fc.property(address, (hash) => {
        const { box, range, word, place, other, second, ...rest } = parseState(hash);
        expect(['', 'live']).not.toContain(second);
        if (box) expect(isSpan(box.queries) && isSpan(box.keys)).toBe(true);
        if (range) expect(isSpan(range)).toBe(true);
        if (word) expect(Number.isSafeInteger(word.index)).toBe(true);
        for (const { head } of [place, other]) if (head !== undefined) expect(head >= 0).toBe(true);
        expect(['arcs', 'shading']).toContain(rest.look);
        expect(['mean', 'max', 'sum']).toContain(rest.reduce);
      }),
      { numRuns: 1000 },
    );
  });

  test('that the page writes is one that it reads again, to the same page', () => {
    fc.assert(
      fc.property(address, (hash) => {
        // What is nearly equal may become equal when rounded, once.
        const written = formatState(parseState(`#${formatState(parseState(hash))}`));
        expect(formatState(parseState(`#${written}`))).toBe(written);
      }),
      { numRuns: 1000 },
    );
  });

  test('gives the ends of a box and of a range in either order', () => {
    expect(parseState('#range=0.5,0.1&box=9,2,4,8')).toMatchObject({
      range: [0.1, 0.5],
      box: { queries: [2, 9], keys: [4, 8] },
    });
    expect(parseState('#range=1,1').range).toBeUndefined();
    expect(parseState('#box=1,1,2,3').box).toBeUndefined();
    expect(parseState('#box=1,2,3').box).toBeUndefined();
  });

  test('names both traces of Compare', () => {
    const hash = '#view=compare&trace=.%2Fa.safetensors&trace2=file%3Ab.safetensors';
    expect(parseState(hash)).toMatchObject({ trace: './a.safetensors', second: 'file:b.safetensors' });
    expect(`#${formatState(parseState(hash))}`).toBe(hash);
  });

  test('without a sentence is that of an example; one taken away stays away', () => {
    expect(sentenceOf(parseState(''))).toMatch(/\w+ \w+/);
    expect(sentenceOf({ text: '' })).toBe('');
    expect(sentenceOf(parseState('#text=A house.'))).toBe('A house.');
  });
});

test('a probability is written without exponents', () => {
  expect([1, 0.997, 0.5, 0.066, 1e-4, 7.9e-15, 0].map(percentText)).toEqual([
    ...['100 %', '100 %', '50 %', '6.6 %', '0.01 %', '< 0.01 %', '< 0.01 %'],
  ]);
});

const entry = (name: string, shape: readonly number[]) => ({ name, shape, queries: 'a', keys: 'b' });

test('whatever place is named, it is one that the trace has', () => {
  const shapes = fc.tuple(fc.nat(3), fc.nat(5), fc.nat(5));
  const name = fc.oneof(
    fc
      .tuple(fc.nat(3), fc.constantFrom('selfAttention', 'crossAttention'))
      .map((x) => `layers.${x.join('.')}`),
    fc.constantFrom('constructor', '__proto__', 'a*', '*', ''),
  );
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.tuple(name, shapes), { minLength: 1, maxLength: 6, selector: ([own]) => own }),
      fc.oneof(name, fc.constantFrom('layers.*.selfAttention', 'nothing')),
      fc.option(fc.nat(6), { nil: undefined }),
      (list, at, head) => {
        const trace = { entries: list.map(([own, shape]) => entry(own, shape)) } as unknown as Trace;
        const { entries, heads } = select(trace, { at, head });
        expect(entries.length).toBeGreaterThan(0);
        const [count] = entries[0].shape;
        expect(heads).toHaveLength(head !== undefined && head < count ? 1 : count);
        for (const h of heads) expect(h).toBeLessThan(count);
        for (const { shape } of entries) expect(shape).toEqual(entries[0].shape);
        expect(groupsOf(trace).flatMap((group) => group.entries)).toHaveLength(list.length);
        for (const strings of Object.values(STRINGS))
          for (const { name: own } of entries)
            for (const title of [
              entryTitle(own, strings),
              groupTitle(own, strings),
              sideTitle(own, 'x', strings),
            ])
              expect(typeof title).toBe('string');
      },
    ),
  );
});
