import { parseLsn } from '@drover/core';
import { codeOf, testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type Fixture, fixture, sqlStateOf } from '../setup/fixture.testing.ts';
import {
  closeTenant,
  followTenant,
  forgetTenant,
  listWriters,
  openTenant,
  terminateWriters,
} from './moves.ts';
import { listEpochs } from './positions.ts';
import { readTenantRow, setFeed, writeCheckpoints } from './tenant-rows.ts';

const TABLES =
  'CREATE TABLE public.orders (tenant text NOT NULL, id int, note text, PRIMARY KEY (tenant, id))';

describe.each([16, 17, 18] as const)('opening, closing, following on PostgreSQL %i (I4)', (major) => {
  let f: Fixture;
  let n = 0;
  let t = '';
  beforeAll(async () => {
    f = await fixture(await testPostgres({ major, settings: { max_prepared_transactions: 20 } }), {
      sql: TABLES,
    });
  });
  afterAll(() => f.close());
  beforeEach(() => {
    t = `t${++n}`;
  });

  const insert = (client: pg.Client, id: number, tenant = t) =>
    client.query('INSERT INTO public.orders VALUES ($1, $2)', [tenant, id]);

  it('accepts writes only while open, only under the right epoch, only of its own rows', async () => {
    const s = await f.tenant(t, 1);
    expect(await sqlStateOf(insert(s.client, 1))).toBe('DR001');
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    await insert(s.client, 1);
    await s.client.query('UPDATE public.orders SET note = $1', ['n']);
    expect(await sqlStateOf(insert(s.client, 2, 'other'))).toBe('42501');
    expect(await sqlStateOf(s.client.query(`UPDATE public.orders SET tenant = 'other'`))).toBe('42501');
    await s.become(t, 2);
    for (const sql of [
      `INSERT INTO public.orders VALUES ('${t}', 9)`,
      `UPDATE public.orders SET note = 'x'`,
      'DELETE FROM public.orders',
      `MERGE INTO public.orders o USING (VALUES ('${t}', 1)) v (a, b) ON o.tenant = v.a AND o.id = v.b WHEN MATCHED THEN UPDATE SET note = 'm'`,
      `MERGE INTO public.orders o USING (VALUES ('${t}', 1)) v (a, b) ON o.tenant = v.a AND o.id = v.b WHEN MATCHED THEN DELETE`,
      `INSERT INTO public.orders VALUES ('${t}', 1) ON CONFLICT (tenant, id) DO UPDATE SET note = 'c'`,
    ]) {
      expect(await sqlStateOf(s.client.query(sql)), sql).toBe('DR001');
    }
    await s.become(t, 1);
    await closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 1000 });
    expect(await sqlStateOf(insert(s.client, 3))).toBe('DR001');
    expect((await s.client.query('SELECT id, note FROM public.orders')).rows).toEqual([{ id: 1, note: 'n' }]);
    await openTenant(f.admin, { tenant: t, epoch: 5 });
    expect(await sqlStateOf(insert(s.client, 3))).toBe('DR001');
    await s.become(t, 5);
    await insert(s.client, 3);
    await s.client.query('DELETE FROM public.orders');
    expect((await listEpochs(f.admin, t)).map((e) => e.epoch)).toEqual([1, 5]);
  });

  it('writes nothing without a context, and says so as for any foreign row', async () => {
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    const s = await f.tenant();
    expect(await sqlStateOf(insert(s.client, 1))).toBe('42501');
    expect((await s.client.query('DELETE FROM public.orders')).rowCount).toBe(0);
  });

  it('waits for writers, within lock_timeout, and names and ends them', async () => {
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    const s = await f.tenant(t, 1);
    await s.client.query('BEGIN');
    await insert(s.client, 1);
    const close = () => closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 100 });
    expect(await codeOf(close())).toBe('failover.drain_timeout');
    expect((await readTenantRow(f.admin, t))?.open).toBe(true);
    const writers = await listWriters(f.admin, t);
    expect(writers).toMatchObject([{ state: 'idle in transaction', user: 'drover_tenant' }]);
    expect(writers[0]?.xactAgeMs).toBeGreaterThan(50);
    expect(await listWriters(f.admin, 'someone else')).toEqual([]);
    expect(await terminateWriters(f.admin, t)).toBe(1);
    await closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 60_000 });
    expect(await listWriters(f.admin, t)).toEqual([]);
  });

  it('waits for prepared transactions, which survive their session', async () => {
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    const s = await f.tenant(t, 1);
    await s.client.query('BEGIN');
    await insert(s.client, 1);
    await s.client.query(`PREPARE TRANSACTION 'p_${f.database}_${t}'`);
    await s.client.end();
    const close = () => closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 100 });
    expect(await codeOf(close())).toBe('failover.drain_timeout');
    expect(await listWriters(f.admin, t)).toMatchObject([
      { pid: null, prepared: `p_${f.database}_${t}`, state: 'prepared' },
    ]);
    expect(await terminateWriters(f.admin, t)).toBe(0);
    await f.root.query(`COMMIT PREPARED 'p_${f.database}_${t}'`);
    await close();
  });

  it('cannot be loosened by unlocking, and a rolled back savepoint takes its writes along', async () => {
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    const s = await f.tenant(t, 1);
    const close = () => closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 100 });
    await s.client.query('BEGIN');
    await insert(s.client, 1);
    await s.client.query(
      `SELECT pg_advisory_unlock_all(), pg_advisory_unlock_shared(1146246738, hashtext('${t}'))`,
    );
    expect(await codeOf(close())).toBe('failover.drain_timeout');
    await s.client.query('ROLLBACK; BEGIN; SAVEPOINT a');
    await insert(s.client, 1);
    await s.client.query('ROLLBACK TO a');
    await close();
    expect(await sqlStateOf(insert(s.client, 1))).toBe('DR001');
  });

  it.each(['REPEATABLE READ', 'SERIALIZABLE'])('fails a stale snapshot in %s with 40001', async (level) => {
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    const s = await f.tenant(t, 1);
    await s.client.query(`BEGIN ISOLATION LEVEL ${level}`);
    await s.client.query('SELECT count(*) FROM public.orders');
    await closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 1000 });
    expect(await sqlStateOf(insert(s.client, 1))).toBe('40001');
    await s.client.query('ROLLBACK');
    // Closed and reopened meanwhile: the old snapshot says epoch 1 and open, which was true.
    await openTenant(f.admin, { tenant: t, epoch: 2 });
    await s.become(t, 2);
    await s.client.query(`BEGIN ISOLATION LEVEL ${level}`);
    await insert(s.client, 1);
    await insert(s.client, 2);
    await s.client.query('COMMIT');
  });

  it('closing again emits a new barrier; other epochs, replicas and strangers are refused', async () => {
    expect(await codeOf(closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 100 }))).toBe(
      'tenant.unknown',
    );
    const opened = await openTenant(f.admin, { tenant: t, epoch: 3 });
    expect(await codeOf(closeTenant(f.admin, { tenant: t, epoch: 2, lockTimeoutMs: 100 }))).toBe(
      'placement.stale_epoch',
    );
    expect(await codeOf(closeTenant(f.admin, { tenant: t, epoch: 4, lockTimeoutMs: 100 }))).toBe(
      'placement.stale_epoch',
    );
    const first = await closeTenant(f.admin, { tenant: t, epoch: 3, lockTimeoutMs: 100 });
    const second = await closeTenant(f.admin, { tenant: t, epoch: 3, lockTimeoutMs: 100 });
    expect(first).toBeGreaterThan(opened);
    expect(second).toBeGreaterThan(first);
    await followTenant(f.admin, { tenant: t, epoch: 4, source: 'west', feed: 'held' });
    expect(await codeOf(closeTenant(f.admin, { tenant: t, epoch: 4, lockTimeoutMs: 100 }))).toBe(
      'tenant.busy',
    );
  });

  it('opens each epoch once; repeating the open that holds is harmless', async () => {
    const opened = await openTenant(f.admin, { tenant: t, epoch: 2 });
    expect(await openTenant(f.admin, { tenant: t, epoch: 2 })).toBe(opened);
    expect(await codeOf(openTenant(f.admin, { tenant: t, epoch: 1 }))).toBe('placement.stale_epoch');
    await closeTenant(f.admin, { tenant: t, epoch: 2, lockTimeoutMs: 100 });
    expect(await codeOf(openTenant(f.admin, { tenant: t, epoch: 2 }))).toBe('placement.stale_epoch');
    await followTenant(f.admin, {
      tenant: t,
      epoch: 3,
      source: 'west',
      feed: 'live',
      stream: 's',
      streamSeq: 5,
    });
    expect(await codeOf(openTenant(f.admin, { tenant: t, epoch: 3 }))).toBe('placement.stale_epoch');
    await openTenant(f.admin, { tenant: t, epoch: 4 });
    expect(await readTenantRow(f.admin, t)).toMatchObject({
      role: 'primary',
      open: true,
      epoch: 4,
      source: null,
      feed: null,
    });
    expect(await codeOf(openTenant(f.admin, { tenant: `${t}x`, epoch: 0 }))).toBe('placement.stale_epoch');
  });

  it('follows only when closed, never itself, never an older epoch, and keeps what was applied when repeated', async () => {
    const follow = {
      tenant: t,
      epoch: 1,
      source: 'west',
      feed: 'held' as const,
      stream: 'S1',
      streamSeq: 10,
    };
    expect(await followTenant(f.admin, follow)).toBe(true);
    await setFeed(f.admin, { tenant: t, feed: 'live', from: ['held'] });
    const commitLsn = parseLsn('0/1000');
    await writeCheckpoints(f.admin, [
      { tenant: t, systemId: '1', generation: 1, commitLsn, part: 0, streamSeq: 20, commitTime: new Date(0) },
    ]);
    expect(await followTenant(f.admin, follow)).toBe(false);
    expect(await readTenantRow(f.admin, t)).toMatchObject({ feed: 'live', commitLsn, streamSeq: 20 });
    // Another stream, a newer epoch, or a fresh copy begin anew.
    expect(await followTenant(f.admin, { ...follow, stream: 'S2' })).toBe(true);
    expect(await readTenantRow(f.admin, t)).toMatchObject({ feed: 'held', commitLsn: null, streamSeq: 10 });
    expect(await followTenant(f.admin, { ...follow, feed: 'copying', stream: 'S2' })).toBe(true);
    expect(
      await followTenant(f.admin, {
        ...follow,
        feed: 'catchup',
        stream: 'S2',
        lenientUntil: parseLsn('0/99'),
      }),
    ).toBe(true);
    expect(await readTenantRow(f.admin, t)).toMatchObject({ feed: 'catchup', lenientUntil: 0x99n });
    expect(await followTenant(f.admin, { ...follow, epoch: 2 })).toBe(true);
    expect(await codeOf(followTenant(f.admin, follow))).toBe('placement.stale_epoch');
    expect(await codeOf(followTenant(f.admin, { ...follow, epoch: 3, source: 'east' }))).toBe('tenant.busy');
    await openTenant(f.admin, { tenant: t, epoch: 3 });
    expect(await codeOf(followTenant(f.admin, { ...follow, epoch: 4 }))).toBe('tenant.busy');
    await closeTenant(f.admin, { tenant: t, epoch: 3, lockTimeoutMs: 100 });
    expect(await codeOf(followTenant(f.admin, { ...follow, epoch: 3 }))).toBe('placement.stale_epoch');
    expect(await followTenant(f.admin, { ...follow, epoch: 4 })).toBe(true);
    expect(await codeOf(forgetTenant(f.admin, { tenant: t, epoch: 3 }))).toBe('placement.stale_epoch');
    await forgetTenant(f.admin, { tenant: t, epoch: 4 });
    await forgetTenant(f.admin, { tenant: t, epoch: 4 });
    expect(await readTenantRow(f.admin, t)).toBeNull();
  });

  it('does not deadlock a transaction in flight behind a waiting close', async () => {
    await openTenant(f.admin, { tenant: t, epoch: 1 });
    const [a, b] = [await f.tenant(t, 1), await f.tenant(t, 1)];
    await insert(a.client, 1);
    await b.client.query('BEGIN');
    await b.client.query('SELECT * FROM public.orders WHERE id = 1 FOR UPDATE'); // no fence yet
    await a.client.query('BEGIN');
    await insert(a.client, 2);
    const closing = closeTenant(f.admin, { tenant: t, epoch: 1, lockTimeoutMs: 60_000 });
    await waitUntilLocked(f.root, 'ExclusiveLock');
    // b waits behind the close in the fence's queue, a waits for b's row: PostgreSQL reorders the queue instead of failing one.
    const bWrites = b.client
      .query(`UPDATE public.orders SET note = 'b' WHERE id = 1`)
      .then(() => b.client.query('COMMIT'));
    const aWrites = a.client
      .query(`UPDATE public.orders SET note = 'a' WHERE id = 1`)
      .then(() => a.client.query('COMMIT'));
    await Promise.all([aWrites, bWrites, closing]);
    expect(
      (await f.root.query('SELECT note FROM public.orders WHERE tenant = $1 AND id = 1', [t])).rows,
    ).toEqual([{ note: 'a' }]);
  });
});

async function waitUntilLocked(root: pg.Client, mode: string): Promise<void> {
  for (;;) {
    const { rows } = await root.query(
      `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND mode = $1 AND NOT granted`,
      [mode],
    );
    if (rows.length > 0) return;
  }
}
