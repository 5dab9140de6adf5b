/**
 * The source's server dies and its physical standby takes over, with the slot that it keeps in step (pitfall 57): what was published is exactly what
 * the new primary has, though the standby lacked the old one's newest transactions.
 */
import { execFileSync } from 'node:child_process';
import { chownSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '@drover/core';
import { type LocalPostgres, startPostgres } from '@drover/local';
import { slotName } from '@drover/pg';
import { FaultProxy, testFolder, testPort } from '@drover/testkit';
import pg from 'pg';
import { afterEach, beforeEach, expect, it } from 'vitest';
import {
  changesOf,
  checkOrder,
  makeWorld,
  type Running,
  readTenant,
  start,
  tenantOnce,
  type World,
} from '../world.testing.ts';

/** Of the physical slot, and of the standby. */
const STANDBY = 'standby';
/** So long the standby hears nothing before the primary dies. */
const TAIL_MS = 700;
const NOTE = 'x'.repeat(500);

let world: World;
/** Between the primary and its standby. */
let link: FaultProxy;
let standby: LocalPostgres;
let running: Running;

beforeEach(async () => {
  world = await makeWorld({ own: { hot_standby: 'on' }, proxied: true, failoverSlot: true });
  link = await FaultProxy.start({ port: world.postgres.port });
  running = start(world);
  await running.ready;
  standby = await makeStandby();
  await world.client.query(`ALTER SYSTEM SET synchronized_standby_slots = '${STANDBY}'`);
  await world.client.query('SELECT pg_reload_conf()');
});
afterEach(async () => {
  await running.stop();
  await link.close();
  await standby.stop('immediate');
  await world.close();
});

/** A base backup as the manual's 25.3.4 has it, and a server on it that streams. */
async function makeStandby(): Promise<LocalPostgres> {
  const { client, postgres, database } = world;
  await client.query('SELECT pg_create_physical_replication_slot($1, true)', [STANDBY]);
  const dir = join(testFolder('standby'), 'pg');
  const data = join(dir, 'data');
  const { dataDir } = postgres.server;
  execFileSync('mkdir', ['-p', dir]);
  await client.query(`SELECT pg_backup_start('standby', true)`);
  execFileSync('cp', ['-a', dataDir, data]); // its owner, too
  const { rows } = await client.query<{ label: string }>(
    'SELECT labelfile AS label FROM pg_backup_stop(false)',
  );
  for (const leftover of ['postmaster.pid', 'postmaster.opts', 'pg_replslot'])
    rmSync(join(data, leftover), { recursive: true, force: true });
  const { uid, gid } = statSync(data);
  execFileSync('mkdir', ['-m', '700', join(data, 'pg_replslot')]);
  writeFileSync(join(data, 'backup_label'), rows[0]?.label ?? '');
  writeFileSync(join(data, 'standby.signal'), '');
  for (const name of ['pg_replslot', 'backup_label', 'standby.signal']) chownSync(join(data, name), uid, gid);
  const { password } = postgres.connection();
  return startPostgres({
    dir,
    port: await testPort(),
    major: postgres.major,
    superPassword: password,
    settings: {
      fsync: false,
      shared_buffers: '32MB',
      primary_conninfo: `host=127.0.0.1 port=${link.port} user=postgres password=${password} dbname=${database} application_name=${STANDBY}`,
      primary_slot_name: STANDBY,
      hot_standby_feedback: true,
      sync_replication_slots: true,
      wal_receiver_status_interval: 1,
      wal_retrieve_retry_interval: '200ms',
    },
  });
}

async function at<R extends pg.QueryResultRow>(port: number, sql: string): Promise<R[]> {
  const client = new pg.Client({ ...world.postgres.connection(world.database), port });
  client.on('error', () => undefined);
  await client.connect();
  try {
    return (await client.query<R>(sql)).rows;
  } finally {
    await client.end();
  }
}

async function eventually(what: string, probe: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 150_000; // the slots' worker looks every 30 s when nothing happens
  while (!(await probe())) {
    if (performance.now() > deadline) throw new Error(`not in time: ${what}`);
    await sleep(50);
  }
}

/** Four clients that write as fast as they can, until the server is gone; the ids that it acknowledged. */
function load(): { readonly acknowledged: number[]; readonly ended: Promise<unknown> } {
  const acknowledged: number[] = [];
  let next = 1;
  const write = async (): Promise<void> => {
    const client = await world.postgres.connect(world.database);
    try {
      for (;;) {
        const id = next++;
        await client.query(`INSERT INTO items VALUES ($1, 'acme', $2)`, [id, NOTE]);
        acknowledged.push(id);
        if (id % 5 === 0) await client.query(`UPDATE items SET note = 'changed' WHERE id = $1`, [id - 1]);
      }
    } catch {
      // it is gone
    }
  };
  return { acknowledged, ended: Promise.all(Array.from({ length: 4 }, write)) };
}

/** Ids of the rows that were published as inserted, in their order. */
const insertedOf = (records: readonly string[]): number[] =>
  records.flatMap((record) => {
    const [, hex] = /^\+items 0x([0-9a-f]{8}),/.exec(record) ?? [];
    return hex === undefined ? [] : [Number.parseInt(hex, 16)];
  });

it('what is published is what the standby has, no more and no less, when it takes over with the slot (57)', async () => {
  const slot = slotName(world.database);
  await eventually('the standby has the slot', async () => {
    await world.client.query('SELECT pg_log_standby_snapshot()');
    const found = await at(
      standby.port,
      `SELECT FROM pg_replication_slots WHERE slot_name = '${slot}' AND synced AND NOT temporary AND invalidation_reason IS NULL`,
    );
    return found.length === 1;
  });
  const { acknowledged, ended } = load();
  await tenantOnce(world, 'acme', (blocks) => changesOf(blocks).length > 500);
  link.blackhole();
  const heard = acknowledged.length;
  await sleep(TAIL_MS);
  await eventually('a tail', async () => acknowledged.length > heard + 10);
  world.postgres.server.kill9();
  await world.postgres.server.exited;
  await link.close(); // what was on its way is gone
  await ended;
  await world.postgres.server.killOrphans();
  const published = insertedOf(changesOf(await readTenant(world, 'acme')));

  await at(standby.port, 'SELECT pg_promote(true, 60)');
  world.proxy?.retarget(standby.port);
  const rows = await at<{ id: number }>(standby.port, 'SELECT id FROM items');
  const there = new Set(rows.map(({ id }) => id));
  // The old primary had told its clients of more; nothing of that has left it.
  expect(acknowledged.filter((id) => !there.has(id)).length).toBeGreaterThan(0);
  expect(published.filter((id) => !there.has(id))).toEqual([]);

  const last = 1_000_000;
  await at(standby.port, `INSERT INTO items VALUES (${last}, 'acme', 'after')`);
  const blocks = await tenantOnce(world, 'acme', (all) => insertedOf(changesOf(all)).includes(last), 120_000);
  checkOrder(blocks);
  const all = insertedOf(changesOf(blocks));
  expect(all.length).toBe(new Set(all).size);
  expect([...all].sort((a, b) => a - b)).toEqual([...there, last].sort((a, b) => a - b));
});
