/**
 * The source comes back as another one: promoted, restored, rebuilt (pitfalls 11, 56). What was published must be part of its history, or nothing
 * is read until an operator decides.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { eventually, statusOf } from '../status.testing.ts';
import {
  changesOf,
  checkOrder,
  makeWorld,
  type Running,
  start,
  tenantOnce,
  type World,
} from '../world.testing.ts';

let world: World;
let running: Running;

beforeEach(async () => {
  world = await makeWorld({ own: { hot_standby: 'on' } });
  running = start(world);
  await running.ready;
});
afterEach(async () => {
  await running.stop();
  await world.close();
});

async function insert(first: number, last: number): Promise<void> {
  const client = await world.postgres.connect(world.database);
  for (let i = first; i <= last; i++) await client.query(`INSERT INTO items VALUES ($1, 'acme', 'x')`, [i]);
  await client.end();
}

const published = (n: number) => tenantOnce(world, 'acme', (blocks) => changesOf(blocks).length >= n);
/** As a standby that is made the primary: its timeline branches off where its WAL ends. */
async function promote(): Promise<number> {
  writeFileSync(join(world.postgres.server.dataDir, 'standby.signal'), '');
  await world.postgres.restart();
  const client = await world.postgres.connect(world.database);
  await client.query('SELECT pg_promote(true, 60)');
  const { rows } = await client.query<{ t: number }>(
    `SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int AS t`,
  );
  await client.end();
  return rows[0]?.t ?? 0;
}

/** The data of the moment, to be put back later. */
async function backup(): Promise<string> {
  const { dataDir } = world.postgres.server;
  const copy = `${dataDir}.copy`;
  await world.client.end().catch(() => {});
  await world.postgres.server.stop();
  execFileSync('cp', ['-a', dataDir, copy]); // its owner, too
  await world.postgres.restart();
  return copy;
}

/** The copy of a moment takes the place of the data; the server does not run. */
function restore(copy: string): void {
  const { dataDir } = world.postgres.server;
  rmSync(dataDir, { recursive: true });
  execFileSync('cp', ['-a', copy, dataDir]);
}

describe('a source that was promoted', () => {
  it('is read on when it has all that was published', async () => {
    await insert(1, 20);
    await published(20);
    await world.client.end();
    await world.postgres.server.stop();
    expect(await promote()).toBe(2);
    await insert(21, 30);
    const blocks = await published(30);
    checkOrder(blocks);
    expect(changesOf(blocks)).toHaveLength(30);
    // Known from now on: the next one is no change.
    await world.postgres.restart();
    await insert(31, 32);
    await published(32);
  });

  it('is not read when it lacks what was published, however much it has written since', async () => {
    await insert(1, 5);
    await published(5);
    const copy = await backup();
    await insert(6, 40);
    await published(40);
    await running.stop();
    await world.postgres.server.stop();
    restore(copy);
    expect(await promote()).toBe(2);
    const client = await world.postgres.connect(world.database); // its WAL ends far beyond by now
    await client.query(`INSERT INTO items SELECT i, 'acme', 'x' FROM generate_series(100, 5000) i`);
    await client.end();
    running = start(world);
    await eventually('refused', async () => (await statusOf(world))?.code === 'pg.identity_changed');
    expect((await statusOf(world))?.reason).toMatch(/timeline 2, which branched off before/);
    expect(changesOf(await published(40))).toHaveLength(40);
  });
});

it('a source that was restored to an earlier moment is ahead of nothing: it is not read', async () => {
  const copy = await backup();
  await insert(1, 40);
  await published(40);
  await running.stop();
  await world.postgres.server.stop();
  restore(copy);
  await world.postgres.restart();
  running = start(world);
  await eventually('refused', async () => (await statusOf(world))?.code === 'pg.identity_changed');
  expect((await statusOf(world))?.reason).toMatch(/stream is ahead/);
});
