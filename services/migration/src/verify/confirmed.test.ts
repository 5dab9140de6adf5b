import { expect, it } from 'vitest';
import type { TableResult } from './compare-table.ts';
import { confirmed } from './confirmed.ts';

const table = (name: string, differing: string[], equal = differing.length === 0): TableResult => ({
  table: name,
  rows: 9,
  equal,
  differing,
});

it('keeps what differed in both looks and takes back the rest', () => {
  const first = [table('a', ['1', '2']), table('b', ['1']), table('c', []), table('d', ['1'])];
  const second = [table('a', ['2', '3']), table('b', ['2']), table('c', ['1']), table('d', [])];
  expect(confirmed(first, second)).toEqual([
    table('a', ['2']),
    table('b', []),
    table('c', []),
    table('d', []),
  ]);
});

it('takes nothing back when a list is full: the key may be one that is not in it', () => {
  const full = Array.from({ length: 100 }, (_, i) => `k${i}`);
  expect(confirmed([table('a', full)], [table('a', ['other'])])).toEqual([table('a', ['other'])]);
  expect(confirmed([table('a', ['other'])], [table('a', full)])).toEqual([table('a', full)]);
});
