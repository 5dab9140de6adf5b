import { doctor } from '@drover/pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DdlWorld } from './ddl-world.ts';

const EACH = `unnest('{a,b,c}'::text[]) t`;

describe('a schema change that cannot be repeated', () => {
  let world: DdlWorld;
  beforeAll(async () => {
    world = await DdlWorld.start();
    await world.tenant('a', 'b', 'c', '_shared');
    await world.flow(
      'CREATE TABLE t (tenant text, id int, v text, at timestamp, PRIMARY KEY (tenant, id))',
      `INSERT INTO t SELECT t, i, 'v' || i, now() FROM ${EACH}, generate_series(1, 5) i`,
      'CREATE TABLE ref (k int PRIMARY KEY, v text)',
    );
  });
  afterAll(() => world.close());

  /** As `drover ledger retry` does. */
  const retry = async (): Promise<void> => {
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE feed = 'parked'`,
    );
    await world.target.query(
      `UPDATE drover.ledger SET status = 'retried', resolved_at = now(), resolved_by = 'test' WHERE status = 'open'`,
    );
  };

  const halts = async (sql: string | string[], tenants: string[], reason: RegExp): Promise<void> => {
    await world.write(...(Array.isArray(sql) ? sql : [sql]));
    await world.settled();
    const parked = await world.stopped();
    expect(parked.map((p) => p.tenant)).toEqual(tenants);
    for (const p of parked) expect(p.reason).toMatch(reason);
    const { rows } = await world.target.query(
      `SELECT tenant, kind, reason, detail FROM drover.ledger WHERE status = 'open' ORDER BY tenant`,
    );
    expect(rows.map((r) => r.tenant)).toEqual(tenants);
    expect(rows[0].reason).toBe(parked[0]?.reason);
    if (!Array.isArray(sql)) expect(rows[0].detail.command).toBe(sql);
  };

  const ABC = ['a', 'b', 'c'];

  it('stops its tenants at that place where the expression is not known, and goes on when it was made by hand', async () => {
    await world.write(`UPDATE t SET v = 'before'`);
    await halts(
      'ALTER TABLE t ALTER v TYPE text USING upper(v)',
      ABC,
      /^apply\.ddl: ALTER TABLE on public\.t: .*USING.*ALTER TABLE t ALTER v/s,
    );
    await world.write(`UPDATE t SET v = v || '!' WHERE id = 1`);
    expect((await world.target.query('SELECT DISTINCT v FROM public.t')).rows).toEqual([{ v: 'before' }]);
    const found = await doctor(world.target, { cluster: 'west', tagging: world.config.tagging });
    expect(found.find((f) => f.code === 'ddl_refused')?.object).toBe('public.t');
    await world.target.query('ALTER TABLE public.t ALTER v TYPE text USING upper(v)');
    await retry();
    await world.same();
    const block = `DO $$ BEGIN EXECUTE 'ALTER TABLE t ALTER v TYPE varchar(99) USING lower(v)'; END $$`;
    await halts(
      [block],
      ABC,
      /run the same statement here: ALTER TABLE t ALTER v TYPE varchar\(99\) USING lower\(v\)$/,
    );
    await world.target.query('ALTER TABLE public.t ALTER v TYPE varchar(99) USING lower(v)');
    await retry();
    await world.same();
  });

  it('where a conversion depends on the session', async () => {
    await halts('ALTER TABLE t ALTER at TYPE timestamptz', ABC, /depends on the session/);
    await world.target.query(`SET timezone = 'UTC'; ALTER TABLE public.t ALTER at TYPE timestamptz`);
    const { rows } = await world.root.query('SELECT tenant, id, at::text FROM t');
    for (const r of rows)
      await world.target.query('UPDATE public.t SET at = $3 WHERE tenant = $1 AND id = $2', [
        r.tenant,
        r.id,
        r.at,
      ]);
    await retry();
    await world.same();
  });

  it('where rows got values of their own: the change is made, the tenants are to be copied anew', async () => {
    await halts(
      'ALTER TABLE t ADD u uuid DEFAULT gen_random_uuid()',
      ABC,
      /^apply\.ddl_values: .*value each that only the source knows/,
    );
    await world.write(`INSERT INTO t (tenant, id) SELECT t, 50 FROM ${EACH}`);
    const { rows } = await world.root.query('SELECT tenant, id, u FROM t WHERE id < 50');
    for (const r of rows)
      await world.target.query('UPDATE public.t SET u = $3 WHERE tenant = $1 AND id = $2', [
        r.tenant,
        r.id,
        r.u,
      ]);
    await retry();
    await world.same();
  });

  it('not where there are no rows', async () => {
    await world.flow(
      `BEGIN; CREATE TABLE fresh (tenant text, PRIMARY KEY (tenant)); ALTER TABLE fresh ADD u uuid DEFAULT gen_random_uuid(); ALTER TABLE fresh ADD n bigserial;
        INSERT INTO fresh (tenant) SELECT t FROM ${EACH}; COMMIT`,
    );
  });

  it('a table that comes with rows', async () => {
    await halts(
      `CREATE TABLE copied AS SELECT tenant, id FROM t`,
      ABC,
      /^apply\.ddl_values: CREATE TABLE AS on public\.copied/,
    );
    await world.target.query('INSERT INTO public.copied SELECT tenant, id FROM public.t');
    await retry();
    await world.same();
  });

  it('of reference data stops only that', async () => {
    await world.write(`INSERT INTO ref VALUES (1, 'x')`);
    await halts('ALTER TABLE ref ADD u uuid DEFAULT gen_random_uuid()', ['_shared'], /public\.ref/);
    const { rows } = await world.root.query('SELECT u FROM ref');
    await world.target.query('UPDATE public.ref SET u = $1', [rows[0].u]);
    await retry();
    await world.same();
  });

  it('where the replica lacks what it needs', async () => {
    await world.write(`CREATE FUNCTION seven() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 7'`);
    await halts(
      'ALTER TABLE t ADD s int DEFAULT seven()',
      ABC,
      /public\.seven\(\) does not exist .*; make the change here by hand: ALTER TABLE t ADD s int/,
    );
    await world.write(`UPDATE t SET s = 8 WHERE id = 1`);
    await world.target.query(
      `SET ROLE app_owner; CREATE FUNCTION public.seven() RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT 7'; RESET ROLE`,
    );
    await world.target.query('ALTER TABLE public.t ADD s int DEFAULT public.seven()');
    await retry();
    await world.same();
  });

  it('where an index cannot be made', async () => {
    await world.write(`CREATE FUNCTION same(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'`);
    await halts(
      ['CREATE INDEX odd ON t (same(tenant))'],
      ABC,
      /make the change here by hand: CREATE INDEX odd/,
    );
    await world.target.query(
      `SET ROLE app_owner; CREATE FUNCTION public.same(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'; RESET ROLE`,
    );
    await world.target.query('CREATE INDEX odd ON public.t (public.same(tenant))');
    await retry();
    await world.same();
  });

  it('waits where rows of the replica stand in the way of a constraint, and is made when they are gone', async () => {
    await world.target.query(
      `INSERT INTO public.t (tenant, id, v) VALUES ('elsewhere', 1, 'dup'), ('elsewhere', 2, 'dup')`,
    );
    await world.write(`UPDATE t SET v = tenant || id`, 'CREATE UNIQUE INDEX t_v ON t (v)');
    await world.settled();
    expect(await world.stopped()).toEqual([]);
    const found = await doctor(world.target, { cluster: 'west', tagging: world.config.tagging });
    expect(found.find((f) => f.code === 'ddl_pending')?.message).toMatch(
      /duplicate|could not create unique index/,
    );
    await world.target.query(`DELETE FROM public.t WHERE tenant = 'elsewhere'`);
    await world.end('apply west');
    await world.run('apply west');
    for (let i = 0; ; i++) {
      const { rows } = await world.target.query(`SELECT 1 FROM drover.ddl_step WHERE status = 'pending'`);
      if (rows.length === 0) break;
      expect(i).toBeLessThan(2400);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    await world.same();
  });

  it('where nothing says any more whose rows they are', async () => {
    await world.write(
      'CREATE TABLE lost (tenant text, id int PRIMARY KEY)',
      `INSERT INTO lost VALUES ('a', 1)`,
    );
    await halts('ALTER TABLE lost DROP tenant CASCADE', ABC, /not captured/);
    const { rows } = await world.root.query(
      `SELECT 1 FROM pg_publication_tables WHERE pubname = 'drover' AND tablename = 'lost'`,
    );
    expect(rows).toEqual([]);
    await world.target.query('DROP TABLE public.lost');
    await world.write('DROP TABLE lost');
    await retry();
    await world.same();
  });
});
