import { BlockWriter } from '@drover/block';
import { clusterId, DroverError, type Epoch, LSN_ZERO, type Lsn, type TenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { byTransaction, type Entry, toEntry } from '../changes/entry.ts';
import { tuple } from '../changes/tuple.testing.ts';
import { unopenedBlock } from '../changes/unseal.ts';
import type { TenantState } from '../decide/tenant-state.ts';
import { type RouteContext, route } from './route.ts';

const EAST = clusterId('east');
const relation = { oid: 1, schema: 'public', name: 'item', identity: 'd' as const, columns: [] };
const main: RouteContext = { cluster: clusterId('west'), source: EAST, stream: 'S', lane: 'main' };
const lane: RouteContext = { ...main, lane: 'catchup' };

interface Spec {
  readonly tenant?: string;
  readonly epoch?: number;
  readonly seq: number;
  /** LSN of each transaction; a text is the message it carries, otherwise it has one insert. */
  readonly txs: readonly (number | readonly [number, string])[];
  readonly part?: number;
  readonly complete?: boolean;
}

function entry({ tenant = 'a', epoch = 5, seq, txs, part = 0, complete = true }: Spec): Entry {
  const writer = new BlockWriter();
  const lsns = txs.map((tx) => BigInt(typeof tx === 'number' ? tx : tx[0]) as Lsn);
  txs.forEach((tx, i) => {
    writer.begin(lsns[i]!, BigInt(i), 1);
    if (typeof tx === 'number') {
      const t = tuple('x');
      writer.insert(writer.relation(relation), t.bytes, t.start, t.end);
    } else writer.message((lsns[i]! - 1n) as Lsn, 'drover.barrier', Buffer.from(tx[1]));
  });
  const data = writer.finish({
    source: EAST,
    database: 'db',
    tenant: tenant as TenantId,
    epoch: epoch as Epoch,
    systemId: '42',
    generation: 1,
    firstLsn: lsns[0]!,
    lastLsn: lsns.at(-1)!,
    part,
    complete,
    commitTimeUs: 0n,
  });
  const message = {
    seq,
    firstSeq: seq,
    token: tenant,
    data,
    timeMs: 0,
    pending: 0,
    traceparent: undefined,
    safeLsn: LSN_ZERO,
  };
  return toEntry(message, 'db');
}

const state = (more: Partial<TenantState> = {}): TenantState => ({
  tenant: 'a',
  epoch: 5,
  role: 'replica',
  source: 'east',
  feed: 'live',
  systemId: '42',
  generation: 1,
  commitLsn: 100n as Lsn,
  part: 0,
  stream: 'S',
  streamSeq: 10,
  lenientUntil: null,
  skipLsn: null,
  commitTimeMs: null,
  reason: null,
  ...more,
});

const of = (...states: TenantState[]): Map<string, TenantState> => new Map(states.map((s) => [s.tenant, s]));
const written = (routed: ReturnType<typeof route>): unknown =>
  routed.work.map(({ entry: e, from, to, lenient }) => [e.seq, from, to, lenient]);

describe('a batch', () => {
  it('merges transactions and moves the checkpoint to the last', () => {
    const a = state();
    const routed = route([entry({ seq: 11, txs: [110, 120] }), entry({ seq: 12, txs: [130] })], of(a), main);
    expect(written(routed)).toEqual([
      [11, 0, 2, false],
      [12, 0, 1, false],
    ]);
    expect(a).toMatchObject({ commitLsn: 130n, streamSeq: 12 });
    expect(routed.transactions).toBe(3);
  });

  it('leaves out transactions at or below the checkpoint inside a block', () => {
    const a = state({ commitLsn: 110n as Lsn });
    expect(written(route([entry({ seq: 11, txs: [105, 110, 120] })], of(a), main))).toEqual([
      [11, 2, 3, false],
    ]);
  });

  it('is lenient up to lenient_until only', () => {
    const a = state({ lenientUntil: 110n as Lsn });
    expect(written(route([entry({ seq: 11, txs: [105, 110, 120] })], of(a), main))).toEqual([
      [11, 0, 2, true],
      [11, 2, 3, false],
    ]);
  });

  it('passes over the transaction an operator named, on record', () => {
    const a = state({ feed: 'catchup', skipLsn: 110n as Lsn });
    const routed = route([entry({ seq: 11, txs: [105, 110, 120] })], of(a), lane);
    expect(written(routed)).toEqual([
      [11, 0, 1, false],
      [11, 2, 3, false],
    ]);
    expect(routed.notes).toMatchObject([{ kind: 'skipped', lsn: 110n }]);
    expect(a).toMatchObject({ skipLsn: null, commitLsn: 120n });
  });

  it('does not move stream_seq past a message of which only a part is applied', () => {
    const a = state({ feed: 'catchup' });
    const [first] = byTransaction(entry({ seq: 11, txs: [110, 120] }));
    route([first!], of(a), lane);
    expect(a).toMatchObject({ commitLsn: 110n, streamSeq: 10 });
  });

  it('hands a transaction of several parts to a lane, from its first part on, and waits from there', () => {
    const a = state();
    const parts = [entry({ seq: 11, txs: [110] }), entry({ seq: 15, txs: [120], complete: false })];
    const rest = [entry({ seq: 17, txs: [120], part: 1 }), entry({ seq: 18, txs: [130] })];
    const routed = route([...parts, ...rest], of(a), main);
    expect(routed.demoted).toEqual(['a']);
    expect(written(routed)).toEqual([[11, 0, 1, false]]);
    expect(a).toMatchObject({ feed: 'catchup', streamSeq: 14, commitLsn: 110n });
  });

  it('holds a tenant from the first block of a newer epoch on', () => {
    const a = state();
    const routed = route(
      [entry({ seq: 12, txs: [110], epoch: 6 }), entry({ seq: 13, txs: [120], epoch: 6 })],
      of(a),
      main,
    );
    expect(a).toMatchObject({ feed: 'held', reason: 'epoch:6', streamSeq: 11, commitLsn: 100n });
    expect(routed.held).toHaveLength(1);
    expect(routed.work).toEqual([]);
  });

  it('remembers at a primary where the newer epoch begins, and never moves it', () => {
    const a = state({ role: 'primary', source: null, feed: null, stream: 'T', streamSeq: 99 });
    route([entry({ seq: 12, txs: [110], epoch: 6 })], of(a), main);
    route([entry({ seq: 13, txs: [120], epoch: 6 })], of(a), main);
    expect(a).toMatchObject({ feed: null, stream: 'S', streamSeq: 11, reason: 'epoch:6' });
  });

  it('puts each transaction of an ended epoch into the ledger and still announces its barrier', () => {
    const a = state({ epoch: 6, role: 'primary', source: null, feed: null });
    const routed = route(
      [entry({ seq: 11, txs: [110, 120, [130, '{"tenant":"a","id":"end"}']] })],
      of(a),
      main,
    );
    expect(routed.notes.map(({ kind, lsn }) => [kind, lsn])).toEqual([
      ['stale_epoch', 110n],
      ['stale_epoch', 120n],
    ]);
    expect(routed.barriers).toEqual([{ tenant: 'a', id: 'end', lsn: 130n, stale: true }]);
    expect(routed.work).toEqual([]);
  });

  it('stops exactly at a barrier that asks this cluster for a pause', () => {
    const a = state();
    const pause = (target: string): string =>
      JSON.stringify({ tenant: 'a', id: 'v', pauseFor: { target, ms: 50 } });
    const block = entry({ seq: 11, txs: [110, [120, pause('west')], 130] });
    const routed = route([block, entry({ seq: 12, txs: [140] })], of(a), main);
    expect(written(routed)).toEqual([[11, 0, 1, false]]);
    expect(a).toMatchObject({ feed: 'held', reason: 'pause:v', commitLsn: 120n, streamSeq: 10 });
    expect(routed.paused).toEqual([{ tenant: 'a', reason: 'pause:v', ms: 50 }]);
    const other = state();
    expect(
      route([entry({ seq: 11, txs: [110, [120, pause('north')], 130] })], of(other), main).paused,
    ).toEqual([]);
    expect(other).toMatchObject({ feed: 'live', commitLsn: 130n });
  });

  it('counts what it does not apply', () => {
    const entries = [entry({ seq: 11, txs: [110], tenant: 'x' }), entry({ seq: 9, txs: [90] })];
    expect([...route(entries, of(state()), main).counts]).toEqual([
      ['absent', 1],
      ['already', 1],
    ]);
  });
});

describe('a sealed block that cannot be opened', () => {
  const why = new DroverError('block.sealed', 'sealed under key 3: no', {
    facts: { keyId: 3 },
    hint: 'do that',
  });
  /** As `toEntry` makes it: the header, and why not. */
  const unopened = (spec: Spec): Entry => {
    const { block, ...rest } = entry(spec);
    return { ...rest, block: block === null ? null : unopenedBlock(block.header), to: 0, error: why };
  };

  it.each([main, lane])('parks its tenant in front of it, with the reason and what to do', (context) => {
    const a = state({ feed: context === main ? 'live' : 'catchup' });
    const routed = route([unopened({ seq: 11, txs: [110, 120] })], of(a), context);
    expect(a).toMatchObject({ feed: 'parked', streamSeq: 10, commitLsn: 100n });
    expect(a.reason).toBe('block.sealed: sealed under key 3: no; do that');
    expect(written(routed)).toEqual([]);
    expect([...routed.counts]).toEqual([['unopened', 1]]);
    // No transaction of it can be named, so an operator cannot pass over one.
    expect(routed.notes).toMatchObject([{ kind: 'poison', lsn: 0n, seq: 11, detail: { keyId: 3 } }]);
  });

  it('of the first part of a large transaction waits for the lane, which parks it', () => {
    const a = state();
    route([unopened({ seq: 11, txs: [110], complete: false })], of(a), main);
    expect(a).toMatchObject({ feed: 'catchup', streamSeq: 10 });
  });

  it('that was written under an ended epoch is on record all the same', () => {
    const a = state({ role: 'primary', source: null, feed: null });
    const routed = route([unopened({ seq: 11, txs: [110, 120] })], of(a), main);
    expect(routed.notes).toMatchObject([
      { kind: 'stale_epoch', lsn: 110n, detail: { transactions: 2, changes: 2, keyId: 3 } },
    ]);
    const nothing = unopened({ seq: 12, txs: [[130, '{}']] });
    expect(route([nothing], of(state({ role: 'primary', source: null, feed: null })), main).notes).toEqual(
      [],
    );
  });

  it('of a newer epoch holds its tenant as any other does', () => {
    const a = state();
    route([unopened({ seq: 11, txs: [110], epoch: 6 })], of(a), main);
    expect(a).toMatchObject({ feed: 'held', reason: 'epoch:6', streamSeq: 10 });
  });

  it('of others is nobody’s matter here: parked already, applied already, not held', () => {
    for (const row of [state({ feed: 'parked' }), state({ streamSeq: 11 }), undefined]) {
      const before = row === undefined ? undefined : { ...row };
      const routed = route([unopened({ seq: 11, txs: [110] })], row === undefined ? of() : of(row), main);
      expect([routed.notes, routed.parked, row]).toEqual([[], [], before]);
    }
  });
});
