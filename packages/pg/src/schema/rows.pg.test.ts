import { type Lsn, lsn } from '@drover/core';
import { testPostgres } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, fixture } from '../setup/fixture.testing.ts';
import { countLedger, insertLedger, listLedger, readLedger, resolveLedger } from './ledger.ts';
import { followTenant, openTenant } from './moves.ts';
import { readCopy, readStreamPositions, upsertCopy, upsertStreamPosition } from './positions.ts';
import { inTransaction } from './queryable.ts';
import { TENANT_FORM } from './tenant.sql.ts';
import {
  advanceStreamSeq,
  listTenantRows,
  lockTenantRows,
  readTenantRow,
  setFeed,
  setSkipLsn,
  writeCheckpoints,
} from './tenant-rows.ts';

describe('rows of schema drover', () => {
  let f: Fixture;
  let apply: Awaited<ReturnType<Fixture['connect']>>;
  beforeAll(async () => {
    f = await fixture(await testPostgres());
    apply = await f.connect('drover_apply'); // with the rights the apply worker has
  });
  afterAll(() => f.close());

  const checkpoint = (tenant: string, commitLsn: Lsn, streamSeq: number) => ({
    tenant,
    systemId: '7710477303645379380',
    generation: 1,
    commitLsn,
    part: 2,
    streamSeq,
    commitTime: new Date('2026-01-02T03:04:05.678Z'),
  });

  it('moves checkpoints of replicas only, all of them or none', async () => {
    await followTenant(f.admin, {
      tenant: 'b',
      epoch: 1,
      source: 'west',
      feed: 'live',
      stream: 'S',
      streamSeq: 1,
    });
    await followTenant(f.admin, {
      tenant: 'a',
      epoch: 1,
      source: 'west',
      feed: 'held',
      stream: 'S',
      streamSeq: 1,
    });
    await openTenant(f.admin, { tenant: 'p', epoch: 1 });
    const top = lsn(0xffff_ffff_ffff_fff0n);
    await writeCheckpoints(apply, [checkpoint('a', top, 2 ** 50), checkpoint('b', lsn(5n), 7)]);
    expect(await readTenantRow(apply, 'a')).toMatchObject({
      commitLsn: top,
      part: 2,
      streamSeq: 2 ** 50,
      systemId: '7710477303645379380',
      commitTime: new Date('2026-01-02T03:04:05.678Z'),
      feed: 'held',
    });
    await expect(
      inTransaction(apply, () =>
        writeCheckpoints(apply, [checkpoint('b', lsn(9n), 9), checkpoint('p', lsn(9n), 9)]),
      ),
    ).rejects.toMatchObject({ code: 'internal.assertion' });
    expect((await readTenantRow(apply, 'b'))?.commitLsn).toBe(5n);
    await writeCheckpoints(apply, []);
    await advanceStreamSeq(apply, [
      { tenant: 'b', streamSeq: 6 },
      { tenant: 'p', streamSeq: 6 },
    ]);
    expect((await readTenantRow(apply, 'b'))?.streamSeq).toBe(7);
    await advanceStreamSeq(apply, [{ tenant: 'b', streamSeq: 8 }]);
    expect((await readTenantRow(apply, 'b'))?.streamSeq).toBe(8);
    expect((await readTenantRow(apply, 'p'))?.streamSeq).toBeNull();
    expect((await listTenantRows(apply)).map((r) => r.tenant)).toEqual(['a', 'b', 'p']);
    expect((await listTenantRows(apply, { role: 'primary' })).map((r) => r.tenant)).toEqual(['p']);
    expect((await listTenantRows(apply, { source: 'west' })).map((r) => r.tenant)).toEqual(['a', 'b']);
    expect(await readTenantRow(apply, 'nobody')).toBeNull();
  });

  it('locks rows against moves until the transaction ends', async () => {
    await apply.query('BEGIN');
    expect([...(await lockTenantRows(apply, ['b', 'zz', 'a'])).keys()]).toEqual(['a', 'b']);
    await f.admin.query(`SET lock_timeout = '50ms'`);
    await expect(
      followTenant(f.admin, { tenant: 'a', epoch: 9, source: 'west', feed: 'live' }),
    ).rejects.toMatchObject({ code: 'failover.drain_timeout' });
    await f.admin.query('RESET lock_timeout');
    await apply.query('COMMIT');
  });

  it('changes a feed only from where it is expected to be', async () => {
    expect(await setFeed(apply, { tenant: 'b', feed: 'held', from: ['catchup'] })).toBe(false);
    expect(await setFeed(apply, { tenant: 'b', feed: 'held', from: ['live'], epoch: 2 })).toBe(false);
    expect(
      await setFeed(apply, { tenant: 'b', feed: 'held', reason: 'pause:x', from: ['live'], epoch: 1 }),
    ).toBe(true);
    expect(await readTenantRow(apply, 'b')).toMatchObject({ feed: 'held', reason: 'pause:x' });
    expect(await setFeed(apply, { tenant: 'p', feed: 'live' })).toBe(false);
    await setSkipLsn(apply, 'b', lsn(0x20n));
    expect((await readTenantRow(apply, 'b'))?.skipLsn).toBe(0x20n);
    await setSkipLsn(apply, 'b', null);
  });

  it('keeps a ledger whose entries are closed once, on record', async () => {
    const entry = {
      source: 'west',
      epoch: 3,
      commitLsn: lsn(0x10n),
      kind: 'stale_epoch',
      reason: 'late',
      detail: { keys: [1, 'x'] },
    };
    const ids = [];
    for (const tenant of ['a', 'a', 'b']) ids.push(await insertLedger(apply, { ...entry, tenant }));
    const poison = await insertLedger(apply, {
      tenant: 'a',
      source: 'west',
      epoch: null,
      commitLsn: null,
      kind: 'poison',
      reason: 'no',
    });
    expect(await readLedger(apply, ids[0]!)).toMatchObject({
      ...entry,
      tenant: 'a',
      status: 'open',
      part: null,
      resolvedAt: null,
    });
    expect((await listLedger(apply, { tenant: 'a' })).map((e) => e.id)).toEqual([poison, ids[1], ids[0]]);
    expect((await listLedger(apply, { tenant: 'a', limit: 1, beforeId: poison })).map((e) => e.id)).toEqual([
      ids[1],
    ]);
    expect((await listLedger(apply, { kind: 'poison' })).map((e) => e.id)).toEqual([poison]);
    expect(await resolveLedger(f.admin, { id: poison, status: 'skipped', by: 'ann' })).toBe(true);
    expect(await resolveLedger(f.admin, { id: poison, status: 'retried', by: 'bob' })).toBe(false);
    expect(await readLedger(apply, poison)).toMatchObject({ status: 'skipped', resolvedBy: 'ann' });
    await expect(resolveLedger(f.admin, { id: 999_999, status: 'skipped', by: 'ann' })).rejects.toMatchObject(
      { code: 'rpc.invalid' },
    );
    expect(await countLedger(apply)).toEqual([
      { tenant: 'a', kind: 'stale_epoch', entries: 2 },
      { tenant: 'b', kind: 'stale_epoch', entries: 1 },
    ]);
    await expect(apply.query('DELETE FROM drover.ledger')).rejects.toMatchObject({ code: '42501' });
  });

  it('keeps stream positions and copies', async () => {
    const position = {
      source: 'west',
      partition: 3,
      streamCreated: '2026-01-01T00:00:00Z',
      streamSeq: 10,
      commitTime: new Date(1000),
    };
    await upsertStreamPosition(apply, position);
    await upsertStreamPosition(apply, { ...position, streamSeq: 11, commitTime: null });
    expect(await readStreamPositions(apply, 'west')).toEqual([{ ...position, streamSeq: 11 }]);
    expect(await readStreamPositions(apply, 'east')).toEqual([]);
    const copy = {
      tenant: 'a',
      source: 'west',
      state: 'copying',
      attempt: 1,
      snapshot: { n0: 5 },
      progress: { t: { done: 1 } },
      error: null,
    };
    await upsertCopy(apply, copy);
    await upsertCopy(apply, { ...copy, attempt: 2, error: 'lost' });
    expect(await readCopy(apply, 'a')).toMatchObject({ ...copy, attempt: 2, error: 'lost' });
    expect(await readCopy(apply, 'b')).toBeNull();
  });

  describe('in form', () => {
    const AT = { tenant: 'form', epoch: 1, source: 'west', feed: 'live', stream: 'S', streamSeq: 1 } as const;
    beforeAll(() => followTenant(f.admin, AT));

    it.each([
      ['epoch = -1', 'an epoch is not negative'],
      [`role = 'owner'`, 'role is primary or replica'],
      [`feed = 'liv'`, 'feed is copying, catchup, live, held or parked'],
      ['open = true', 'only a primary is open'],
      ['feed = NULL', 'a replica has a source and a feed'],
      ['source = NULL', 'a replica has a source and a feed'],
      [`role = 'primary'`, 'a primary has no source and no feed'],
    ])('%s is refused: %s', async (set, reason) => {
      for (const role of ['origin', 'replica']) {
        await f.root.query(`SET session_replication_role = ${role}`);
        await expect(
          f.root.query(`UPDATE drover.tenant SET ${set} WHERE tenant = 'form'`),
        ).rejects.toMatchObject({ code: '23514', message: `drover.tenant, form: ${reason}` });
      }
      await f.root.query('RESET session_replication_role');
    });

    it('also a new row, and one that apply writes', async () => {
      await expect(
        f.root.query(`INSERT INTO drover.tenant (tenant, epoch, role) VALUES ('form2', 1, 'replica')`),
      ).rejects.toMatchObject({ code: '23514' });
      await expect(
        apply.query(`UPDATE drover.tenant SET feed = 'gone' WHERE tenant = 'form'`),
      ).rejects.toMatchObject({ code: '23514' });
      await apply.query(`UPDATE drover.tenant SET feed = 'held', stream_seq = 9 WHERE tenant = 'form'`);
    });

    it('by triggers alone, where an earlier version had constraints; then nothing is locked any more', async () => {
      const older = await fixture(f.server, { setup: false });
      const { root } = older;
      await root.query(`CREATE SCHEMA drover AUTHORIZATION drover_admin; SET ROLE drover_admin;
        CREATE TABLE drover.tenant (tenant text COLLATE "C" PRIMARY KEY, epoch bigint NOT NULL CHECK (epoch >= 0),
          role text NOT NULL CHECK (role IN ('primary', 'replica')), open boolean NOT NULL DEFAULT false, source text,
          feed text CHECK (feed IN ('copying', 'catchup', 'live', 'held', 'parked')),
          CONSTRAINT only_a_primary_is_open CHECK (NOT open OR role = 'primary'),
          CONSTRAINT a_replica_has_a_source CHECK (role = 'primary' OR (source IS NOT NULL AND feed IS NOT NULL)),
          CONSTRAINT a_primary_has_no_source CHECK (role = 'replica' OR (source IS NULL AND feed IS NULL)))`);
      const update = async (): Promise<string[]> => {
        await root.query('BEGIN');
        for (const statement of TENANT_FORM) await root.query(statement);
        const { rows } = await root.query<{ mode: string }>(
          `SELECT mode FROM pg_locks WHERE relation = 'drover.tenant'::regclass AND mode LIKE '%Exclusive%'`,
        );
        await root.query('COMMIT');
        return rows.map(({ mode }) => mode);
      };
      expect(await update()).toContain('AccessExclusiveLock');
      expect(await update()).toEqual([]);
      const left = await root.query(
        `SELECT conname FROM pg_constraint WHERE conrelid = 'drover.tenant'::regclass AND contype = 'c'`,
      );
      expect(left.rows).toEqual([]);
      await expect(
        root.query(`INSERT INTO drover.tenant (tenant, epoch, role) VALUES ('t', -1, 'primary')`),
      ).rejects.toMatchObject({ code: '23514' });
      await older.close();
    });
  });
});
