import { type Lsn, parseLsn } from '@drover/core';
import type { LedgerRow, TenantRow } from '@drover/pg';
import { describe, expect, it } from 'vitest';
import { decideLedger } from './ledger-decision.ts';

const entry = (more: Partial<LedgerRow> = {}): LedgerRow => ({
  id: 7,
  tenant: 'acme',
  source: 'east',
  epoch: 1,
  commitLsn: parseLsn('0/10'),
  part: 0,
  stream: 's',
  streamSeq: 3,
  kind: 'poison',
  reason: 'apply.conflict',
  detail: {},
  status: 'open',
  createdAt: new Date(0),
  resolvedAt: null,
  resolvedBy: null,
  ...more,
});
const row = (more: Partial<TenantRow> = {}): TenantRow => ({
  tenant: 'acme',
  epoch: 1,
  role: 'replica',
  open: false,
  source: 'east',
  feed: 'parked',
  systemId: null,
  generation: null,
  commitLsn: null,
  part: null,
  stream: null,
  streamSeq: null,
  lenientUntil: null,
  skipLsn: null,
  commitTime: null,
  reason: null,
  updatedAt: new Date(0),
  ...more,
});

describe('what retrying or skipping means', () => {
  it('for the change that stops a tenant: the feed goes on, past it or onto it again', () => {
    expect(decideLedger(entry(), row(), 'retry')).toEqual({ kind: 'resume', skip: null });
    expect(decideLedger(entry(), row(), 'skip')).toEqual({ kind: 'resume', skip: parseLsn('0/10') });
  });

  it('for a change that does not name its transaction: only a new copy helps', () => {
    for (const commitLsn of [null, 0n as Lsn]) {
      expect(decideLedger(entry({ commitLsn }), row(), 'skip')).toMatchObject({
        kind: 'refuse',
        hint: /anew/,
      });
      expect(decideLedger(entry({ commitLsn }), row(), 'retry').kind).toBe('resume');
    }
  });

  it('for a place that the stream does not hold any more: only a new copy helps', () => {
    const anew = {
      kind: 'refuse',
      hint: expect.stringContaining('tenant replicate acme --to <cluster> --anew'),
    };
    for (const reason of ['pg.slot_missing: made anew', 'pg.identity_changed: x', 'bus.truncated: x']) {
      for (const action of ['retry', 'skip'] as const)
        expect(decideLedger(entry({ reason }), row({ reason }), action)).toMatchObject(anew);
    }
    expect(decideLedger(entry({ kind: 'resync' }), row(), 'retry')).toMatchObject(anew);
    expect(decideLedger(entry({ kind: 'resync' }), row(), 'skip')).toEqual({ kind: 'close' });
    expect(decideLedger(entry(), row({ reason: 'apply.schema: x' }), 'retry').kind).toBe('resume');
  });
  it.each([null, row({ feed: 'live' }), row({ role: 'primary', feed: null, open: true })])(
    'when the tenant goes on already: it can be closed only',
    (at) => {
      expect(decideLedger(entry(), at, 'skip')).toEqual({ kind: 'close' });
      expect(decideLedger(entry(), at, 'retry')).toMatchObject({ kind: 'refuse', why: /not stopped/ });
    },
  );

  it('for the tail of a dead primary: it can be closed only, and never touches a tenant that is parked for another reason', () => {
    expect(decideLedger(entry({ kind: 'stale_epoch' }), row(), 'skip')).toEqual({ kind: 'close' });
    expect(decideLedger(entry({ kind: 'stale_epoch' }), row(), 'retry')).toMatchObject({
      kind: 'refuse',
      hint: /application/,
    });
  });

  it('when it was decided before: the same again changes nothing, another decision is refused', () => {
    expect(decideLedger(entry({ status: 'retried' }), row(), 'retry')).toEqual({ kind: 'already' });
    expect(decideLedger(entry({ status: 'skipped' }), row(), 'skip')).toEqual({ kind: 'already' });
    expect(decideLedger(entry({ status: 'resolved' }), row(), 'retry')).toMatchObject({
      kind: 'refuse',
      why: /resolved already/,
    });
    expect(decideLedger(entry({ status: 'skipped' }), row(), 'retry')).toMatchObject({ kind: 'refuse' });
  });
});
