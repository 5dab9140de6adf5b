import { expect, test } from 'vitest';
import { compareRows, SAMPLE } from './compare-tables.ts';

test('equal in any order', () => {
  expect(compareRows('t', ['a', 'b', 'b'], ['b', 'a', 'b'])).toBeNull();
});

test('a row too many, too few, or twice is named on its side', () => {
  expect(compareRows('t', ['a', 'b', 'b'], ['b', 'c'])).toEqual({
    table: 't',
    rowsA: 3,
    rowsB: 2,
    onlyInA: ['a', 'b'],
    onlyInB: ['c'],
  });
});

test('the sample is bounded, the counts are not', () => {
  const many = Array.from({ length: 100 }, (_, i) => `row ${i}`);
  const difference = compareRows('t', many, []);
  expect(difference?.onlyInA).toHaveLength(SAMPLE);
  expect(difference?.rowsA).toBe(100);
});
