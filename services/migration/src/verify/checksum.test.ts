import { describe, expect, it } from 'vitest';
import { differingBuckets, differingKeys, shares } from './checksum.ts';

describe('comparing two sides', () => {
  it('finds buckets that differ in content or count or exist on one side only', () => {
    const a = [
      { bucket: 1, rows: 2, sum: '10' },
      { bucket: 2, rows: 1, sum: '5' },
      { bucket: 3, rows: 1, sum: '7' },
    ];
    const b = [
      { bucket: 1, rows: 2, sum: '10' },
      { bucket: 2, rows: 1, sum: '6' },
      { bucket: 9, rows: 1, sum: '1' },
    ];
    expect(differingBuckets(a, b)).toEqual([2, 3, 9]);
    expect(differingBuckets(a, a)).toEqual([]);
  });

  it('names changed, missing, surplus and duplicated rows by key, up to the limit', () => {
    const a = [
      { key: 'same', hash: '1' },
      { key: 'changed', hash: '2' },
      { key: 'missing', hash: '3' },
      { key: 'twice', hash: '4' },
      { key: 'twice', hash: '4' },
    ];
    const b = [
      { key: 'same', hash: '1' },
      { key: 'changed', hash: '9' },
      { key: 'surplus', hash: '5' },
      { key: 'twice', hash: '4' },
    ];
    expect(differingKeys(a, b, 100)).toEqual(['changed', 'missing', 'surplus', 'twice']);
    expect(differingKeys(a, b, 2)).toHaveLength(2);
    expect(differingKeys(a, a, 100)).toEqual([]);
  });

  it('takes so many buckets at once as there is room for their rows, and one at least', () => {
    const counts = [
      { bucket: 1, rows: 4, sum: '0' },
      { bucket: 2, rows: 5, sum: '0' },
      { bucket: 2, rows: 2, sum: '0' },
      { bucket: 3, rows: 50, sum: '0' },
      { bucket: 4, rows: 1, sum: '0' },
    ];
    expect(shares([1, 2, 3, 4], counts, 11)).toEqual([[1, 2], [3], [4]]);
    expect(shares([1, 2], counts, 10)).toEqual([[1], [2]]);
    expect(shares([], counts, 10)).toEqual([]);
  });
});
