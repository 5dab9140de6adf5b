/** The control plane on a real NATS and two real clusters: births of tenants, and decisions about ledger entries. */
import { roleConnection } from '@drover/config';
import { type ClusterId, epoch, must, parseLsn, type TenantId, tenantId } from '@drover/core';
import { insertLedger, PgPool, readTenantRow, setupCluster, verifierMatches } from '@drover/pg';
import { type CreateTenantRequest, ledgerAction, ledgerStatus, replicaState } from '@drover/rpc';
import { ownPostgres, TEST_SECRET, type TestPostgres, testPassword } from '@drover/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { EAST, makeWorld, WEST, type World } from './world.testing.ts';

const TABLES = `
  CREATE SCHEMA shop;
  CREATE TABLE orders (tenant_id text NOT NULL, id int NOT NULL, PRIMARY KEY (tenant_id, id));
  CREATE TABLE shop.branches (bid bigint PRIMARY KEY, note text);
  CREATE TABLE plans (code text PRIMARY KEY);
`;
const TAGGING = { overrides: { 'shop.branches': 'bid' }, reference: ['public.plans'] };
const ROLES = ['drover_admin', 'drover_cdc', 'drover_apply', 'drover_tenant'] as const;

const servers = new Map<ClusterId, TestPostgres>();
const pools = new Map<ClusterId, PgPool>();
let world: World;

const server = (cluster: ClusterId) => must(servers.get(cluster), cluster);
const admin = (cluster: ClusterId) => must(pools.get(cluster), cluster);
const rowAt = (cluster: ClusterId, tenant: TenantId) => readTenantRow(admin(cluster), tenant);
async function sql(cluster: ClusterId, text: string): Promise<void> {
  const client = await server(cluster).connect('app');
  try {
    await client.query(text);
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  await Promise.all([EAST, WEST].map(async (cluster) => servers.set(cluster, await ownPostgres())));
  world = await makeWorld({
    ports: { east: server(EAST).port, west: server(WEST).port },
    sections: { tagging: TAGGING },
  });
  await Promise.all(
    world.config.clusters.map(async (cluster) => {
      const root = await server(cluster.name).connect();
      await root.query('CREATE DATABASE app');
      await root.end();
      await sql(cluster.name, TABLES);
      await setupCluster({
        cluster: cluster.name,
        databases: ['app'],
        connect: (database) => server(cluster.name).connect(database),
        passwords: Object.fromEntries(ROLES.map((role) => [role, testPassword(role)])) as Record<
          (typeof ROLES)[number],
          string
        >,
        contextKey: Buffer.alloc(32, 7),
        tagging: world.config.tagging,
        origins: [],
        failoverSlots: false,
      });
      pools.set(cluster.name, new PgPool(roleConnection(cluster, 'drover_admin', TEST_SECRET)));
    }),
  );
});
afterAll(async () => {
  await world?.close();
  await Promise.all([...pools.values()].map((pool) => pool.close()));
  await Promise.all([...servers.values()].map((s) => s.stop()));
});

let made = 0;
const fresh = () => tenantId(`t${made++}`);
const create = (
  tenant: TenantId,
  request: Partial<Omit<CreateTenantRequest, '$typeName' | '$unknown'>> = {},
) => world.tenants.createTenant({ requestId: `create-${tenant}`, tenant, ...request });
const stateAt = async (tenant: TenantId, cluster: ClusterId) =>
  (await world.catalog.getPlacement(tenant))?.value.replicas[cluster]?.state;

describe('a new tenant', () => {
  it('is registered, opened, and has a replica that follows from before its first write', async () => {
    const tenant = fresh();
    const { tenant: told, password } = await create(tenant);
    expect(told).toMatchObject({
      tenant,
      primary: 'east',
      epoch: 1n,
      database: 'app',
      tier: 'standard',
      users: ['app'],
    });
    expect(told?.replicas).toMatchObject([{ cluster: 'west', state: replicaState.toProto('live') }]);
    expect(await rowAt(EAST, tenant)).toMatchObject({ role: 'primary', open: true, epoch: 1 });
    expect(await rowAt(WEST, tenant)).toMatchObject({
      role: 'replica',
      open: false,
      epoch: 1,
      source: 'east',
      feed: 'catchup',
      streamSeq: 0,
    });
    expect(await rowAt(WEST, tenant)).toMatchObject({
      stream: expect.stringMatching(/^DROVER_CDC_east_[01]$/),
    });
    const entry = must(await world.catalog.getTenant(tenant), 'entry');
    expect(verifierMatches(entry.users['app']!.verifier, password)).toBe(true);
    expect(JSON.stringify(entry)).not.toContain(password);
  });

  it('asked for twice by the same request is made once, and its password told again', async () => {
    const tenant = fresh();
    const first = await create(tenant);
    const placement = await world.catalog.getPlacement(tenant);
    expect((await create(tenant)).password).toBe(first.password);
    expect(await world.catalog.getPlacement(tenant)).toEqual(placement);
    await expect(create(tenant, { requestId: 'another' })).rejects.toMatchObject({ code: 'tenant.exists' });
    const given = fresh();
    expect((await create(given, { password: 'given', user: 'web' })).password).toBe('');
    const entry = must(await world.catalog.getTenant(given), 'entry');
    expect(verifierMatches(entry.users['web']!.verifier, 'given')).toBe(true);
  });

  it('asked for by two at once is made by one of them, in one place (I4)', async () => {
    const tenant = fresh();
    const outcomes = await Promise.allSettled([
      create(tenant, { requestId: 'a', primary: 'east' }),
      create(tenant, { requestId: 'b', primary: 'west' }),
    ]);
    const refused = outcomes.flatMap((o) => (o.status === 'rejected' ? [o.reason.code] : []));
    expect(refused).toHaveLength(1);
    expect(['tenant.exists', 'placement.conflict']).toContain(refused[0]);
    const open = [await rowAt(EAST, tenant), await rowAt(WEST, tenant)].filter((row) => row?.open === true);
    expect(open).toHaveLength(1);
  });

  it('whose creation was interrupted is finished by the same request (I10)', async () => {
    const tenant = fresh();
    await world.place({ tenant });
    const entry = must(await world.catalog.tenants.get(tenant), 'entry');
    await world.catalog.tenants.update(tenant, { ...entry.value, requestId: 'again' }, entry.revision);
    expect(await rowAt(EAST, tenant)).toBeNull();
    await create(tenant, { requestId: 'again' });
    expect(await rowAt(EAST, tenant)).toMatchObject({ open: true, epoch: 1 });
    expect(await rowAt(WEST, tenant)).toMatchObject({ feed: 'catchup' });
    expect(await stateAt(tenant, WEST)).toBe('live');
  });

  it('that got rows while its creation was interrupted is copied (I1)', async () => {
    const tenant = fresh();
    await world.place({ tenant });
    const entry = must(await world.catalog.tenants.get(tenant), 'entry');
    await world.catalog.tenants.update(tenant, { ...entry.value, requestId: 'again' }, entry.revision);
    await sql(EAST, `INSERT INTO orders VALUES ('${tenant}', 1)`);
    await create(tenant, { requestId: 'again' });
    expect(await rowAt(EAST, tenant)).toMatchObject({ open: true, epoch: 1 });
    expect(await stateAt(tenant, WEST)).toBe('copying');
  });

  it.each([
    [
      'the primary, by the tenant column',
      EAST,
      (t: string) => `INSERT INTO orders VALUES ('${t}', 1)`,
      fresh,
    ],
    [
      'the primary, by another column and type',
      EAST,
      (t: string) => `INSERT INTO shop.branches VALUES (${t})`,
      () => tenantId('4711'),
    ],
    ['the replica', WEST, (t: string) => `INSERT INTO orders VALUES ('${t}', 1)`, fresh],
  ] as const)(
    'that has rows at %s gets its replica by a copy (I1)',
    async (_where, cluster, insert, name) => {
      const tenant = name();
      await sql(cluster, insert(tenant));
      const { tenant: told } = await create(tenant);
      expect(told?.replicas).toMatchObject([{ state: replicaState.toProto('copying') }]);
      expect(await rowAt(EAST, tenant)).toMatchObject({ open: true });
      expect(await rowAt(WEST, tenant)).toBeNull();
    },
  );

  it('is believed when it says that it has rows', async () => {
    const tenant = fresh();
    await create(tenant, { hasData: true });
    expect(await stateAt(tenant, WEST)).toBe('copying');
  });

  it('of a name that lived before gets an epoch above all of the old ones', async () => {
    const tenant = fresh();
    await admin(WEST).query('SELECT drover.follow_tenant($1, 6, $2, $3, NULL, NULL, NULL)', [
      tenant,
      'east',
      'live',
    ]);
    expect((await create(tenant)).tenant?.epoch).toBe(7n);
    expect(await rowAt(WEST, tenant)).toMatchObject({ epoch: 7, feed: 'catchup' });
  });

  it('may have its primary elsewhere, and no replica', async () => {
    const tenant = fresh();
    const { tenant: told } = await create(tenant, { primary: 'west', noReplicas: true });
    expect(told).toMatchObject({ primary: 'west', replicas: [] });
    expect(await rowAt(EAST, tenant)).toBeNull();
  });

  it('may be the reference data, which nobody logs in to', async () => {
    const { tenant: told, password } = await create(tenantId('_shared'));
    expect(told).toMatchObject({ tenant: '_shared', users: [] });
    expect(password).toBe('');
  });

  describe('while a cluster is down', () => {
    afterEach(async () => {
      for (const s of servers.values()) await s.restart();
    });

    it('is made, and copied to the replica when that is back', async () => {
      await server(WEST).stop();
      const tenant = fresh();
      await create(tenant);
      expect(await stateAt(tenant, WEST)).toBe('copying');
      expect(await rowAt(EAST, tenant)).toMatchObject({ open: true });
    });

    it('is not made, and leaves nothing behind, without its primary', async () => {
      await server(EAST).stop();
      const tenant = fresh();
      await expect(create(tenant)).rejects.toMatchObject({ code: 'pg.unreachable' });
      expect(await world.catalog.getTenant(tenant)).toBeNull();
      expect(await world.catalog.getPlacement(tenant)).toBeNull();
    });
  });
});

describe('the ledger', () => {
  const park = async (tenant: TenantId, kind = 'poison') => {
    await create(tenant);
    await admin(WEST).query(
      `UPDATE drover.tenant SET feed = 'parked', reason = 'apply.conflict' WHERE tenant = $1`,
      [tenant],
    );
    return insertLedger(admin(WEST), {
      tenant,
      source: 'east',
      epoch: epoch(1),
      commitLsn: parseLsn('0/AB'),
      kind,
      reason: 'apply.conflict: duplicate key',
      detail: { rows: [1] },
    });
  };
  const resolve = (id: number, action: 'retry' | 'skip', more: object = {}) =>
    world.replication.resolveLedger({
      requestId: 'r',
      cluster: 'west',
      id: BigInt(id),
      action: ledgerAction.toProto(action),
      who: 'ann',
      ...more,
    });

  it('is listed over all clusters, by tenant, newest first', async () => {
    const tenant = fresh();
    const id = await park(tenant);
    await insertLedger(admin(EAST), {
      tenant,
      source: 'west',
      epoch: null,
      commitLsn: null,
      kind: 'stale_epoch',
      reason: 'old',
    });
    const { entries, unreachable } = await world.replication.listLedger({ tenant });
    expect(unreachable).toEqual([]);
    expect(entries).toMatchObject([
      { cluster: 'east', kind: 'stale_epoch', epoch: 0n, commitLsn: '', resolvedBy: '' },
      {
        cluster: 'west',
        database: 'app',
        id: BigInt(id),
        commitLsn: '0/AB',
        detail: '{"rows":[1]}',
        status: ledgerStatus.toProto('open'),
      },
    ]);
    expect(await world.replication.listLedger({ tenant, limit: 1 })).toMatchObject({
      more: true,
      entries: [{ cluster: 'east' }],
    });
    const one = { cluster: 'west', id: BigInt(id) };
    expect(await world.replication.listLedger(one)).toMatchObject({ more: false, entries: [one] });
    expect((await world.replication.listLedger({ ...one, cluster: 'east' })).entries).not.toMatchObject([
      { tenant, kind: 'poison' },
    ]);
  });

  it('is told without the rows of an entry that is larger than an answer', async () => {
    const tenant = fresh();
    await insertLedger(admin(WEST), {
      tenant,
      source: 'east',
      epoch: null,
      commitLsn: null,
      kind: 'stale_epoch',
      reason: 'old',
      detail: { rows: ['x'.repeat(5_000_000)] },
    });
    const { entries } = await world.replication.listLedger({ tenant });
    expect(entries.map((e) => JSON.parse(e.detail))).toEqual([
      { omitted: expect.stringContaining('drover.ledger'), bytes: expect.any(Number) },
    ]);
  });

  it.each([
    ['retry', 'retried', null],
    ['skip', 'skipped', '0/AB'],
  ] as const)('%s: the feed goes on, and it is on record who said so', async (action, status, skipLsn) => {
    const tenant = fresh();
    const id = await park(tenant);
    const nudged: unknown[] = [];
    const apply = await world.answer('apply.west.nudge', (request) => nudged.push(request));
    const { entry } = await resolve(id, action);
    expect(entry).toMatchObject({ status: ledgerStatus.toProto(status), resolvedBy: 'ann', tenant });
    const row = await rowAt(WEST, tenant);
    expect([row?.feed, row?.reason, row?.skipLsn]).toEqual([
      'catchup',
      null,
      skipLsn === null ? null : parseLsn(skipLsn),
    ]);
    // Once more: nothing changes, whatever the feed does meanwhile.
    await admin(WEST).query(`UPDATE drover.tenant SET feed = 'live', skip_lsn = NULL WHERE tenant = $1`, [
      tenant,
    ]);
    expect((await resolve(id, action)).entry?.resolvedAt).toEqual(entry?.resolvedAt);
    expect(await rowAt(WEST, tenant)).toMatchObject({ feed: 'live', skipLsn: null });
    await expect.poll(() => nudged).toEqual([{ tenant }, { tenant }]);
    expect((await world.replication.listLedger({ tenant, openOnly: true })).entries).toEqual([]);
    await apply.close();
  });

  it('keeps the tail of a dead primary until somebody closes it', async () => {
    const tenant = fresh();
    const id = await park(tenant, 'stale_epoch');
    await expect(resolve(id, 'retry')).rejects.toMatchObject({ code: 'rpc.invalid', hint: /application/ });
    expect((await resolve(id, 'skip')).entry?.status).toBe(ledgerStatus.toProto('skipped'));
    expect(await rowAt(WEST, tenant)).toMatchObject({ feed: 'parked', skipLsn: null });
  });

  it('refuses what it does not know', async () => {
    await expect(resolve(999_999, 'skip')).rejects.toMatchObject({
      code: 'rpc.invalid',
      message: /no entry 999999/,
    });
    await expect(resolve(0, 'skip')).rejects.toMatchObject({ message: /id is missing/ });
    await expect(resolve(1, 'skip', { cluster: 'south' })).rejects.toMatchObject({
      message: /no cluster south/,
    });
    await expect(resolve(1, 'skip', { database: 'x' })).rejects.toMatchObject({ message: /no database x/ });
    await expect(resolve(1, 'skip', { action: 0 })).rejects.toMatchObject({ message: /action is missing/ });
    await expect(resolve(1, 'skip', { requestId: '' })).rejects.toMatchObject({
      message: /request_id is missing/,
    });
  });

  it('of a cluster that is down is named as not read', async () => {
    await server(EAST).stop();
    const { unreachable } = await world.replication.listLedger({});
    await server(EAST).restart();
    expect(unreachable).toEqual(['east']);
  });
});
