import { expect, test } from 'vitest';
import { Account, IDLE } from './account.ts';
import { ENTRY, SWALLOW } from './replies.ts';

const IN_TRANSACTION = 0x54;

test('the backend is free when nothing is owed, no segment is open and no transaction runs', () => {
  const account = new Account();
  account.begin();
  account.owe(ENTRY.query);
  account.owe(ENTRY.query);
  expect(account.betweenTransactions).toBe(false);
  account.answered();
  expect(account.ready(IDLE)).toBe(false);
  account.answered();
  expect(account.ready(IN_TRANSACTION)).toBe(false);
  expect([account.betweenTransactions, account.inTransaction]).toEqual([false, true]);
  account.owe(ENTRY.query);
  account.answered();
  account.segmentOpen = true;
  expect(account.ready(IDLE)).toBe(false);
  account.segmentOpen = false;
  account.owe(ENTRY.sync);
  account.answered();
  expect([account.ready(IDLE), account.betweenTransactions]).toEqual([true, true]);
});

test('what was told before is not told again when the transaction begins again', () => {
  const account = new Account();
  account.begin();
  const sent = Buffer.from('BEGIN, INSERT');
  account.journal.push(sent, true);
  account.owe(ENTRY.query);
  account.oweOwn(ENTRY.parse);
  account.owe(ENTRY.query);
  account.answered(); // told
  account.answered(); // the proxy's own does not count
  expect(account.replay()).toEqual([sent]);
  expect([account.halfReplayed, account.replies.empty]).toEqual([true, true]);
  account.owe(ENTRY.query);
  expect(account.replies.head).toBe(ENTRY.query | SWALLOW);
  expect(account.halfReplayed).toBe(false);
  account.answered();
  account.owe(ENTRY.query);
  expect(account.replies.head).toBe(ENTRY.query);
});

test('an answer of the proxy’s own making is told once, too', () => {
  const account = new Account();
  account.begin();
  expect(account.answerNow()).toBe(true);
  account.replay();
  expect([account.answerNow(), account.answerNow()]).toEqual([false, true]);
});
