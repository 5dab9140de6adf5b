/** What a snapshot waits for: commits that are on their way, and nothing else. */
import { clusterId, type TenantId, until } from '@drover/core';
import { PgPool } from '@drover/pg';
import { ownPostgres, preparedDatabase, type TestPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openSnapshot } from './snapshot.ts';

const OPTIONS = {
  tenant: 'a' as TenantId,
  tables: [{ schema: 'public', name: 'note' }],
  signal: new AbortController().signal,
};

let server: TestPostgres;
let client: pg.Client;
let committing: pg.Client;
let pool: PgPool;

beforeAll(async () => {
  // Commits of a session wait for a standby that there is not, if it asks for that.
  const settings = { synchronous_standby_names: 'ghost', synchronous_commit: 'local' };
  server = await ownPostgres({ settings: { ...settings, max_prepared_transactions: 5 } });
  const sql = 'CREATE TABLE note (tenant text, id int, PRIMARY KEY (tenant, id))';
  const database = await preparedDatabase(server, { cluster: clusterId('east'), sql });
  [client, committing] = [await server.connect(database), await server.connect(database)];
  await committing.query('SET synchronous_commit = on');
  pool = new PgPool(server.connection(database));
});
afterAll(async () => {
  await pool?.close();
  await client?.end();
  await committing?.end();
  await server?.stop();
});

async function prepare(gid: string, id: number): Promise<void> {
  await client.query(
    `BEGIN; INSERT INTO note VALUES ('a', ${id}); PREPARE TRANSACTION '${gid.replace("'", "''")}'`,
  );
}

/** The commit is done with its standby. */
async function letGo(): Promise<void> {
  await client.query(`SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'`);
}

/** The committing session waits for its standby: the commit is in the WAL, and nobody can see it. */
async function untilStalled(): Promise<void> {
  const stalled = async () =>
    (await client.query(`SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'`)).rowCount === 1;
  await until(async () => ((await stalled()) ? true : undefined), {
    everyMs: 10,
    timeoutMs: 10_000,
    onTimeout: () => new Error('nobody waits for the standby'),
  });
}

async function idsIn(session: Awaited<ReturnType<typeof openSnapshot>>): Promise<number[]> {
  const { rows } = await session.client.query<{ id: number }>('SELECT id FROM public.note ORDER BY id');
  await session.close();
  return rows.map(({ id }) => id);
}

it.each([
  ['a commit', 1, async () => `INSERT INTO note VALUES ('a', 1)`],
  [
    'a COMMIT PREPARED',
    2,
    async () => {
      await prepare("of o'hara", 2);
      return `COMMIT PREPARED 'of o''hara'`;
    },
  ],
])('%s that waits for a standby is waited for, and is in it', async (_, id, statement) => {
  const sql = await statement();
  const commit = committing.query(sql);
  await untilStalled();
  let opened = false;
  const told: number[] = [];
  const onWaiting = (transactions: number) => told.push(transactions);
  const opening = openSnapshot(pool, { ...OPTIONS, onWaiting }).then((session) => {
    opened = true;
    return session;
  });
  const looks = new Set<string>();
  const looked = async (): Promise<true | undefined> => {
    const { rows } = await client.query<{ at: string }>(
      `SELECT query_start::text AS at FROM pg_stat_activity WHERE query LIKE 'SELECT x AS xid%'`,
    );
    for (const { at } of rows) looks.add(at);
    return looks.size >= 4 ? true : undefined;
  };
  await until(looked, {
    everyMs: 5,
    timeoutMs: 20_000,
    onTimeout: () => new Error('it does not look again'),
  });
  expect(opened).toBe(false);
  expect(told).toEqual([1]);
  await letGo();
  await commit;
  expect(await idsIn(await opening)).toContain(id);
});

it('a prepared transaction that nobody commits is not waited for, also while others are committed', async () => {
  await prepare('idle', 10);
  await prepare('busy', 11);
  const commit = committing.query(`COMMIT PREPARED 'busy'`);
  await untilStalled();
  const opening = openSnapshot(pool, OPTIONS);
  await letGo();
  await commit;
  const ids = await idsIn(await opening);
  expect([ids.includes(10), ids.includes(11)]).toEqual([false, true]);
  await client.query(`ROLLBACK PREPARED 'idle'`);
});

it('a table is not rewritten between the snapshot and the first look at it', async () => {
  await client.query(`INSERT INTO note VALUES ('a', 20)`);
  const session = await openSnapshot(pool, OPTIONS);
  // A snapshot from before would see no rows in it.
  await client.query(`SET lock_timeout = '100ms'`);
  await expect(client.query('ALTER TABLE note ALTER id TYPE bigint')).rejects.toMatchObject({
    code: '55P03',
  });
  expect(await idsIn(session)).toContain(20);
  await client.query('SET lock_timeout = 0');
  await client.query('ALTER TABLE note ALTER id TYPE bigint');
});
