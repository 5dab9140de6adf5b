import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeWorld, type World } from './world.testing.ts';

const SQL = `
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TABLE item (tenant text, id bigint, name text, amount numeric(12,3), at timestamptz DEFAULT now(), doc jsonb, tags int[],
  mood mood, body text, PRIMARY KEY (tenant, id));
ALTER TABLE item ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE TABLE slot (tenant text, id int, pos int, PRIMARY KEY (tenant, id), UNIQUE (tenant, pos) DEFERRABLE INITIALLY IMMEDIATE);
CREATE TABLE log (tenant text, line text, j json);
ALTER TABLE log REPLICA IDENTITY FULL;
CREATE TABLE serial (tenant text, id bigint GENERATED ALWAYS AS IDENTITY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED,
  PRIMARY KEY (tenant, id));
CREATE TABLE wide (tenant text, id int PRIMARY KEY, body text, n int);
ALTER TABLE wide REPLICA IDENTITY FULL;
ALTER TABLE wide ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (x int, y text);
CREATE TABLE odd (tenant text, id int, acl aclitem, p positive, pair pair, pairs pair[], moods mood[], r int4range, i interval,
  c char(5), b bit(3), point point, PRIMARY KEY (tenant, id));
CREATE TABLE part (tenant text, id int, at date, v int, PRIMARY KEY (tenant, id, at)) PARTITION BY RANGE (at);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
CREATE TABLE part_2 (v int, at date NOT NULL, id int NOT NULL, tenant text NOT NULL);
ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
CREATE TABLE parent (tenant text, id int, PRIMARY KEY (tenant, id));
CREATE TABLE child (tenant text, id int, pid int, PRIMARY KEY (tenant, id), FOREIGN KEY (tenant, pid) REFERENCES parent ON DELETE CASCADE);
CREATE TABLE toomany (tenant text, name text, x xml);
ALTER TABLE toomany REPLICA IDENTITY FULL;
CREATE TABLE twin (tenant text, n numeric, i interval);
ALTER TABLE twin REPLICA IDENTITY FULL;
`;
const TABLES = ['item', 'slot', 'log', 'serial', 'wide', 'odd', 'part', 'parent', 'child', 'toomany', 'twin'];
const big = (ch: string): string => `repeat('${ch}', 20000)`;

describe('a replica fed by the stream', () => {
  let world: World;
  beforeAll(async () => {
    world = await makeWorld(SQL);
    for (const tenant of ['a', 'b', 'c', 'd']) await world.tenant(tenant);
    await world.start();
  });
  afterAll(() => world.close());

  const flow = async (...statements: string[]): Promise<void> => {
    for (const sql of statements) await world.source.query(sql);
    await world.capture();
    await world.settled();
    await world.same(TABLES);
  };

  it('takes inserts, few and many, of several tenants', async () => {
    await flow(
      `INSERT INTO item SELECT 'a', i, 'n' || i, i / 7.0, now(), jsonb_build_object('i', i), ARRAY[i, NULL, 3], 'happy', NULL
       FROM generate_series(1, 2000) i`,
      `INSERT INTO item VALUES ('b', 1, NULL, 'NaN', 'infinity', NULL, NULL, NULL, 'x')`,
      `INSERT INTO log VALUES ('a', 'same', '{"x":1}'), ('a', 'same', '{"x":1}'), ('b', NULL, NULL)`,
    );
    expect(await world.target.query('SELECT 1 FROM item').then((r) => r.rowCount)).toBe(2001);
  });

  it('takes updates and deletes, set-based and single', async () => {
    await flow(
      `UPDATE item SET name = name || '!', mood = 'sad' WHERE id % 2 = 0`,
      `DELETE FROM item WHERE id % 3 = 0`,
      `UPDATE item SET amount = -1.5 WHERE id = 7`,
      `DELETE FROM item WHERE id = 8`,
    );
  });

  it('keeps unchanged TOAST values, also across a key change', async () => {
    await flow(
      `INSERT INTO item (tenant, id, body) SELECT 'c', i, ${big('x')} || i FROM generate_series(1, 60) i`,
    );
    await flow(
      `UPDATE item SET name = 'touched' WHERE tenant = 'c'`,
      `UPDATE item SET body = 'small' WHERE tenant = 'c' AND id = 2`,
    );
    await flow(`UPDATE item SET id = id + 1000 WHERE tenant = 'c' AND id < 40`);
    await flow(`BEGIN; INSERT INTO item (tenant, id, body) VALUES ('c', 5000, ${big('q')}); UPDATE item SET id = 5001 WHERE id = 5000;
      UPDATE item SET name = 'moved' WHERE id = 5001; COMMIT`);
  });

  it('swaps unique values in one transaction and in one statement', async () => {
    await flow(`INSERT INTO slot SELECT 'a', i, i FROM generate_series(1, 50) i`);
    await flow(
      `UPDATE slot SET pos = 51 - pos`,
      `BEGIN; UPDATE slot SET pos = 999 WHERE id = 1; UPDATE slot SET pos = 50 WHERE id = 2;
      UPDATE slot SET pos = 49 WHERE id = 1; COMMIT`,
    );
  });

  it('changes exactly one of several equal rows of a table without key', async () => {
    await flow(`DELETE FROM log WHERE ctid = (SELECT min(ctid) FROM log WHERE line = 'same')`);
    await flow(
      `UPDATE log SET line = 'other' WHERE line = 'same'`,
      `UPDATE log SET j = '{"y":2}' WHERE line IS NULL`,
    );
  });

  it('writes identity columns as given and leaves generated ones to the target', async () => {
    await flow(`INSERT INTO serial (tenant, v) SELECT 'a', i FROM generate_series(1, 40) i`);
    await flow(`UPDATE serial SET v = v + 1 WHERE id < 30`, `DELETE FROM serial WHERE id = 3`);
  });

  it('moves rows between tenants, whichever of their blocks comes first', async () => {
    await flow(`INSERT INTO wide SELECT 'a', i, ${big('w')}, i FROM generate_series(1, 40) i`);
    await flow(
      `UPDATE wide SET tenant = 'b' WHERE id <= 20`,
      `UPDATE wide SET tenant = 'd', n = 0 WHERE id = 21`,
    );
    await flow(`UPDATE wide SET tenant = 'a' WHERE id <= 20`, `UPDATE wide SET n = n + 1`);
  });

  it('deletes and inserts the same key again', async () => {
    await flow(`BEGIN; DELETE FROM item WHERE tenant = 'b'; INSERT INTO item (tenant, id, name) VALUES ('b', 1, 'again');
      UPDATE item SET name = 'twice' WHERE tenant = 'b'; COMMIT`);
  });

  it('carries types of every kind: without binary form, domains, composites, arrays of own types', async () => {
    const some = (
      from: number,
      to: number,
    ): string => `INSERT INTO odd SELECT 'a', i, 'postgres=r/postgres', i, ROW(i, 'y')::pair, ARRAY[ROW(i, NULL)::pair],
      ARRAY['ok', NULL]::mood[], int4range(i, i + 5), make_interval(days => i), 'x', B'101', point(i, 1) FROM generate_series(${from}, ${to}) i`;
    await flow(some(1, 3), some(10, 60));
    await flow(
      `UPDATE odd SET acl = 'postgres=rw/postgres', p = p + 1`,
      `UPDATE odd SET acl = NULL, pairs = NULL WHERE id = 1`,
    );
    await flow(`UPDATE odd SET acl = NULL WHERE id = 3`, `INSERT INTO odd (tenant, id) VALUES ('a', 99)`);
    await flow('DELETE FROM odd WHERE id > 30', 'DELETE FROM odd WHERE id = 2');
  });

  it('moves rows between partitions whose columns stand in another order', async () => {
    await flow(`INSERT INTO part SELECT 'a', i, date '2026-01-01' + i * 5, i FROM generate_series(1, 70) i`);
    await flow(
      `UPDATE part SET at = at + 100 WHERE at < '2026-06-01'`,
      `UPDATE part SET v = -v`,
      'DELETE FROM part WHERE id % 4 = 0',
    );
  });

  it('does not fire triggers or cascades of the target, and meets no foreign key on the way', async () => {
    await world.target.query(`CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''fired''; END';
      CREATE TRIGGER boom BEFORE INSERT OR UPDATE OR DELETE ON child FOR EACH ROW EXECUTE FUNCTION boom()`);
    await flow(
      `BEGIN; INSERT INTO parent SELECT 'a', i FROM generate_series(1, 30) i; INSERT INTO child SELECT 'a', i, i FROM generate_series(1, 30) i; COMMIT`,
    );
    await flow(`DELETE FROM parent WHERE id < 20`);
  });

  it('finds rows of tables without key though a type has no equality', async () => {
    await flow(`INSERT INTO toomany VALUES ('a', 'x', '<a/>'), ('a', 'x', '<a/>'), ('a', NULL, NULL)`);
    await flow(
      `UPDATE toomany SET x = '<b/>' WHERE ctid = (SELECT min(ctid) FROM toomany)`,
      `DELETE FROM toomany WHERE name IS NULL`,
    );
  });

  it('finds the row that was meant among rows that are equal and not the same', async () => {
    await flow(
      `INSERT INTO twin SELECT 'a', n, i FROM unnest('{1.0,1.00}'::numeric[]) n, unnest('{1 mon,30 days}'::interval[]) i, generate_series(1, 3)`,
    );
    for (const what of [`n::text = '1.00'`, `i::text = '30 days'`]) {
      const one = `ctid = (SELECT max(ctid) FROM twin WHERE ${what})`;
      await flow(`DELETE FROM twin WHERE ${one}`, `UPDATE twin SET tenant = 'b' WHERE ${one}`);
    }
  });

  it('truncates at its place in the order', async () => {
    await world.source.query(`INSERT INTO log VALUES ('a', 'before')`);
    await world.source.query('TRUNCATE log, serial RESTART IDENTITY');
    await world.source.query(`INSERT INTO log VALUES ('a', 'after')`);
    await world.capture({ truncateTenant: 'a' });
    await world.settled();
    await world.same(TABLES);
  });

  it('sees a new column once both sides have it', async () => {
    await world.target.query('ALTER TABLE item ADD added int DEFAULT 7');
    await world.source.query('ALTER TABLE item ADD added int DEFAULT 7');
    await flow(
      `UPDATE item SET added = id WHERE id % 2 = 1`,
      `INSERT INTO item (tenant, id, added) SELECT 'd', i, i FROM generate_series(1, 40) i`,
    );
  });

  it('is not captured by the target itself', async () => {
    const { rows } = await world.target.query(
      `SELECT count(*)::int AS n FROM pg_logical_slot_peek_binary_changes((SELECT slot_name FROM pg_replication_slots
        WHERE database = current_database()), NULL, NULL, 'proto_version', '1', 'publication_names', 'drover', 'origin', 'none')
       WHERE get_byte(data, 0) IN (73, 85, 68)`,
    );
    expect(rows[0].n).toBe(0);
  });
});
