import { streamState } from '@drover/bus';
import { clusterId, partitionOf, tenantId, until } from '@drover/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DdlWorld } from './ddl-world.ts';

const EACH = `unnest('{a,b,c,d,e}'::text[]) t`;

describe('who is behind a schema change', () => {
  let world: DdlWorld;
  beforeAll(async () => {
    world = await DdlWorld.start();
    await world.tenant('a', 'b', 'c', 'd', 'e');
    await world.flow(
      'CREATE TABLE t (tenant text, id int, x int, y text, w varchar(4), PRIMARY KEY (tenant, id))',
      `INSERT INTO t SELECT t, i, i, 'y', 'w' FROM ${EACH}, generate_series(1, 40) i`,
    );
  });
  afterAll(() => world.close());

  const feed = (tenant: string, to: string): Promise<unknown> =>
    world.target.query(`UPDATE drover.tenant SET feed = $2, reason = $3 WHERE tenant = $1`, [
      tenant,
      to,
      to === 'catchup' ? null : 'test',
    ]);

  /** Changes after which rows from before no longer have the table's shape. */
  const changes = (n: number): string[] => [
    `UPDATE t SET x = x + 1 WHERE id % 2 = 0`,
    `INSERT INTO t (tenant, id, x) SELECT t, ${n} + i, i FROM ${EACH}, generate_series(1, 30) i`,
    `ALTER TABLE t ADD c${n} int DEFAULT ${n}`,
    `INSERT INTO t (tenant, id, x, c${n}) SELECT t, ${n} + 50, 1, NULL FROM ${EACH}`,
    `BEGIN; UPDATE t SET x = 100, y = 'hundred' WHERE id = 1; ALTER TABLE t RENAME x TO z; ALTER TABLE t RENAME y TO x; ALTER TABLE t RENAME z TO y;
       UPDATE t SET y = 200, x = 'two' WHERE id = 2; COMMIT`,
    `DELETE FROM t WHERE id = 3`,
    `ALTER TABLE t ALTER c${n} SET DEFAULT 77`,
    `ALTER TABLE t RENAME y TO x_${n}`,
    `ALTER TABLE t ALTER c${n} TYPE bigint`,
    `UPDATE t SET c${n} = 5000000000 WHERE id = 4`,
    `ALTER TABLE t RENAME TO t_${n}; INSERT INTO t_${n} (tenant, id) SELECT t, ${n} + 60 FROM ${EACH}`,
    `ALTER TABLE t_${n} RENAME TO t; ALTER TABLE t RENAME x TO y`,
    `ALTER TABLE t RENAME x_${n} TO x`,
    `ALTER TABLE t ADD late${n} text`,
    `UPDATE t SET late${n} = 'late' WHERE id = 5`,
    `BEGIN; UPDATE t SET w = 'old'; ALTER TABLE t DROP w, ADD w varchar(4) DEFAULT 'new'; COMMIT`,
    `UPDATE t SET w = 'set' WHERE id = 6`,
    `ALTER TABLE t ALTER x TYPE numeric(12, 2)`,
    `UPDATE t SET x = 1.5 WHERE id = 7`,
    `BEGIN; UPDATE t SET x = 0; ALTER TABLE t ALTER x TYPE int; COMMIT`,
    `BEGIN; UPDATE t SET late${n} = 'full' WHERE late${n} IS NULL; ALTER TABLE t ALTER late${n} SET NOT NULL; COMMIT`,
    `INSERT INTO t (tenant, id, x, late${n}) SELECT t, ${n} + 70 + i, i, 'in' FROM ${EACH}, generate_series(1, 30) i`,
    `ALTER TABLE t ALTER late${n} DROP NOT NULL`,
  ];

  it('and held for a while: what restricts waits, and its rows are read as they were written', async () => {
    await feed('b', 'held');
    await world.write(...changes(1000));
    const pending = `SELECT 1 FROM drover.ddl_step WHERE status = 'pending' AND contract <> '[]'`;
    while ((await world.target.query(pending)).rows.length === 0)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await feed('b', 'catchup');
    await world.same();
  });

  it('and parked, for as long as it takes: what restricts does not wait, but its rows fit', async () => {
    await feed('c', 'parked');
    await world.write(...changes(2000).filter((sql) => !sql.includes('NOT NULL')));
    await world.settled();
    expect((await world.target.query(`SELECT 1 FROM drover.ddl_step WHERE status = 'pending'`)).rows).toEqual(
      [],
    );
    await feed('c', 'catchup');
    await world.same();
  });

  it('and has rows for a table that is gone, or is another by now', async () => {
    await world.flow(
      'CREATE TABLE gone (tenant text PRIMARY KEY, v int)',
      'CREATE TABLE again (tenant text PRIMARY KEY, v int)',
    );
    await feed('d', 'parked');
    await world.write(
      `INSERT INTO gone SELECT t, 1 FROM ${EACH}`,
      `INSERT INTO again SELECT t, 1 FROM ${EACH}`,
      'DROP TABLE gone, again',
      'CREATE TABLE again (tenant text PRIMARY KEY, v text)',
      `INSERT INTO again SELECT t, 'text' FROM ${EACH}`,
    );
    await world.settled();
    await feed('d', 'catchup');
    await world.same();
  });

  it('and stops, and starts, in the middle of them', async () => {
    for (let i = 0; i < 4; i++) {
      const running = world.write(...changes(3000 + i * 200));
      await new Promise((resolve) => setTimeout(resolve, 60 + i * 90));
      await world.end('apply west');
      await running;
      await world.run('apply west');
    }
    await world.same();
  });

  it('in a transaction of several parts, whose change stands in its middle', async () => {
    await world.flow('CREATE TABLE big (tenant text, id int, body text, PRIMARY KEY (tenant, id))');
    await world.flow(
      `BEGIN; INSERT INTO big SELECT t, i, repeat(md5(i::text), 40) FROM ${EACH}, generate_series(1, 4000) i;
         ALTER TABLE big ADD c int DEFAULT 3, DROP body; ALTER TABLE big ADD body int;
         INSERT INTO big SELECT t, i, i, i FROM ${EACH}, generate_series(4001, 8000) i;
         UPDATE big SET c = 4 WHERE id % 100 = 0; ALTER TABLE big ALTER c SET NOT NULL; COMMIT`,
      `UPDATE big SET body = 1 WHERE id = 1`,
    );
  });
});

describe('a transaction in progress, of a partition that is behind', () => {
  let world: DdlWorld;
  beforeAll(async () => {
    world = await DdlWorld.start({ cdc: { chunk_bytes: '64KiB', stream_above_bytes: '64KiB' } });
  });
  afterAll(() => world.close());

  it('is written as it was at the source, though another partition has made a later change', async () => {
    const names = Array.from({ length: 60 }, (_, i) => `t${i}`);
    const [other, ...many] = names.filter((name) => partitionOf(tenantId(name), 3) === 1);
    await world.tenant(...names);
    await world.flow(
      ...['first', 'slow', 't'].map(
        (name) => `CREATE TABLE ${name} (tenant text, id int, body text, PRIMARY KEY (tenant, id))`,
      ),
    );
    // A batch of its partition lasts until another one has made the change.
    await world.target.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        WHILE NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.t'::regclass AND attname = 'made_at') LOOP PERFORM pg_sleep(0.02); END LOOP;
        RETURN NULL; END $$;
      CREATE TRIGGER slow AFTER INSERT ON slow FOR EACH STATEMENT EXECUTE FUNCTION slow(); ALTER TABLE slow ENABLE ALWAYS TRIGGER slow`);
    await world.end('apply west');
    const rows = (table: string) =>
      `INSERT INTO ${table} SELECT t, i, (SELECT string_agg(md5(random()::text), '') FROM generate_series(1, 30))
         FROM unnest('{${many.join()}}'::text[]) t, generate_series(1, 10) i`;
    // A heartbeat stands before it.
    const lastSeq = async () => (await streamState(world.bus, clusterId('east'), 1))?.lastSeq ?? 0;
    const seq = await lastSeq();
    await until(async () => (await lastSeq()) > seq || undefined, {
      everyMs: 20,
      timeoutMs: 10_000,
      onTimeout: () => new Error('no heartbeat'),
    });
    await world.write('BEGIN', rows('first'));
    await world.root.query(`INSERT INTO slow VALUES ('${other}', 1, '')`);
    await world.write(rows('t'), 'COMMIT', 'ALTER TABLE t ADD made_at timestamptz DEFAULT now()');
    await world.run('apply west');
    await world.same();
  });
});
