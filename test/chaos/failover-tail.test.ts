/**
 * A cluster dies with writes that had not left it, and comes back (I1, I2, I4, I8, I10): what was acknowledged stands at the new primary or in
 * the ledger, the returned cluster becomes a replica again, and the copy that mends it survives being cut off half way.
 */
import type { TenantId } from '@drover/core';
import { compareTables } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailoverWorld } from './failover-world.ts';

const ROWS = 3000;
const TABLES = `CREATE TABLE public.notes (tenant text NOT NULL, id int, body text, PRIMARY KEY (tenant, id));
  CREATE TABLE public.bulk (tenant text NOT NULL, id int, body text, PRIMARY KEY (tenant, id))`;

let world: FailoverWorld;
let tailed: TenantId;
let clean: TenantId;

beforeAll(async () => {
  world = await FailoverWorld.start(TABLES, {
    failover: { grace: '4s', cooldown: '1s' },
    migration: { chunk_rows: 100 },
    proxy: { lease: '1s' },
  });
  await world.run('cdc east', 'cdc west', 'apply east', 'apply west', 'failover');
  tailed = await world.tenant('tailed');
  clean = await world.tenant('clean');
});
afterAll(() => world.close());

const write = async (cluster: 'east' | 'west', tenant: TenantId, epoch: number, from: number, to: number) => {
  const session = await world.session(cluster, tenant, epoch);
  await session.query('INSERT INTO public.notes SELECT $1, n, $4 FROM generate_series($2::int, $3::int) n', [
    tenant,
    from,
    to,
    `written at ${cluster}`,
  ]);
  await session.end();
};
const count = async (cluster: 'east' | 'west', tenant: TenantId) =>
  (
    await world.query<{ n: number }>(cluster, 'SELECT count(*)::int AS n FROM notes WHERE tenant = $1', [
      tenant,
    ])
  )[0]?.n;
const servedBy = (tenant: TenantId, cluster: string) =>
  world.waitFor(`${tenant} is served by ${cluster}`, async () => {
    const p = await world.placement(tenant);
    return p.state === 'active' && p.primary === cluster && p;
  });
const replicaAt = (tenant: TenantId, state: string) =>
  world.waitFor(
    `east is ${state} for ${tenant}`,
    async () => (await world.placement(tenant)).replicas['east']?.state === state,
  );

async function expectEqual(tenant: TenantId): Promise<void> {
  const [east, west] = [await world.servers.east.connect('app'), await world.servers.west.connect('app')];
  try {
    await world.waitFor(`both hold the same of ${tenant}`, async () => {
      const differences = await compareTables(
        west,
        east,
        ['public.notes', 'public.bulk'],
        `tenant = '${tenant}'`,
      );
      return differences.length === 0;
    });
  } finally {
    await Promise.all([east.end(), west.end()]);
  }
}

describe('a cluster that dies with an unreplicated tail', () => {
  it('loses its tenants to the other one, which has all that had left it', async () => {
    for (const tenant of [tailed, clean]) await write('east', tenant, 1, 1, 20);
    const session = await world.session('east', tailed, 1);
    await session.query(
      `INSERT INTO bulk SELECT $1, n, repeat('x', 100) FROM generate_series(1, $2::int) n`,
      [tailed, ROWS],
    );
    await session.end();
    await world.waitFor('all is replicated', async () => {
      const bulk = await world.query<{ n: number }>('west', 'SELECT count(*)::int AS n FROM bulk');
      return (
        bulk[0]?.n === ROWS && (await count('west', clean)) === 20 && (await count('west', tailed)) === 20
      );
    });
    await world.end('cdc east'); // from here on nothing leaves east
    await write('east', tailed, 1, 21, 25);
    await world.kill('east');
    for (const tenant of [tailed, clean]) {
      expect(await servedBy(tenant, 'west')).toMatchObject({
        epoch: 2,
        replicas: { east: { state: 'returning' } },
      });
      await write('west', tenant, 2, 100, 110);
    }
    expect(await count('west', tailed)).toBe(31);
  });

  it('comes back: the tail stands in the ledger, what is clean follows', async () => {
    await world.servers.east.restart();
    await world.run('cdc east');
    await replicaAt(clean, 'live');
    await replicaAt(tailed, 'copying');
    const ledger = await world.query<{ tenant: string; source: string; epoch: number; detail: unknown }>(
      'west',
      `SELECT tenant, source, epoch::int AS epoch, detail FROM drover.ledger WHERE kind = 'stale_epoch'`,
    );
    expect(ledger.map(({ tenant, source, epoch }) => ({ tenant, source, epoch }))).toEqual([
      { tenant: 'tailed', source: 'east', epoch: 1 },
    ]);
    for (const id of [21, 22, 23, 24, 25]) expect(JSON.stringify(ledger[0]?.detail)).toContain(`"id":${id},`);
    await expectEqual(clean);
    expect(await world.writable(clean)).toEqual(['west']);
    expect(await world.writable(tailed)).toEqual(['west']);
  });

  it('is mended by a copy that goes on where it was cut off', async () => {
    // Slow enough to be met half way.
    await world.query(
      'east',
      `CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_sleep(0.3); RETURN NULL; END';
       CREATE TRIGGER slow AFTER INSERT ON public.bulk FOR EACH STATEMENT EXECUTE FUNCTION public.slow();
       ALTER TABLE public.bulk ENABLE ALWAYS TRIGGER slow`,
    );
    const progress = async () =>
      (
        await world.query<{
          attempt: number;
          state: string;
          done: Record<string, { done: boolean; rows: number }>;
        }>('east', `SELECT attempt, state, progress AS done FROM drover.copy WHERE tenant = 'tailed'`)
      )[0];
    await world.run('migration');
    const before = await world.waitFor('some chunks are copied', async () => {
      const at = await progress();
      const rows = at?.done['public.bulk']?.rows ?? 0;
      return rows > 0 && rows < ROWS && at;
    });
    await world.query(
      'east',
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'drover copy'`,
    );
    await world.end('migration');
    const cut = await progress();
    expect(cut).toMatchObject({ attempt: before.attempt, state: 'copying' });
    await write('west', tailed, 2, 200, 210);
    await world.query('east', 'DROP TRIGGER slow ON public.bulk');
    await world.run('migration');
    await replicaAt(tailed, 'live');
    expect(await progress()).toMatchObject({ attempt: before.attempt, state: 'done' });
    await expectEqual(tailed);
    expect(await count('east', tailed)).toBe(42);
    expect(await world.writable(tailed)).toEqual(['west']);
  });

  it('serves again after a switch-over home', async () => {
    const { beginSwitchover } = await import('@drover/catalog');
    for (const tenant of [tailed, clean]) {
      await world.catalog.changePlacement(tenant, (p) =>
        beginSwitchover(p, { id: crypto.randomUUID(), to: 'east' as never, reason: 'home' }),
      );
      expect(await servedBy(tenant, 'east')).toMatchObject({
        epoch: 3,
        replicas: { west: { state: 'live' } },
      });
      await write('east', tenant, 3, 300, 301);
      expect(await world.writable(tenant)).toEqual(['east']);
      await expectEqual(tenant);
    }
  });
});
