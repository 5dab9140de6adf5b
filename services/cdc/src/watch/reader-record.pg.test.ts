/** The slot lets go of nothing that the record in the source does not cover: whoever starts after a loss finds out, or is sent it again (58). */
import { streamName, subjectOf } from '@drover/bus';
import { partitionOf, tenantId } from '@drover/core';
import { slotName } from '@drover/pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { eventually } from '../status.testing.ts';
import { EAST, makeWorld, type Running, start, tenantOnce, type World } from '../world.testing.ts';

let world: World;
let running: Running;
beforeEach(async () => {
  world = await makeWorld({ cdc: { heartbeatMs: 300 } });
  running = start(world);
  await running.ready;
});
afterEach(async () => {
  await running.stop();
  await world.close();
});

const partition = () => partitionOf(tenantId('acme'), world.config.nats.partitions);

async function one(sql: string, params: unknown[] = []): Promise<bigint> {
  const { rows } = await world.client.query<{ n: string | null }>(sql, params);
  return BigInt(rows[0]?.n ?? 0);
}

it('is confirmed no further than the record was when what it speaks of was stored', async () => {
  await world.client.query(`INSERT INTO items VALUES (1, 'acme', 'a')`);
  await tenantOnce(world, 'acme', (blocks) => blocks.length === 1);
  const wal = () => one(`SELECT (pg_current_wal_lsn() - '0/0')::text AS n`);
  const recorded = () => one(`SELECT (wal_lsn - '0/0')::text AS n FROM drover.reader`);
  const confirmed = () =>
    one(`SELECT (confirmed_flush_lsn - '0/0')::text AS n FROM pg_replication_slots WHERE slot_name = $1`, [
      slotName(world.database),
    ]);
  // A record that knows of WAL which the bus has not stored yet.
  await world.nats.kill9();
  await world.client.query(`INSERT INTO items VALUES (2, 'acme', 'b')`);
  const written = await wal();
  await eventually('recorded', async () => (await recorded()) >= written);
  await world.nats.restart();
  await eventually('confirmed', async () => (await confirmed()) >= written);
  const seq = await one(`SELECT streams -> $1 ->> 'seq' AS n FROM drover.reader`, [String(partition())]);
  const subject = subjectOf(EAST, partition(), 'acme');
  const stream = streamName(EAST, partition());
  await world.bus.connected();
  const stored = await world.bus.jsm.streams.getMessage(stream, { last_by_subj: subject });
  expect(Number(seq)).toBeGreaterThanOrEqual(stored?.seq ?? Number.POSITIVE_INFINITY);
});
