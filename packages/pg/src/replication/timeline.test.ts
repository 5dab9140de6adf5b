import { formatLsn } from '@drover/core';
import { expect, it } from 'vitest';
import { branchInHistory } from './timeline.ts';

it('finds where a timeline ended, among several', () => {
  const history = `1\t0/3000148\tno recovery target specified\n\n2\t1/A0000028\tno recovery target specified\n`;
  const at = (timeline: number) => {
    const lsn = branchInHistory(history, timeline);
    return lsn === null ? null : formatLsn(lsn);
  };
  expect([at(1), at(2), at(3)]).toEqual(['0/3000148', '1/A0000028', null]);
  expect(branchInHistory('', 1)).toBeNull();
});
