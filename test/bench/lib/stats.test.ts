import { describe, expect, it } from 'vitest';
import { median, percentile } from './stats.ts';

describe('median', () => {
  it('is the middle value, whatever the order', () => expect(median([9, 1, 5])).toBe(5));
  it('is the mean of the two in the middle', () => expect(median([10, 1, 2, 4])).toBe(3));
  it('sorts as numbers', () => expect(median([10, 9, 100])).toBe(10));
  it('refuses nothing', () => expect(() => median([])).toThrow());
});

describe('percentile', () => {
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  it.each([
    [50, 50],
    [99, 99],
    [100, 100],
    [0.5, 1],
  ])('p%d of 1 to 100 is %d', (percent, value) => expect(percentile(hundred, percent)).toBe(value));
  it('of one value is that value', () => expect(percentile([7], 99)).toBe(7));
  it('is never below the share asked for', () => expect(percentile([1, 2, 3], 50)).toBe(2));
  it('refuses what is no percentage', () => expect(() => percentile([1], 0)).toThrow());
});
