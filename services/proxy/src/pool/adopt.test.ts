import { expect, test } from 'vitest';
import { errorResponse, message } from '../protocol/builders.ts';
import { type AdoptFailure, adopt, type Wanted } from './adopt.ts';
import type { Backend } from './backend.ts';

const SIGNED = 'globex|1|00ff';
const READY = message('Z', Buffer.from('I'));
const done = (tag: string): Buffer => message('C', tag);
const row = (value: string): Buffer => {
  const head = Buffer.alloc(6);
  head.writeInt16BE(1);
  head.writeInt32BE(value.length, 2);
  return message('D', head, Buffer.from(value));
};
const CONTEXT_SET = [message('2'), row(SIGNED), done('SELECT 1'), READY];

/** A backend that acme used last, being made fit for globex. */
function adoption(wanted: Partial<Wanted> = {}) {
  const sent: Buffer[] = [];
  const backend = {
    contextStatement: 'c',
    tenant: 'acme',
    context: 'acme|1',
    settings: '',
    dirty: true,
    owner: null,
    closed: false,
    send: (bytes: Buffer) => sent.push(bytes) > 0,
    noteParameter: () => null,
    destroy() {
      this.closed = true;
    },
  };
  const outcomes: (AdoptFailure | null)[] = [];
  const full = { tenant: 'globex', context: 'globex|1', signed: SIGNED, settings: '', keepState: false };
  const work = adopt(backend as unknown as Backend, { ...full, ...wanted }, (failure) =>
    outcomes.push(failure),
  );
  const text = Buffer.concat(sent).toString('latin1');
  return { backend, outcomes, text, say: (...bytes: Buffer[]) => work.onServerBytes(Buffer.concat(bytes)) };
}
const CLEANED = [...['RESET', 'CLOSE CURSOR ALL', 'UNLISTEN', 'DISCARD TEMP', 'SELECT 1'].map(done)];

test('everything is answered and the context read back: fit, and not a moment earlier', () => {
  const a = adoption({ settings: 'SET x = 1' });
  expect(a.text).toMatch(
    /^Q.*RESET ALL;CLOSE ALL;UNLISTEN \*;DISCARD TEMP;.*;SET x = 1\0B.*globex\|1\|00ff/s,
  );
  const answer = Buffer.concat([...CLEANED, done('SET'), READY, ...CONTEXT_SET]);
  for (let at = 0; at < answer.length; at++) {
    expect(a.outcomes).toEqual([]);
    a.say(Buffer.from(answer.subarray(at, at + 1)));
  }
  expect(a.outcomes).toEqual([null]);
  expect(a.backend).toMatchObject({
    tenant: 'globex',
    context: 'globex|1',
    settings: 'SET x = 1',
    dirty: false,
  });
});

test.each([
  ['another value', [...CLEANED, READY, message('2'), row('acme|1|00ff'), done('SELECT 1'), READY]],
  ['none', [...CLEANED, READY, message('2'), done('SELECT 0'), READY]],
  ['an early one', [row(SIGNED), ...CLEANED, READY, message('2'), done('SELECT 1'), READY]],
])('the context read back is %s: the backend is closed', (_, answer) => {
  const a = adoption();
  a.say(...answer);
  expect(a.outcomes).toMatchObject([{ kind: 'backend' }]);
  expect(a.backend).toMatchObject({ closed: true, tenant: 'acme' });
});

test('an error in the client’s settings is the client’s, any other the backend’s; either closes it', () => {
  const error = errorResponse({ severity: 'ERROR', code: '22023', message: 'no' });
  const settings = adoption({ settings: 'SET x = 1' });
  settings.say(...CLEANED, error, READY, ...CONTEXT_SET);
  expect(settings.outcomes).toEqual([{ kind: 'settings', code: '22023', message: 'no' }]);
  const cleaning = adoption({ settings: 'SET x = 1' });
  cleaning.say(...CLEANED.slice(1), error, READY, ...CONTEXT_SET);
  const context = adoption();
  context.say(...CLEANED, READY, error, READY);
  for (const one of [cleaning, context]) expect(one.outcomes).toMatchObject([{ kind: 'backend' }]);
  for (const one of [settings, cleaning, context]) expect(one.backend.closed).toBe(true);
});

test('a session bound to its backend keeps what it has: only the context is set', () => {
  const a = adoption({ keepState: true, settings: 'SET x = 1' });
  expect(a.text).toMatch(/^B/);
  a.say(...CONTEXT_SET);
  expect(a.outcomes).toEqual([null]);
});
