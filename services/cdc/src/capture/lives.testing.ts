/**
 * For property tests: readers that live one after the other, each until it dies or loses its source somewhere, and the streams they leave behind.
 * The last one gets to the end.
 */
import { clusterId, type Lsn, must, partitionOf, type TenantId, tenantId } from '@drover/core';
import fc from 'fast-check';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { type Group, Lane } from './lane.ts';
import { type Mark, Marks } from './marks.ts';
import type { Outgoing } from './outgoing.ts';
import { ITEMS, insert, message, type ReadBlock, readBlock, tuple } from './source-script.testing.ts';

export const TENANTS = ['acme', 'bolt', 'coil', 'dart'].map(tenantId);
const PARTITIONS = 2;
const HEARTBEAT = -1;
export const CHANGE = -2;

/** For each row the index of its tenant; {@link HEARTBEAT} or {@link CHANGE}, a schema change, are no rows. */
export type Transaction = readonly number[];

export interface Life {
  /** After how many events of the source it ends. */
  readonly events: number;
  /** A lane is flushed after an event when its turn comes. */
  readonly flushes: readonly boolean[];
  /** How many messages at each stream's end never arrived. */
  readonly lost: number;
  /** Only the connection to the source broke: the lanes and what was published stay. */
  readonly reconnects: boolean;
}

export const transactions = (what: 'rows' | 'rows and schema changes') => {
  const min = what === 'rows' ? HEARTBEAT : CHANGE;
  const transaction = fc.array(fc.integer({ min, max: TENANTS.length - 1 }), { maxLength: 14 });
  return fc.array(transaction, { minLength: 1, maxLength: 10 });
};

export const lives = fc.array(
  fc.record({
    events: fc.nat({ max: 120 }),
    flushes: fc.array(fc.boolean(), { minLength: 1, maxLength: 17 }),
    lost: fc.nat({ max: 8 }),
    reconnects: fc.boolean(),
  }),
  { maxLength: 5 },
);

/** Where a transaction commits; its rows and messages stand before. */
export const commitOf = (transaction: number): bigint => BigInt((transaction + 1) * 1000);
export const placeOf = (transaction: number, row: number): bigint =>
  commitOf(transaction) - 900n + BigInt(row);

/** As JetStream and the bus's publisher keep it: a group with the safe LSN of the one before continues it. */
export class Stream {
  readonly messages: { message: Outgoing; first: number; safeLsn: Lsn }[] = [];

  publish(group: Group): void {
    const last = this.messages.at(-1);
    const first = last?.safeLsn === group.safeLsn ? last.first : this.messages.length;
    for (const m of group.messages) this.messages.push({ message: m, first, safeLsn: group.safeLsn });
  }

  lose(messages: number): void {
    this.messages.splice(Math.max(0, this.messages.length - messages));
  }

  marks(): Marks {
    const last = this.messages.at(-1);
    if (last === undefined) return new Marks();
    const perTenant = new Map<string, Mark>();
    for (const { message: m } of this.messages.slice(last.first)) perTenant.set(m.token, m);
    return new Marks(last.safeLsn, perTenant);
  }

  get blocks(): ReadBlock[] {
    return this.messages.map(({ message: m }) => readBlock(m.token, m.block));
  }
}

export const streamOf = (streams: readonly Stream[], tenant: TenantId): Stream =>
  must(streams[partitionOf(tenant, PARTITIONS)], 'the stream of its partition');

/** What all of them have published. */
export function publishedBy(all: readonly Life[], source: readonly Transaction[]): Stream[] {
  const streams = Array.from({ length: PARTITIONS }, () => new Stream());
  let lanes = openLanes(streams);
  for (const one of all) {
    live(source, streams, lanes, one);
    if (one.reconnects) {
      for (const lane of lanes) lane.discard();
    } else {
      for (const stream of streams) stream.lose(one.lost);
      lanes = openLanes(streams);
    }
  }
  live(source, streams, lanes, { events: Number.POSITIVE_INFINITY, flushes: [false] });
  return streams;
}

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
  const flush = (lane: Lane): void => {
    const group = lane.takeGroup(to.lastCommit);
    if (group !== null) streams[lane.partition]?.publish(group);
  };
  const tagging = { mode: 'column' as const, column: 'tenant', overrides: {}, reference: [], exclude: [] };
  const to: Assembler = new Assembler({
    lanes,
    epochs: new EpochMap(),
    plan: {
      tagging: { ...tagging, schemaPrefix: '', databasePrefix: '' },
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
  for (const [i, rows] of source.entries()) {
    const lsn = commitOf(i);
    to.begin(lsn as Lsn, 0n, i);
    for (const [n, row] of rows.entries()) {
      if (row === HEARTBEAT) message(to, placeOf(i, n), 'drover.heartbeat', { at: n });
      else if (row === CHANGE) message(to, placeOf(i, n), 'drover.ddl', { tag: `${i}.${n}` });
      else insert(to, ITEMS.oid, tuple(`${i}.${n}`, TENANTS[row], 'x'));
      if (happened()) return;
    }
    to.commit(lsn as Lsn, (lsn + 1n) as Lsn, 0n);
    if (happened()) return;
  }
  for (const lane of lanes) flush(lane);
}
