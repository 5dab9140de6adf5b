import { expect, it } from 'vitest';
import { Tally } from './tally.ts';

it('ends at its total, over attempts and passes', () => {
  const tally = new Tally();
  tally.begin(0, 30);
  tally.add(10);
  expect([tally.rows, tally.total]).toEqual([10, 30]);
  // Taken up by another attempt, which finds five rows less.
  const next = new Tally();
  next.begin(10, 15);
  next.add(15);
  expect([next.rows, next.total]).toEqual([25, 25]);
  // A further pass.
  next.begin(25, 2);
  expect([next.rows, next.total]).toEqual([25, 27]);
  next.add(2);
  expect([next.rows, next.total]).toEqual([27, 27]);
});

it('never goes back, nor past its total', () => {
  const tally = new Tally();
  tally.begin(50, 10);
  tally.begin(0, 5);
  expect([tally.rows, tally.total]).toEqual([50, 55]);
  tally.add(20);
  expect([tally.rows, tally.total]).toEqual([70, 70]);
});
