import { describe, expect, it } from 'vitest';
import type { Entry } from '../changes/entry.ts';
import { countKnown, type Lineage } from './lineage.ts';

const of = (...generations: (number | null)[]): Entry[] =>
  generations.map(
    (generation) => ({ block: generation === null ? null : { header: { generation } } }) as Entry,
  );
const known = (generation: number): Lineage => ({ systemId: '1', generation });

describe('where the blocks of another slot begin', () => {
  it.each([
    ['nowhere', of(1, 1, 1), known(1), 3],
    ['at the first', of(2, 2), known(1), 0],
    ['in the middle', of(1, 1, 2, 2), known(1), 2],
    ['at the first block of all', of(null, 1), null, 1],
    ['nowhere, where nothing says whose it is (other databases, damaged blocks)', of(null, null), null, 2],
    ['nowhere: an older one never comes back', of(2, 1, 2), known(2), 3],
  ])('%s', (_, entries, lineage, n) => {
    expect(countKnown(entries, lineage)).toBe(n);
  });
});
