// The numbers expected here are those that sacreBLEU publishes in its README and its own tests.
import { describe, expect, test } from 'vitest';
import { bleu, tokenize13a } from '../../dist/tasks/bleu.js';
import { chrf } from '../../dist/tasks/chrf.js';

const hypotheses = ['The dog bit the man.', "It wasn't surprising.", 'The man had just bitten him.'];
const references = [
  ['The dog bit the man.', 'The dog had bit the man.'],
  ['It was not unexpected.', 'No one was surprised.'],
  ['The man bit him first.', 'The man had bitten the dog.'],
];

describe('BLEU', () => {
  test('two references: 48.530827 ± 1e-6, and the published line', () => {
    const result = bleu(hypotheses, references);
    expect(Math.abs(result.score - 48.530827)).toBeLessThan(1e-6);
    expect(result.text).toBe(
      'BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ratio = 0.944 hyp_len = 17 ref_len = 18)',
    );
    expect(result.signature).toBe('nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp');
  });

  test('exponential smoothing of one sentence: 8.493 ± 1e-3', () => {
    const hypothesis = 'Producția de zahăr primă va fi exprimată în ceea ce privește zahărul alb;';
    const { score } = bleu([hypothesis], [['producţia de zahăr brut se exprimă în zahăr alb;']]);
    expect(Math.abs(score - 8.493)).toBeLessThan(1e-3);
  });

  test('nothing right is 0; so are empty hypotheses', () => {
    expect(bleu(['this is a cat'], [['okay thanks']]).score).toBe(0);
    expect(bleu(['', '', ''], references).score).toBe(0);
  });

  test('a varying number of references is named; their order means nothing; equal length counts the shorter', () => {
    const varied = [[...references[0]].reverse(), references[1].slice(0, 1), references[2]];
    expect(bleu(hypotheses, varied).signature).toMatch(/^nrefs:var/);
    expect(
      bleu(
        hypotheses,
        references.map((list) => [...list].reverse()),
      ).score,
    ).toBe(bleu(hypotheses, references).score);
    expect(bleu(['a b c'], [['a b c d', 'a b']]).referenceLength).toBe(2);
  });

  test.each([
    ['Il a 3.5 ans, dit-il.', ['Il', 'a', '3.5', 'ans', ',', 'dit-il', '.']],
    ['1990-2000, "A&amp;B" (c).', ['1990', '-', '2000', ',', '"', 'A', '&', 'B', '"', '(', 'c', ')', '.']],
    ["l'été\u00a0! d’accord…", ["l'été", '!', 'd’accord…']],
    ['a\u0085b\ufeffc', ['a', 'b\ufeffc']],
  ])('13a cuts %j', (line, words) => {
    expect(tokenize13a(line)).toEqual(words);
  });

  test('refuses unequal numbers and missing references', () => {
    expect(() => bleu(['a'], [])).toThrow(/1 hypotheses, but references for 0/);
    expect(() => bleu(['a'], [['']])).toThrow(/sentence 1 has no reference/);
  });
});

describe('chrF', () => {
  test('two references: chrF2 = 59.73', () => {
    const result = chrf(hypotheses, references);
    expect(result.text).toBe('chrF2 = 59.73');
    expect(result.signature).toBe('nrefs:2|case:mixed|eff:yes|nc:6|nw:0|space:no');
  });

  test.each([
    [
      'Co nás nejvíc trápí, protože lékaři si vybírají, kdo bude žít a kdo zemře.',
      'Nejvíce smutní jsme z toho, že musíme rozhodovat o tom, kdo bude žít a kdo zemře.',
      39.14078509,
    ],
    [
      'Nebo prostě nemají vybavení, které by jim pomohlo, uvedli lékaři.',
      'A někdy nemáme ani potřebný materiál, abychom jim pomohli, popsali lékaři.',
      31.22557079,
    ],
    [
      'Lapali po dechu, jejich životy skončily dřív, než skutečně začaly.',
      'Lapali po dechu a pak jejich život skončil - dřív, než skutečně mohl začít, připomněli.',
      57.15704367,
    ],
  ])('smoothed, β 2 (± 1e-6): %s', (hypothesis, reference, expected) => {
    const { score } = chrf([hypothesis], [[reference]], { epsilonSmoothing: true });
    expect(Math.abs(score - expected)).toBeLessThan(1e-6);
  });

  test.each([
    [['abcdefg'], ['hijklmnop'], 0],
    [[''], ['reference'], 0],
    [['aa'], ['ab'], 8.3333],
    [['a', 'b'], ['a', 'c'], 8.3333],
    [['a b c'], ['abc'], 50],
    [
      [' Die    Beziehung zwischen  Obama und Netanjahu ist nicht gerade  freundlich. '],
      ['Das Verhältnis zwischen Obama und Netanyahu ist nicht gerade freundschaftlich.'],
      64.1302698,
    ],
  ])('smoothed, β 3 (± 1e-4): %j', (own, other, expected) => {
    const { score } = chrf(
      own,
      other.map((line) => [line]),
      { beta: 3, epsilonSmoothing: true },
    );
    expect(Math.abs(score - expected)).toBeLessThan(1e-4);
  });

  test.each([
    [['a'], ['a'], 100],
    [['a b c'], ['abc'], 100],
    [['a', 'b'], ['a', 'c'], 50],
    [['aa'], ['ab'], 25],
    [[''], ['c'], 0],
  ])('orders that stand on both sides, β 3 (± 1e-4): %j', (own, other, expected) => {
    const { score } = chrf(
      own,
      other.map((line) => [line]),
      { beta: 3 },
    );
    expect(Math.abs(score - expected)).toBeLessThan(1e-4);
  });

  test('a hypothesis is not blamed for orders that its reference is too short for (by hand, ± 1e-9)', () => {
    const precision = (9 / 11 + 5) / 6;
    const expected = (100 * 5 * precision) / (4 * precision + 1);
    expect(Math.abs(chrf(['abcdefgh', 'abc'], [['abcdefgh'], ['a']]).score - expected)).toBeLessThan(1e-9);
  });
});
