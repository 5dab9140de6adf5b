/**
 * A reader may be killed at any instant and the stream may have lost any number of its last messages: whoever resumes from what the
 * stream says publishes every transaction exactly once, in order, each tenant's share whole (I1, I2, I3, I10).
 */
import { clusterId, type Lsn, partitionOf, tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { type Group, Lane, type Outgoing } from './lane.ts';
import { type Mark, Marks } from './marks.ts';
import { ITEMS, insert, message, readBlock, tuple } from './source-script.testing.ts';

const TENANTS = ['acme', 'bolt', 'coil', 'dart'].map(tenantId);
const PARTITIONS = 2;

/** As JetStream and the bus's publisher keep it: a group with the safe LSN of the one before continues it. */
class Stream {
  readonly messages: { message: Outgoing; first: number; safeLsn: Lsn }[] = [];

  publish(group: Group): void {
    const last = this.messages.at(-1);
    const first = last?.safeLsn === group.safeLsn ? last.first : this.messages.length;
    for (const m of group.messages) this.messages.push({ message: m, first, safeLsn: group.safeLsn });
  }

  marks(): Marks {
    const last = this.messages.at(-1);
    if (last === undefined) return new Marks();
    const perTenant = new Map<string, Mark>();
    for (const { message: m } of this.messages.slice(last.first)) perTenant.set(m.token, m);
    return new Marks(last.safeLsn, perTenant);
  }
}

interface Transaction {
  /** Index of the tenant of each row; -1 a heartbeat. */
  readonly rows: readonly number[];
}

interface Life {
  /** After how many events of the source the reader dies. */
  readonly events: number;
  /** A lane is flushed after an event when its turn comes. */
  readonly flushes: readonly boolean[];
  /** How many messages at each stream's end never arrived. */
  readonly lost: number;
  /** Only the connection to the source broke: the lanes and what was published stay. */
  readonly reconnects: boolean;
}

const transactions = fc.array(
  fc.record({ rows: fc.array(fc.integer({ min: -1, max: TENANTS.length - 1 }), { maxLength: 14 }) }),
  { minLength: 1, maxLength: 10 },
);
const life = fc.record({
  events: fc.nat({ max: 120 }),
  flushes: fc.array(fc.boolean(), { minLength: 1, maxLength: 17 }),
  lost: fc.nat({ max: 6 }),
  reconnects: fc.boolean(),
});

function openLanes(streams: readonly Stream[]): Lane[] {
  const identity = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };
  return streams.map((stream, partition) => new Lane(partition, identity, stream.marks()));
}

/** Reads the source from its beginning, as from a slot that was never confirmed. */
function live(
  source: readonly Transaction[],
  streams: readonly Stream[],
  lanes: readonly Lane[],
  { events, flushes }: Pick<Life, 'events' | 'flushes'>,
): void {
  const flush = (lane: Lane) => {
    const group = lane.takeGroup(to.lastCommit);
    if (group !== null) streams[lane.partition]!.publish(group);
  };
  const to = new Assembler({
    lanes,
    epochs: new EpochMap(),
    plan: {
      tagging: {
        mode: 'column',
        column: 'tenant',
        overrides: {},
        reference: [],
        exclude: [],
        schemaPrefix: '',
        databasePrefix: '',
      },
      database: 'app',
      types: new Map(),
    },
    partBytes: 90,
    events: { onCut: flush, onUnassigned: () => {} },
  });
  to.relation(ITEMS.oid, ITEMS);
  let event = 0;
  const happened = (): boolean => {
    for (const lane of lanes) if (flushes[(event + lane.partition) % flushes.length]) flush(lane);
    return ++event >= events;
  };
  for (const [i, { rows }] of source.entries()) {
    const lsn = BigInt((i + 1) * 100) as Lsn;
    to.begin(lsn, 0n, i);
    for (const [n, row] of rows.entries()) {
      if (row < 0) message(to, lsn, 'drover.heartbeat', { at: n });
      else insert(to, ITEMS.oid, tuple(`${i}.${n}`, TENANTS[row]!, 'x'));
      if (happened()) return;
    }
    to.commit(lsn, (lsn + 1n) as Lsn, 0n);
    if (happened()) return;
  }
  for (const lane of lanes) flush(lane);
}

function expected(source: readonly Transaction[], tenant: number): string[] {
  return source.flatMap(({ rows }, i) => {
    const mine = rows.flatMap((row, n) => (row === tenant ? [`+items ${i}.${n},${TENANTS[tenant]},x`] : []));
    return mine.length === 0 ? [] : [`begin ${(i + 1) * 100}`, ...mine];
  });
}

/** A tenant's blocks as one history; parts of a transaction must follow one another without a gap. */
function published(streams: readonly Stream[], tenant: number): string[] {
  const name = TENANTS[tenant]!;
  const history: string[] = [];
  let open: { lsn: bigint; part: number } | null = null;
  for (const { message: m } of streams[partitionOf(name, PARTITIONS)]!.messages) {
    if (m.token !== name) continue;
    const block = readBlock(m.token, m.block);
    if (open !== null)
      expect(block).toMatchObject({ firstLsn: open.lsn, lastLsn: open.lsn, part: open.part + 1 });
    else expect(block.part).toBe(0);
    // A part repeats the begin of its transaction.
    history.push(...(block.part === 0 ? block.records : block.records.slice(1)));
    open = block.complete ? null : { lsn: block.lastLsn, part: block.part };
  }
  expect(open).toBe(null);
  return history;
}

describe('resuming', () => {
  it('publishes every transaction once, in order, whatever was lost and whenever it died', () => {
    fc.assert(
      fc.property(transactions, fc.array(life, { maxLength: 5 }), (source, lives) => {
        const streams = Array.from({ length: PARTITIONS }, () => new Stream());
        let lanes = openLanes(streams);
        for (const one of lives) {
          live(source, streams, lanes, one);
          if (one.reconnects) {
            for (const lane of lanes) lane.discard();
          } else {
            for (const { messages } of streams) messages.splice(Math.max(0, messages.length - one.lost));
            lanes = openLanes(streams);
          }
        }
        live(source, streams, lanes, { events: Number.POSITIVE_INFINITY, flushes: [false] });
        for (const tenant of TENANTS.keys())
          expect(published(streams, tenant)).toEqual(expected(source, tenant));
      }),
      { numRuns: 1500 },
    );
  });
});
