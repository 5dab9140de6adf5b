/** What a verification finds, and that it leaves nothing behind. */
import type { TenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CopyWorld, WEST, type Worker } from '../world.testing.ts';
import { type VerifyResult, verifyTenant } from './verify-tenant.ts';
import { whereabouts } from './whereabouts.ts';

const WIDE = Array.from({ length: 60 }, (_, i) => `c${i} text`).join(', ');
const SQL = `
CREATE TABLE note (tenant text, id int, body text, n numeric, PRIMARY KEY (tenant, id));
CREATE TABLE bare (tenant text, line text, n int); ALTER TABLE bare REPLICA IDENTITY FULL;
CREATE TABLE wide (tenant text, ${WIDE}, j json, body text); ALTER TABLE wide REPLICA IDENTITY FULL;
CREATE TABLE made (tenant text, id uuid, at timestamptz, f float8, v text GENERATED ALWAYS AS (tenant || '!') STORED, PRIMARY KEY (tenant, id, at, f));`;

let world: CopyWorld;
let apply: Worker;
let tenant: TenantId;
let n = 0;
let nudged = 0;
beforeAll(async () => {
  world = await CopyWorld.start(SQL);
});
afterAll(() => world.close());
beforeEach(async () => {
  tenant = await world.tenant(`t${n++}`, 'live');
  for (const client of [world.source, world.target]) {
    await client.query(
      `INSERT INTO note SELECT $1, i, 'body ' || i, i / 10.0 FROM generate_series(1, 50) i`,
      [tenant],
    );
    await client.query(`INSERT INTO bare VALUES ($1, 'once', 1), ($1, 'twice', 2), ($1, 'twice', 2)`, [
      tenant,
    ]);
    await client.query(
      `INSERT INTO wide (tenant, c59, j, body) VALUES ($1, 'x', '{"a":"\\\\u0000","a":1}', repeat('y', 5000000))`,
      [tenant],
    );
    await client.query(
      `INSERT INTO made VALUES ($1, '00000000-0000-0000-0000-000000000001', 'infinity', 'NaN')`,
      [tenant],
    );
  }
  apply = world.holdAtBarriers();
});
afterEach(() => apply.stop());

function verify(
  more: { barrierTimeoutMs?: number; signal?: AbortSignal; progress?: (line: string) => void } = {},
): Promise<VerifyResult> {
  return verifyTenant(
    {
      catalog: world.catalog,
      tagging: world.context.tagging,
      admin: world.context.admin,
      nudge: async () => void nudged++,
      whereabouts: (target, _database, row) =>
        whereabouts(world.bus, { target, database: 'app', partitions: 1 }, row),
      progress: () => undefined,
      signal: new AbortController().signal,
      ...more,
    },
    tenant,
    WEST,
  );
}
const at = (sql: string) => world.target.query(sql, [tenant]);

it('says that all is equal, table by table, and lets the replica go on at once', async () => {
  nudged = 0;
  const result = await verify();
  expect(result).toMatchObject({ equal: true, target: 'west' });
  expect(Object.fromEntries(result.tables.map((t) => [t.table, [t.rows, t.equal, t.differing]]))).toEqual({
    'public.note': [50, true, []],
    'public.bare': [3, true, []],
    'public.wide': [1, true, []],
    'public.made': [1, true, []],
  });
  expect(await world.row(tenant)).toMatchObject({ feed: 'catchup', reason: null });
  expect(nudged).toBe(1);
});

it('stops a replica again that went on before anybody saw it, a few times', async () => {
  await apply.stop();
  apply = world.holdAtBarriers(undefined, 2);
  expect(await verify({ barrierTimeoutMs: 60_000 })).toMatchObject({ equal: true });
  await apply.stop();
  apply = world.holdAtBarriers(undefined, 3);
  await expect(verify({ barrierTimeoutMs: 60_000 })).rejects.toMatchObject({
    code: 'verify.failed',
    message: expect.stringContaining('went on before it could be read'),
  });
});

describe('a difference names the table and the keys', () => {
  const key = (id: number) => `{"id": ${id}, "tenant": "T"}`;
  for (const [what, sql, table, keys] of [
    ['a missing row', 'DELETE FROM note WHERE tenant = $1 AND id = 7', 'public.note', [key(7)]],
    ['an extra row', `INSERT INTO note VALUES ($1, 99, '', 0)`, 'public.note', [key(99)]],
    [
      'a changed value',
      `UPDATE note SET body = 'other' WHERE tenant = $1 AND id = 7`,
      'public.note',
      [key(7)],
    ],
    [
      'a value of another scale',
      'UPDATE note SET n = 0.70 WHERE tenant = $1 AND id = 7',
      'public.note',
      [key(7)],
    ],
    [
      'two rows that changed places',
      'UPDATE note SET body = $$body $$ || 15 - id WHERE tenant = $1 AND id IN (7, 8)',
      'public.note',
      [key(7), key(8)],
    ],
    [
      'a missing row of a table without a key',
      `DELETE FROM bare WHERE tenant = $1 AND line = 'once'`,
      'public.bare',
      [`{"n": "1", "line": "once", "tenant": "T"}`],
    ],
    [
      'one of two equal rows',
      `DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare WHERE tenant = $1 AND line = 'twice')`,
      'public.bare',
      [`{"n": "2", "line": "twice", "tenant": "T"}`],
    ],
    [
      'a key of odd types',
      `DELETE FROM made WHERE tenant = $1`,
      'public.made',
      [`{"f": "NaN", "at": "infinity", "id": "00000000-0000-0000-0000-000000000001", "tenant": "T"}`],
    ],
  ] as const) {
    it(`of ${what}`, async () => {
      await at(sql);
      const result = await verify();
      expect(result.equal).toBe(false);
      const differing = result.tables.filter((t) => !t.equal);
      expect(differing.map((t) => t.table)).toEqual([table]);
      expect(differing[0]?.differing).toEqual(keys.map((k) => k.replace('"T"', `"${tenant}"`)));
    });
  }

  it('of NULL and the empty text', async () => {
    await world.source.query(`UPDATE note SET body = NULL WHERE tenant = $1 AND id = 1`, [tenant]);
    await at(`UPDATE note SET body = '' WHERE tenant = $1 AND id = 1`);
    await world.source.query(`UPDATE bare SET line = NULL WHERE tenant = $1 AND n = 1`, [tenant]);
    await at(`UPDATE bare SET line = '' WHERE tenant = $1 AND n = 1`);
    const differing = (await verify()).tables.filter((t) => !t.equal);
    expect(differing.map((t) => [t.table, t.differing.length])).toEqual([
      ['public.bare', 2],
      ['public.note', 1],
    ]);
  });

  it('of a replica that holds nothing: a hundred keys are enough', async () => {
    await world.source.query(`INSERT INTO note SELECT $1, i, '', 0 FROM generate_series(100, 5000) i`, [
      tenant,
    ]);
    await at('DELETE FROM note WHERE tenant = $1');
    const note = (await verify()).tables.find((t) => t.table === 'public.note');
    expect(note).toMatchObject({ equal: false, rows: 4951 });
    expect(note?.differing).toHaveLength(100);
  });

  it('of a row of 5 MB without a key: its beginning is enough', async () => {
    await at(`UPDATE wide SET body = body || 'z' WHERE tenant = $1`);
    const wide = (await verify()).tables.find((t) => t.table === 'public.wide');
    expect(wide?.equal).toBe(false);
    expect(wide?.differing.map((key) => key.length <= 501)).toEqual([true]);
  });

  it('in a neighbour’s rows is not the tenant’s', async () => {
    await world.target.query(`INSERT INTO note VALUES ('neighbour', 1, '', 0)`);
    expect((await verify()).equal).toBe(true);
  });
});

describe('what cannot be compared', () => {
  it('is a barrier that does not arrive: told in time, with what to look at', async () => {
    await apply.stop();
    await expect(verify({ barrierTimeoutMs: 500 })).rejects.toMatchObject({
      code: 'verify.failed',
      message:
        'the barrier did not arrive at west within 0.5 s; its row says live, looked at up to nothing of stream DROVER_CDC_east_0, ' +
        'whose newest message of the tenant is 0 and whose last is 0, apply of west does not answer',
      hint: expect.stringContaining('drover lag'),
    });
    expect(await world.row(tenant)).toMatchObject({ feed: 'live' });
    await world.waitFor('no session is left', async () => {
      const { rows } = await world.source.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'drover verify' AND datname = current_database()`,
      );
      return rows[0].n === 0;
    });
  });

  it('is a parked replica', async () => {
    await at(`UPDATE drover.tenant SET feed = 'parked', reason = 'value too long' WHERE tenant = $1`);
    await apply.stop();
    await expect(verify()).rejects.toMatchObject({
      code: 'verify.failed',
      message: expect.stringContaining('value too long'),
    });
  });

  it('is a replica that went on before its snapshot was taken', async () => {
    await apply.stop();
    const stolen = world.holdAtBarriers(async () => undefined);
    // The pause is over as soon as it was seen: the row changes behind the look and before the snapshot.
    await world.target.query(`CREATE FUNCTION drover.steal() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN NEW.reason := 'pause:another'; RETURN NEW; END $$`);
    await world.target.query(
      `CREATE TRIGGER steal BEFORE UPDATE ON drover.tenant FOR EACH ROW WHEN (NEW.feed = 'held') EXECUTE FUNCTION drover.steal()`,
    );
    try {
      await expect(verify({ barrierTimeoutMs: 3000 })).rejects.toMatchObject({ code: 'verify.failed' });
      await world.waitFor('it is held', async () => (await world.row(tenant))?.['feed'] === 'held');
      // Held by another verification: not ours to let go.
      expect(await world.row(tenant)).toMatchObject({ feed: 'held', reason: 'pause:another' });
    } finally {
      await world.target.query('DROP TRIGGER steal ON drover.tenant');
      await world.target.query('DROP FUNCTION drover.steal');
      await stolen.stop();
    }
  });

  it('is a replica that is being copied, a tenant that is not there, or a target without the column', async () => {
    await world.anew(tenant);
    await expect(verify()).rejects.toMatchObject({ code: 'tenant.no_replica' });
    const known = tenant;
    tenant = 'nobody' as TenantId;
    await expect(verify()).rejects.toMatchObject({ code: 'tenant.unknown' });
    tenant = known;
    await world.change(tenant, (p) => ({ ...p, replicas: { west: { state: 'live', since: '' } } }));
    await world.target.query('ALTER TABLE note RENAME COLUMN body TO text');
    try {
      await expect(verify()).rejects.toMatchObject({
        code: 'verify.failed',
        message: expect.stringMatching(/public\.note.*"body"/),
      });
    } finally {
      await world.target.query('ALTER TABLE note RENAME COLUMN text TO body');
    }
  });

  it('called off, it ends at once and the replica goes on', async () => {
    await apply.stop();
    const stop = new AbortController();
    const running = verify({ signal: stop.signal });
    running.catch(() => undefined);
    await world.waitFor('it waits for the barrier', async () => {
      const { rows } = await world.source.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'drover verify' AND state = 'idle in transaction'`,
      );
      return rows[0].n === 1;
    });
    const begun = performance.now();
    stop.abort();
    await expect(running).rejects.toMatchObject({ code: 'internal.cancelled' });
    expect(performance.now() - begun).toBeLessThan(30_000); // no barrier comes
    expect(await world.row(tenant)).toMatchObject({ feed: 'live' });
  });

  it('called off while it reads, it says so, not that PostgreSQL was lost', async () => {
    for (const last of ['waiting for the barrier', 'comparing public.note', 'comparing public.wide']) {
      const stop = new AbortController();
      const progress = (line: string) => line === last && stop.abort();
      await expect(verify({ signal: stop.signal, progress })).rejects.toMatchObject({
        code: 'internal.cancelled',
      });
    }
  });
});
