import { expect, test } from 'vitest';
import { ReadPacer } from './pacing.ts';

/** Rounds of `messages`, `everyMs` apart, each dealt with in `workMs`; the last pause. */
function steady(
  pacer: ReadPacer,
  messages: number,
  everyMs: number,
  { workMs = 0, full = false, lagMs = 0 } = {},
): number {
  let pause = 0;
  for (let i = 0, at = 0; i < 200; i++, at += everyMs) {
    pause = pacer.next({ startMs: at, endMs: at + workMs, messages, full, lagMs, cut: false });
  }
  return pause;
}

test.each([
  ['idle: 3 messages every 100 ms', 3, 100, 0],
  ['500 transactions of one row a second', 3, 2, 0],
  ['2,000 transactions of one row a second', 3, 0.5, 0],
  ['6,000 transactions of one row a second', 3, 1 / 6, 1],
  ['20,000 rows a second, large transactions', 20, 1, 1],
  ['50,000 rows a second', 50, 1, 5],
  ['300,000 rows a second', 300, 1, 30],
])('%s', (_, messages, everyMs, pauseMs) => {
  expect(steady(new ReadPacer(), messages, everyMs)).toBe(pauseMs);
});

test('a burst after idling is read at once', () => {
  const pacer = new ReadPacer();
  steady(pacer, 1, 1000);
  expect(
    pacer.next({ startMs: 500_000, endMs: 500_000.2, messages: 50, full: false, lagMs: 0, cut: false }),
  ).toBe(0);
});

test('time spent on the round counts', () => {
  expect(steady(new ReadPacer(), 300, 1, { workMs: 1 })).toBe(29);
  expect(steady(new ReadPacer(), 300, 1, { workMs: 31 })).toBe(0);
});

test('a full read is followed by a pause even when messages are few', () => {
  expect(steady(new ReadPacer(), 1, 10, { full: true })).toBe(1);
});

test('a round that was cut is followed by the next at once', () => {
  const pacer = new ReadPacer();
  steady(pacer, 300, 1);
  expect(pacer.next({ startMs: 200, endMs: 200.1, messages: 300, full: true, lagMs: 0, cut: true })).toBe(0);
});

test('it stops when the load stops', () => {
  const pacer = new ReadPacer();
  steady(pacer, 300, 1);
  expect(pacer.next({ startMs: 400, endMs: 400, messages: 3, full: false, lagMs: 0, cut: false })).toBe(0);
});

test.each([
  ['50,000 rows a second', 50, 30],
  ['300,000 rows a second', 300, 30],
  ['20,000 rows a second', 20, 1],
])('%s from a source that is behind', (_, messages, pauseMs) => {
  expect(steady(new ReadPacer(), messages, 1, { lagMs: 60 })).toBe(pauseMs);
});

test('a Unix-domain socket is read at once', () => {
  for (const lagMs of [0, 60]) expect(steady(new ReadPacer(false), 300, 1, { lagMs })).toBe(0);
});
