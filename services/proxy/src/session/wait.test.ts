import { expect, test } from 'vitest';
import { Wait } from './wait.ts';

const LIMITS = { queueMs: 100, holdMs: 10 };

test('who stands in line waits for queueMs, who is held for holdMs, from the beginning of the wait', () => {
  const wait = new Wait();
  wait.begin('busy', 1000);
  expect(wait.overdue(1099, LIMITS, false)).toBeNull();
  expect(wait.overdue(1100, LIMITS, false)).toMatchObject({ code: '53300' });
  wait.begin('moving', 1005);
  expect(wait.overdue(1009, LIMITS, false)).toBeNull();
  expect(wait.overdue(1010, LIMITS, false)).toMatchObject({ code: '57P03', hint: 'Try again.' });
});

test('a cluster that does not answer counts as a hold', () => {
  const wait = new Wait();
  wait.begin('busy', 1000);
  expect(wait.overdue(1010, LIMITS, true)).toMatchObject({ code: '57P03' });
  expect(wait.end(1030)).toBe(30);
});

test('only holds are counted as such, and each once', () => {
  const wait = new Wait();
  wait.begin('busy', 1000);
  expect(wait.end(1050)).toBeNull();
  wait.begin('lease', 2000);
  wait.begin('stale', 2010);
  expect([wait.end(2030), wait.since, wait.end(2040)]).toEqual([30, 0, null]);
});
