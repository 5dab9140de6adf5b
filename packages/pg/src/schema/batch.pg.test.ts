/** What the apply worker's batches call at the server: their tenants as they are known, rows that must be met, turns. */
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type Fixture, fixture } from '../setup/fixture.testing.ts';
import { followTenant } from './moves.ts';

let f: Fixture;
let apply: Awaited<ReturnType<Fixture['connect']>>;
beforeAll(async () => {
  f = await fixture(await testPostgres());
  apply = await f.connect('drover_apply'); // with the rights the apply worker has
});
afterAll(() => f.close());

describe('a batch', () => {
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
  it('a statement that met other than it was to ends its transaction', async () => {
    await apply.query('SELECT drover.met(1, 1)');
    await expect(apply.query('SELECT drover.met(0, 1)')).rejects.toMatchObject({
      code: 'DR006',
      message: '0 rows were met, not 1',
    });
  });

  it('a set of rows that met fewer or more than it was to, likewise', async () => {
    for (const tenant of ['m1', 'm2', 'm3'])
      await followTenant(f.admin, {
        tenant,
        epoch: 1,
        source: 'west',
        feed: 'live',
        stream: 'S',
        streamSeq: 1,
      });
    const touch = `UPDATE drover.tenant SET reason = 'met' WHERE tenant LIKE 'm_'`;
    const met = (count: number) => apply.query('SELECT drover.met_by($1, $2)', [touch, count]);
    await met(3);
    for (const other of [0, 2, 4]) await expect(met(other)).rejects.toMatchObject({ code: 'DR006' });
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
