/** Numbers about numbers. Pure. */
import { assert, must } from '@drover/core';

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  assert(values.length > 0, 'the median of nothing');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = must(sorted[middle], 'middle value');
  return sorted.length % 2 === 1 ? upper : (upper + must(sorted[middle - 1], 'lower middle value')) / 2;
}

/** Nearest rank: the smallest value that at least `percent` of all values do not exceed. */
export function percentile(values: readonly number[], percent: number): number {
  assert(values.length > 0, 'a percentile of nothing');
  assert(percent > 0 && percent <= 100, 'a percentage', { percent });
  const sorted = values.toSorted((a, b) => a - b);
  return must(sorted[Math.ceil((percent / 100) * sorted.length) - 1], 'value at its rank');
}
