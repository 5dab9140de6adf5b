/**
 * What the tenant context and the fence cost a statement: the same prepared statements by primary key, once as drover_apply (past row
 * security) and once as drover_tenant. Run: `node packages/pg/src/schema/fence-cost.bench.ts`. Prints microseconds a statement, the least of
 * interleaved rounds, one session, autocommit, synchronous_commit off (the fence, not the disk, is the object).
 */
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { columnTagging, fixture } from '../setup/fixture.testing.ts';
import { openTenant } from './moves.ts';

const ROUNDS = 25;
const LOOP = 500;

const f = await fixture(await testPostgres({ major: 18, settings: { synchronous_commit: 'off' } }), {
  tagging: columnTagging('tenant'),
  sql: `CREATE TABLE public.orders (tenant text NOT NULL, id int, n int NOT NULL DEFAULT 0, PRIMARY KEY (tenant, id)) WITH (fillfactor = 50);
    INSERT INTO public.orders SELECT 't' || g % 100, g, 0 FROM generate_series(1, 20000) g; ANALYZE public.orders`,
});
await openTenant(f.admin, { tenant: 't1', epoch: 1 });
const tenant = (await f.tenant('t1', 1)).client;
const plain = await f.connect('drover_apply');

const SELECT = `SELECT n FROM public.orders WHERE tenant = 't1' AND id = $1`;
const UPDATE = `UPDATE public.orders SET n = n + 1 WHERE tenant = 't1' AND id = $1`;
const INSERT = `INSERT INTO public.orders (tenant, id) VALUES ('t1', -$1::int)`;
const DELETE = `DELETE FROM public.orders WHERE tenant = 't1' AND id = -$1::int`;
const CASES: readonly (readonly [string, readonly string[]])[] = [
  ['select by key', [SELECT]],
  ['update by key', [UPDATE]],
  ['insert, then delete by key', [INSERT, DELETE]],
];

/** Microseconds each time the statements are run. */
async function round(client: pg.Client, statements: readonly string[]): Promise<number> {
  const start = performance.now();
  for (let i = 0; i < LOOP; i++) {
    for (const text of statements) {
      await client.query({ name: text.slice(0, 6), text, values: [1 + (i % 200) * 100] });
    }
  }
  return ((performance.now() - start) * 1000) / LOOP;
}

const least = (xs: number[]) => Math.min(...xs);
for (const [label, statements] of CASES) {
  const without: number[] = [];
  const fenced: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    without.push(await round(plain, statements));
    fenced.push(await round(tenant, statements));
  }
  const [a, b] = [least(without), least(fenced)];
  console.log(`${label}: ${a.toFixed(0)} us without, ${b.toFixed(0)} us with, +${(b - a).toFixed(0)} us`);
}
for (const fn of ['tenant', 'writer']) {
  const { rows } = await tenant.query(
    `EXPLAIN (ANALYZE, TIMING OFF, SUMMARY ON, FORMAT JSON) SELECT drover.${fn}() FROM generate_series(1, 20000)`,
  );
  console.log(
    `drover.${fn}(): ${((rows[0]['QUERY PLAN'][0]['Execution Time'] * 1000) / 20000).toFixed(1)} us a call, inside one transaction`,
  );
}
await f.close();
process.exit(0);
