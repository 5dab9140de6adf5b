import { type Lsn, lsn } from '@drover/core';
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
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

  describe('locked as they are known', () => {
    const LOCK = 'SELECT drover.lock_known($1::text[], $2::xid[])';
    const versionOf = async (tenant: string): Promise<string> => {
      const { rows } = await f.admin.query<{ xmin: string }>(
        'SELECT xmin FROM drover.tenant WHERE tenant = $1',
        [tenant],
      );
      return rows[0]?.xmin ?? '';
    };
    beforeAll(async () => {
      for (const tenant of ['k1', 'k2'])
        await followTenant(f.admin, {
          tenant,
          epoch: 1,
          source: 'west',
          feed: 'live',
          stream: 'S',
          streamSeq: 1,
        });
    });

    it('holds while nobody has written them, whoever has locked them meanwhile', async () => {
      const versions = [await versionOf('k1'), await versionOf('k2')];
      await f.admin.query(`SELECT FROM drover.tenant WHERE tenant IN ('k1', 'k2') FOR UPDATE`);
      await apply.query(LOCK, [['k1', 'k2'], versions]);
      await apply.query(LOCK, [[], []]);
    });

    it('fails by a code of its own when one of them is another version, or gone', async () => {
      const [one, two] = [await versionOf('k1'), await versionOf('k2')];
      await f.admin.query(`UPDATE drover.tenant SET feed = 'held' WHERE tenant = 'k2'`);
      await expect(
        apply.query(LOCK, [
          ['k1', 'k2'],
          [one, two],
        ]),
      ).rejects.toMatchObject({ code: 'DR006' });
      await apply.query(LOCK, [
        ['k1', 'k2'],
        [one, await versionOf('k2')],
      ]);
      await expect(
        apply.query(LOCK, [
          ['gone', 'k1'],
          ['3', one],
        ]),
      ).rejects.toMatchObject({ code: 'DR006' });
    });

    it('holds for many as for few', async () => {
      const many = Array.from({ length: 20 }, (_, i) => `many${String(i).padStart(2, '0')}`);
      const at = { epoch: 1, source: 'west', feed: 'live', stream: 'S', streamSeq: 1 } as const;
      for (const tenant of many) await followTenant(f.admin, { tenant, ...at });
      const versions = await Promise.all(many.map(versionOf));
      await apply.query(LOCK, [many, versions]);
      await f.admin.query(`UPDATE drover.tenant SET stream_seq = 2 WHERE tenant = 'many13'`);
      await expect(apply.query(LOCK, [many, versions])).rejects.toMatchObject({ code: 'DR006' });
    });

    it('waits for whoever writes one, and fails when that commits, not when it rolls back', async () => {
      const version = await versionOf('k1');
      const waiting = async (): Promise<void> => {
        await expect
          .poll(async () => {
            const { rows } = await f.admin.query(
              `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT drover.lock_known%'`,
            );
            return rows.length;
          })
          .toBe(1);
      };
      const other = await f.connect('drover_apply');
      for (const [end, code] of [
        ['ROLLBACK', undefined],
        ['COMMIT', 'DR006'],
      ] as const) {
        await other.query('BEGIN');
        await other.query(`UPDATE drover.tenant SET stream_seq = 5 WHERE tenant = 'k1'`);
        const locked = apply.query(LOCK, [['k1'], [version]]).then(
          () => undefined,
          (error: { code: string }) => error.code,
        );
        await waiting();
        await other.query(end);
        expect(await locked).toBe(code);
      }
      await other.end();
    });

    it('have the version of whatever else their transaction has written, new or not', async () => {
      for (const _ of ['new', 'there']) {
        const [, , written] = (await apply.query(`BEGIN;
          UPDATE drover.tenant SET stream_seq = 7 WHERE tenant IN ('k1', 'k2');
          INSERT INTO drover.stream_position AS p (source, partition, stream_created, stream_seq) VALUES ('versions', 0, 'c', 1)
            ON CONFLICT (source, partition) DO UPDATE SET stream_seq = excluded.stream_seq RETURNING xmin;
          COMMIT`)) as unknown as { rows: { xmin: string }[] }[];
        const version = written?.rows[0]?.xmin ?? '';
        expect([await versionOf('k1'), await versionOf('k2')]).toEqual([version, version]);
        await apply.query(LOCK, [
          ['k1', 'k2'],
          [version, version],
        ]);
      }
    });
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

  it('a statement that met other than it was to ends its transaction', async () => {
    await apply.query('SELECT drover.met(1, 1)');
    await expect(apply.query('SELECT drover.met(0, 1)')).rejects.toMatchObject({
      code: 'DR006',
      message: '0 rows were met, not 1',
    });
  });

  it('a set of rows that met fewer or more than it was to, likewise', async () => {
    const touch = `UPDATE drover.tenant SET reason = 'met' WHERE tenant IN ('t', 'many01', 'many02')`;
    const met = (count: number) => apply.query('SELECT drover.met_by($1, $2)', [touch, count]);
    const { rowCount } = await apply.query(touch);
    await met(rowCount ?? -1);
    for (const other of [0, (rowCount ?? 0) + 1, (rowCount ?? 0) - 1])
      await expect(met(other)).rejects.toMatchObject({ code: 'DR006' });
    await apply.query(`SELECT drover.met_by('SELECT FROM generate_series(1, 300)', 300)`); // rows that are only looked for
    await expect(
      apply.query(`SELECT drover.met_by('UPDATE drover.tenant SET epoch = 9', 1)`),
    ).rejects.toMatchObject({ code: '42501' }); // by the caller's rights
  });

  describe('turns', () => {
    const TAKE = 'SELECT drover.take_turn($1)';
    let other: pg.Client;
    beforeAll(async () => {
      other = await f.connect('drover_apply');
    });
    afterEach(async () => {
      for (const client of [apply, other]) await client.query('ROLLBACK');
    });
    const waiting = () =>
      expect
        .poll(async () => {
          const { rows } = await f.admin.query(
            `SELECT FROM pg_stat_activity WHERE wait_event = 'advisory' AND query LIKE 'SELECT drover.take_turn%'`,
          );
          return rows.length;
        })
        .toBe(1);

    it.each(['COMMIT', 'ROLLBACK'])('are one after the other, each until its %s', async (end) => {
      await apply.query('BEGIN');
      await apply.query(TAKE, [1]);
      await apply.query(TAKE, [1]);
      await other.query('BEGIN');
      await other.query(TAKE, [2]); // another's
      const second = other.query(TAKE, [1]);
      await waiting();
      await apply.query(end);
      await second;
      await apply.query('BEGIN');
      const third = apply.query(TAKE, [1]);
      await waiting();
      await other.query('COMMIT');
      await third;
    });

    it('are not waited for for ever', async () => {
      await apply.query('BEGIN');
      await apply.query(TAKE, [1]);
      await other.query('BEGIN');
      const before = (await other.query('SHOW lock_timeout')).rows;
      await other.query(TAKE, [1]);
      // The transaction goes on, as it was.
      expect((await other.query('SHOW lock_timeout')).rows).toEqual(before);
    });
  });
});
