/** Readers that begin anew within transactions in progress, and transactions that have to come whole. */
import { LSN_ZERO, type Lsn } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Mark, Marks } from './marks.ts';
import { message } from './source-script.testing.ts';
import { NotStreamed } from './streamed.ts';
import { StreamedScript } from './streamed-script.testing.ts';

let script: StreamedScript;

beforeEach(() => {
  script = new StreamedScript('a');
});

describe('a reader that begins anew', () => {
  const sent = (mark: Partial<Mark> = {}): Marks =>
    new Marks(LSN_ZERO, new Map([['acme', { lastLsn: 50n as Lsn, part: 0, complete: true, ...mark }]]));

  it('has an attempt of its own', () => {
    script.stretch(7, '7 1 acme');
    script = new StreamedScript('b', script.out);
    script.stretch(7, '7 1 acme');
    script.commit(7, 50);
    expect(script.told).toContainEqual(expect.stringMatching(/^acme \| commit b\/7 parts 1 behind 101$/));
    expect(script.told.some((text) => text.includes('commit a/7'))).toBe(false);
  });

  it('tells of a commit only those that the stream has not been told of', () => {
    script = new StreamedScript('b', [], sent());
    script.stretch(7, '7 1 acme', '7 2 bolt');
    script.commit(7, 50);
    expect(script.told.slice(2)).toEqual([
      '_heartbeat | together b/7 of 1 | together {"tenants":[["bolt",0]]}',
      'bolt | commit b/7 parts 1 behind 100',
    ]);
  });

  it('lets go of what the stream knows as a whole', () => {
    script = new StreamedScript('b', [], sent());
    script.stretch(7, '7 1 acme');
    script.commit(7, 50);
    expect(script.told.slice(1)).toEqual(['_heartbeat | rollback b/7/7']);
  });

  it('goes on in parts where the stream has the first of them', () => {
    script = new StreamedScript('b', [], sent({ part: 2, complete: false }));
    script.stretch(7, '7 1 acme');
    expect(() => script.commit(7, 50)).toThrow(NotStreamed);
  });
});

describe('what the source says within a transaction', () => {
  it.each([
    ['beside rows', () => script.stretch(7, '7 1 acme')],
    [
      'beside a rollback',
      () => {
        script.stretch(7, '8 1 acme');
        script.to.streamAbort(7, 8);
      },
    ],
  ])('is read as a whole %s', (_, before) => {
    before();
    script.to.streamStart(7);
    message(script.to, 45n, 'drover.barrier', { tenant: 'acme', id: 'b' });
    script.to.streamStop();
    script.stretch(7, '7 9 acme');
    script.flush();
    expect(script.told.at(-1)).toBe('_heartbeat | rollback a/7/7');
    let thrown: unknown;
    try {
      script.commit(7, 50);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(NotStreamed);
    expect(thrown).toMatchObject({ until: 50n });
  });

  it('is passed on when there is nothing else', () => {
    script.to.streamStart(7);
    message(script.to, 45n, 'drover.barrier', { tenant: 'acme', id: 'b' });
    script.to.streamStop();
    script.commit(7, 50);
    expect(script.told).toEqual(['acme | barrier {"tenant":"acme","id":"b"}']);
  });

  it('of one that is rolled back is forgotten', () => {
    script.to.streamStart(7);
    message(script.to, 45n, 'drover.barrier', { tenant: 'acme', id: 'b' });
    script.to.streamStop();
    script.to.streamAbort(7, 7);
    script.flush();
    expect(script.out).toEqual([]);
  });
});
