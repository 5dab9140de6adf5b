/**
 * Where a schema change stands in a lane, whatever was cut, lost, and read again: behind all rows of earlier transactions, in front of its own
 * rows or marked among them, and its end behind them and before all later ones; each exactly once (I2, I3, I10).
 */
import { clusterId, type Lsn, partitionOf, tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Assembler } from './assembler.ts';
import { EpochMap } from './epoch-map.ts';
import { type Group, Lane, type Outgoing } from './lane.ts';
import { type Mark, Marks } from './marks.ts';
import { ITEMS, insert, message, type ReadBlock, readBlock, tuple } from './source-script.testing.ts';

const TENANTS = ['acme', 'bolt', 'coil', 'dart'].map(tenantId);
const PARTITIONS = 2;
const CHANGE = -2;
const HEARTBEAT = -1;

/** As JetStream and the bus's publisher keep it. */
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

  get blocks(): ReadBlock[] {
    return this.messages.map(({ message: m }) => readBlock(m.token, m.block));
  }
}

/** Index of the tenant of each row, or what else happens. */
type Transaction = readonly number[];

const transactions = fc.array(
  fc.array(fc.integer({ min: CHANGE, max: TENANTS.length - 1 }), { maxLength: 14 }),
  { minLength: 1, maxLength: 8 },
);
const life = fc.record({
  events: fc.nat({ max: 100 }),
  flushes: fc.array(fc.boolean(), { minLength: 1, maxLength: 17 }),
  lost: fc.nat({ max: 8 }),
  reconnects: fc.boolean(),
});
type Life = { events: number; flushes: readonly boolean[] };

function openLanes(streams: readonly Stream[]): Lane[] {
  const identity = { source: clusterId('east'), database: 'app', systemId: '7', generation: 1 };
  return streams.map((stream, partition) => new Lane(partition, identity, stream.marks()));
}

const commitOf = (i: number): bigint => BigInt((i + 1) * 1000);

function live(
  source: readonly Transaction[],
  streams: readonly Stream[],
  lanes: readonly Lane[],
  one: Life,
): void {
  const flush = (lane: Lane): void => {
    const group = lane.takeGroup(to.lastCommit);
    if (group !== null) streams[lane.partition]!.publish(group);
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
    for (const lane of lanes) if (one.flushes[(event + lane.partition) % one.flushes.length]) flush(lane);
    return ++event >= one.events;
  };
  for (const [i, rows] of source.entries()) {
    const lsn = commitOf(i);
    to.begin(lsn as Lsn, 0n, i);
    for (const [n, row] of rows.entries()) {
      const at = lsn - 900n + BigInt(n);
      if (row === HEARTBEAT) message(to, at, 'drover.heartbeat', { at: n });
      else if (row === CHANGE) message(to, at, 'drover.ddl', { tag: `${i}.${n}` });
      else insert(to, ITEMS.oid, tuple(`${i}.${n}`, TENANTS[row]!, 'x'));
      if (happened()) return;
    }
    to.commit(lsn as Lsn, (lsn + 1n) as Lsn, 0n);
    if (happened()) return;
  }
  for (const lane of lanes) flush(lane);
}

/** The rows of a tenant with, for each, how many of its transaction's changes the block says it has behind it. */
function rowsOf(blocks: readonly ReadBlock[], tenant: string): string[] {
  const out: string[] = [];
  for (const block of blocks) {
    if (block.token !== tenant) continue;
    let told = '-';
    for (const record of block.records) {
      if (record.startsWith('begin')) told = '-';
      const mark = /^message drover\.ddl\.mark (.*)$/.exec(record)?.[1];
      if (mark !== undefined) told = (JSON.parse(mark) as { told: string }).told;
      if (record.startsWith('+')) out.push(`${record.slice(7).split(',')[0]} ${told}`);
    }
  }
  return out;
}

const hex = (lsn: bigint): string =>
  `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;

function expectedRows(source: readonly Transaction[], tenant: number): string[] {
  return source.flatMap((rows, i) => {
    let told = '-';
    return rows.flatMap((row, n) => {
      if (row === CHANGE) told = hex(commitOf(i) - 900n + BigInt(n));
      return row === tenant ? [`${i}.${n} ${told}`] : [];
    });
  });
}

function checkPlaces(blocks: readonly ReadBlock[], source: readonly Transaction[]): void {
  const own = blocks
    .map((block, index) => ({ block, index }))
    .filter(({ block }) => block.token === '_heartbeat');
  for (const [i, rows] of source.entries()) {
    const lsn = commitOf(i);
    const changes = rows.flatMap((row, n) => (row === CHANGE ? [`${i}.${n}`] : []));
    if (changes.length === 0) continue;
    const mine = own.filter(
      ({ block }) => block.lastLsn === lsn && block.records.some((r) => r.includes('drover.ddl')),
    );
    const told = mine.flatMap(({ block }) =>
      block.records.filter((r) => r.startsWith('message drover.ddl {')),
    );
    expect(told.map((r) => (JSON.parse(r.slice(19)) as { tag: string }).tag)).toEqual(changes);
    const ends = mine.filter(({ block }) =>
      block.records.some((r) => r.startsWith('message drover.ddl.end')),
    );
    expect(ends.length).toBe(1);
    const [first, end] = [mine[0]!.index, ends[0]!.index];
    for (const [index, block] of blocks.entries()) {
      if (block.token.startsWith('_')) continue;
      if (block.lastLsn < lsn) expect(index).toBeLessThan(first);
      else if (block.firstLsn > lsn) expect(index).toBeGreaterThan(end);
      else {
        expect(block.firstLsn).toBe(lsn);
        expect(block.lastLsn).toBe(lsn);
        expect(index).toBeLessThan(end);
      }
    }
  }
}

describe('a schema change in a lane', () => {
  it('stands at its place, once', () => {
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
        for (const stream of streams) checkPlaces(stream.blocks, source);
        for (const [i, tenant] of TENANTS.entries())
          expect(rowsOf(streams[partitionOf(tenant, PARTITIONS)]!.blocks, tenant)).toEqual(
            expectedRows(source, i),
          );
      }),
      { numRuns: 500 },
    );
  });
});
