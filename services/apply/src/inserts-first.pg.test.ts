/** Large batches that update, delete and insert: rows that are new go before the turn only where they are in nobody's way. */
import { afterAll, afterEach, beforeAll, expect, it, vi } from 'vitest';
import { Session } from './target/session.ts';
import { readTargetTable } from './target/target-table.ts';
import { makeWorld, type World } from './world.testing.ts';

const TABLES = ['item', 'named', 'wandering', 'priced', 'spoken'];
let world: World;
const sends = vi.spyOn(Session.prototype, 'send');
/** SQLSTATEs of what was sent in vain. */
const refused = (): (string | undefined)[] =>
  sends.mock.settledResults.flatMap((sent) =>
    sent.type === 'rejected' ? [(sent.value as { code?: string }).code] : [],
  );
let held: Promise<void> | undefined;
let commits = 0;

beforeAll(async () => {
  world = await makeWorld(
    `CREATE COLLATION any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
     CREATE TABLE item (tenant text, id int, v text, PRIMARY KEY (tenant, id));
     CREATE TABLE named (tenant text, id int, name text, PRIMARY KEY (tenant, id), UNIQUE (tenant, name));
     CREATE TABLE wandering (id int PRIMARY KEY, tenant text NOT NULL, v text);
     ALTER TABLE wandering REPLICA IDENTITY FULL;
     CREATE TABLE priced (tenant text, price numeric, v text, PRIMARY KEY (tenant, price));
     CREATE TABLE spoken (tenant text, word text COLLATE any_case, v text, PRIMARY KEY (tenant, word))`,
    { partitions: 1 },
  );
  for (const tenant of ['a', 'b']) await world.tenant(tenant);
  await world.start({
    failpoint: async (at) => {
      if (at !== 'committed') return;
      commits++;
      await held;
    },
  });
});
afterEach(async () => {
  expect((await world.target.query('SELECT FROM drover.ledger')).rows).toEqual([]);
  await world.same(TABLES);
});
afterAll(async () => {
  sends.mockRestore();
  await world.close();
});

const flow = async (...statements: string[]): Promise<void> => {
  if (statements.length > 0) await world.source.query(`BEGIN; ${statements.join('; ')}; COMMIT`);
  await world.capture();
  await world.settled();
};

/** In one batch of known tenants, which is not refused: `statements`, a transaction. */
const together = async (...statements: string[]): Promise<void> => {
  for (const v of ['x', 'y'])
    await flow(`INSERT INTO item VALUES ('a', -${commits}, '${v}'), ('b', -${commits}, '${v}')`);
  const hold = Promise.withResolvers<void>();
  held = hold.promise;
  const before = commits;
  await world.source.query(`INSERT INTO item VALUES ('a', -${before}, 'first')`);
  await world.capture();
  await world.waitFor('the one before stands', async () => commits > before);
  await world.source.query(`BEGIN; ${statements.join('; ')}; COMMIT`);
  await world.capture();
  sends.mockClear();
  hold.resolve();
  held = undefined;
  await flow();
  expect(refused()).toEqual([]);
};

const rows = (table: string, values: string, from: number, to: number): string =>
  `INSERT INTO ${table} SELECT ${values} FROM generate_series(${from}, ${to}) i`;

it('beside updates and deletes of others', async () => {
  await flow(rows('item', `'a', i, 'new'`, 1, 1000));
  await together(
    `UPDATE item SET v = 'changed' WHERE id BETWEEN 1 AND 400`,
    `DELETE FROM item WHERE id BETWEEN 401 AND 800`,
    rows('item', `'a', i, 'more'`, 2001, 3000),
    // The same key again, and a key that was made and is gone.
    rows('item', `'a', i, 'again'`, 401, 500),
    `DELETE FROM item WHERE id BETWEEN 2001 AND 2100`,
    `UPDATE item SET id = id + 10000 WHERE id BETWEEN 801 AND 900`,
  );
});

it('a value that another row gives up is free for a new one', async () => {
  await flow(rows('named', `'a', i, 'name ' || i`, 1, 600));
  await together(
    `DELETE FROM named WHERE id <= 300`,
    `UPDATE named SET name = 'other ' || id WHERE id > 300`,
    rows('named', `'a', 1000 + i, 'name ' || i`, 1, 600),
  );
});

it('a row that moves between tenants takes its key with it', async () => {
  await flow(rows('wandering', `i, 'a', 'new'`, 1, 600));
  await together(`UPDATE wandering SET tenant = 'b'`);
});

it('keys that are equal and look different', async () => {
  await flow(
    rows('priced', `'a', i + 0.5, 'new'`, 1, 600),
    rows('spoken', `'a', 'word ' || i, 'new'`, 1, 600),
  );
  await together(
    `DELETE FROM priced`,
    rows('priced', `'a', (i || '.50')::numeric, 'again'`, 1, 600),
    `DELETE FROM spoken`,
    rows('spoken', `'a', 'Word ' || i, 'again'`, 1, 600),
  );
});

it('is decided by what the catalogs say', async () => {
  const { target } = world;
  await target.query(`CREATE DOMAIN exactly AS uuid;
    CREATE TABLE keyed (a int, b text, c uuid, d exactly, e timestamptz, PRIMARY KEY (a, b, c, d, e));
    CREATE TABLE inexact (a numeric, b float8, c text COLLATE any_case, d bpchar, e int4range, f int[], PRIMARY KEY (a, b, c, d, e, f));
    CREATE TABLE unique_value (a int PRIMARY KEY, b int UNIQUE);
    CREATE TABLE unique_some (a int PRIMARY KEY, b int);
    CREATE UNIQUE INDEX ON unique_some (b) WHERE b > 0;
    CREATE TABLE excluding (a int PRIMARY KEY, b int4range, EXCLUDE USING gist (b WITH &&));
    CREATE TABLE parted (a int PRIMARY KEY, b int) PARTITION BY RANGE (a);
    CREATE TABLE plain_index (a int PRIMARY KEY, b int);
    CREATE INDEX ON plain_index (b)`);
  const flyer = {
    rows: async (sql: string, params: readonly (string | null)[] = []) =>
      (await target.query({ text: sql, values: [...params], rowMode: 'array' })).rows.map(
        (row: (string | number | boolean | null)[]) =>
          row.map((value) => (value === null ? null : value === true ? 't' : String(value))),
      ),
  };
  const read = async (name: string) => {
    const table = await readTargetTable(flyer, 'public', name);
    return {
      exact: table?.columns.map(({ exact }) => exact),
      other: table?.otherUnique,
      partitioned: table?.partitioned,
    };
  };
  const found = { keyed: await read('keyed'), inexact: await read('inexact') };
  expect(found.keyed).toEqual({ exact: [true, true, true, true, true], other: false, partitioned: false });
  expect(found.inexact.exact).toEqual([false, false, false, false, false, false]);
  for (const name of ['unique_value', 'unique_some', 'excluding'])
    expect(await read(name)).toMatchObject({ other: true });
  expect(await read('plain_index')).toMatchObject({ other: false });
  expect(await read('parted')).toMatchObject({ partitioned: true });
});
