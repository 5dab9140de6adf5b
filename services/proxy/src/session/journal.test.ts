import { expect, test } from 'vitest';
import { Journal } from './journal.ts';

const run = (text: string) => Buffer.from(text);
const text = (journal: Journal) => Buffer.concat(journal.drain()).toString();

test('what was answered outside a transaction is dropped, what is pipelined behind stays', () => {
  const journal = new Journal();
  journal.push(run('a'), true);
  journal.push(run('b1'), false);
  journal.push(run('b2'), true);
  journal.push(run('c'), true);
  journal.readyIdle(false);
  expect(text(journal)).toBe('b1b2c');
});

test('a transaction is kept as a whole until it ends', () => {
  const journal = new Journal();
  for (const piece of ['begin;', 'insert;', 'commit;', 'next;']) journal.push(run(piece), true);
  journal.ready();
  journal.ready();
  journal.readyIdle(false);
  expect(text(journal)).toBe('next;');
});

test('what does not fit cannot be replayed until the backend is free', () => {
  const journal = new Journal();
  journal.push(Buffer.alloc(65 * 1024), true);
  expect(journal.replayable).toBe(false);
  journal.readyIdle(true);
  expect(journal.replayable).toBe(true);
  expect(journal.drain()).toEqual([]);
});
