/** After a switch-over or failover a tenant's next numbers lie beyond those its rows have, and beyond those its old primary handed out. */
import { beginFailover, beginSwitchover } from '@drover/catalog';
import type { TenantId } from '@drover/core';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { runPromotion } from './moves/promote.ts';
import { carrySequences } from './moves/sequences.ts';
import { runSwitchover } from './moves/switchover.ts';
import { EAST, makeWorld, type Name, WEST, type World } from './world.testing.ts';

const TABLES = `
  CREATE SEQUENCE public.shared; CREATE SEQUENCE public.down INCREMENT -1 MAXVALUE -1 MINVALUE -1000000;
  CREATE TABLE public.serials (tenant text, id bigserial, PRIMARY KEY (tenant, id));
  CREATE TABLE public.identities (tenant text, id int GENERATED ALWAYS AS IDENTITY, v int DEFAULT nextval('public.shared'), PRIMARY KEY (tenant, id));
  CREATE TABLE public.globals (tenant text, id bigserial, w numeric DEFAULT nextval('public.shared'), d int DEFAULT nextval('public.down'), PRIMARY KEY (id, tenant));
  CREATE TABLE public.texts (tenant text, id text DEFAULT 'no-' || nextval('public.shared'), PRIMARY KEY (tenant, id));
  CREATE TABLE public.held (tenant text, id int GENERATED ALWAYS AS IDENTITY (CACHE 50), PRIMARY KEY (tenant, id));
  CREATE TABLE public.parted (tenant text, id bigserial, PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
  CREATE TABLE public.parts PARTITION OF public.parted DEFAULT;`;

let world: World;
let tenant: TenantId;
let replicating: AbortController;
let replication: Promise<void>;

beforeAll(async () => {
  world = await makeWorld({ tagging: { column: 'tenant' } });
  for (const name of ['east', 'west'] as const) await world.root[name].query(TABLES);
});
afterAll(() => world.close());
beforeEach(async () => {
  tenant = await world.tenant();
  replicating = new AbortController();
  replication = world.replicate(replicating.signal);
});
afterEach(async () => {
  replicating.abort();
  await replication;
});

const at = (name: Name, sql: string): Promise<pg.QueryResult> =>
  world.root[name].query(sql.replaceAll('$t', `'${tenant}'`));
const number = async (name: Name, sql: string): Promise<number> =>
  Number(Object.values((await at(name, sql)).rows[0])[0]);
const next = (name: Name, sequence: string) => number(name, `SELECT nextval('public.${sequence}')`);

/** Rows as the source has made them, at the replica. */
async function replicated(): Promise<void> {
  await at('west', `INSERT INTO public.serials SELECT $t, i FROM generate_series(1, 300) i`);
  await at(
    'west',
    `INSERT INTO public.identities OVERRIDING SYSTEM VALUE SELECT $t, i, 70000 + i FROM generate_series(1, 40) i`,
  );
  await at('west', `INSERT INTO public.globals VALUES ($t, 5000, 81000.5, -90)`);
  await at(
    'west',
    `INSERT INTO public.held OVERRIDING SYSTEM VALUE SELECT $t, i FROM generate_series(1, 7) i`,
  );
  await at('west', `INSERT INTO public.parted SELECT $t, i FROM generate_series(1, 20) i`);
}

async function switchOver(): Promise<void> {
  await world.catalog.changePlacement(tenant, (p) =>
    beginSwitchover(p, { id: crypto.randomUUID(), to: WEST, reason: 'test' }),
  );
  await runSwitchover(world.leader().context, await world.placement(tenant));
}

async function expectBeyond(): Promise<void> {
  expect(await next('west', 'serials_id_seq')).toBeGreaterThan(300);
  expect(await next('west', 'identities_id_seq')).toBeGreaterThan(40);
  expect(await next('west', 'globals_id_seq')).toBeGreaterThan(5000);
  expect(await next('west', 'shared')).toBeGreaterThan(81_000);
  expect(await next('west', 'down')).toBeLessThan(-90);
  expect(await next('west', 'held_id_seq')).toBeGreaterThan(7);
  expect(await next('west', 'parted_id_seq')).toBeGreaterThan(20);
}

it('a switch-over goes by the rows and by what the old primary handed out, rows that are gone and text among it', async () => {
  await replicated();
  await at('east', `SELECT setval('public.shared', 200000); SELECT setval('public.serials_id_seq', 777)`);
  await switchOver();
  expect(await world.placement(tenant)).toMatchObject({ primary: 'west', state: 'active' });
  await expectBeyond();
  expect(await next('west', 'shared')).toBeGreaterThan(200_000);
  expect(await next('west', 'serials_id_seq')).toBeGreaterThan(777);
});

it('a failover goes by the rows, the old primary being silent', async () => {
  await replicated();
  await at('east', `SELECT drover.close_tenant($t, 1)`);
  await at('east', `SELECT setval('public.serials_id_seq', 900000)`);
  await world.catalog.changePlacement(tenant, (p) =>
    beginFailover(p, { id: crypto.randomUUID(), to: WEST, reason: 'test' }),
  );
  world.lines.east.blackhole();
  try {
    const leader = world.leader(undefined, { live: async () => new Set() });
    await runPromotion(leader.context, await world.placement(tenant), { leaseMs: 300 });
  } finally {
    world.lines.east.pass();
  }
  expect(await world.placement(tenant)).toMatchObject({ primary: 'west', state: 'active' });
  await expectBeyond();
  expect(await next('west', 'serials_id_seq')).toBeLessThan(900_000);
});

it('values that no sequence has given, at or beyond its bounds, do not use it up', async () => {
  await at(
    'west',
    `INSERT INTO public.identities OVERRIDING SYSTEM VALUE VALUES ($t, 2147483647, 1), ($t, 12345, 1)`,
  );
  await switchOver();
  expect(await next('west', 'identities_id_seq')).toBeGreaterThan(12_345);
});

it('a sequence that stays in use calls the switch-over off; the tenant goes on where it was', async () => {
  await at('west', `INSERT INTO public.held OVERRIDING SYSTEM VALUE VALUES ($t, 100000)`);
  const busy = await world.servers.west.connect(world.database);
  await busy.query(`BEGIN; SELECT nextval('public.held_id_seq')`);
  await world.catalog.changePlacement(tenant, (p) =>
    beginSwitchover(p, { id: crypto.randomUUID(), to: WEST, reason: 'test' }),
  );
  const leader = world.leader(undefined, { drainTimeoutMs: 300 });
  await runSwitchover(leader.context, await world.placement(tenant));
  await busy.end();
  expect(await world.placement(tenant)).toMatchObject({
    primary: 'east',
    state: 'active',
    lastMove: { outcome: 'aborted', error: expect.stringContaining('held_id_seq') as string },
  });
  expect(await world.writable(tenant)).toEqual(['east']);
});

it('without the right to do it, nothing is moved, and the reason says what is needed', async () => {
  await at('west', 'ALTER PROCEDURE drover.carry_sequences(oid[], bigint[], oid[]) RENAME TO gone');
  await at('west', `INSERT INTO public.serials VALUES ($t, 3000000)`);
  const held: string[] = [];
  try {
    await world.catalog.changePlacement(tenant, (p) =>
      beginSwitchover(p, { id: crypto.randomUUID(), to: WEST, reason: 'test' }),
    );
    const leader = world.leader((name) => void held.push(name));
    await runSwitchover(leader.context, await world.placement(tenant));
  } finally {
    await at('west', 'ALTER PROCEDURE drover.gone(oid[], bigint[], oid[]) RENAME TO carry_sequences');
  }
  expect(await world.placement(tenant)).toMatchObject({
    primary: 'east',
    lastMove: { outcome: 'aborted', error: expect.stringContaining('drover setup') as string },
  });
  expect(held).not.toContain('switchover.held');
});

it('fifty tables with ten thousand rows each cost a switch-over little: none of them is read', async () => {
  for (const name of ['east', 'west'] as const) {
    for (let n = 0; n < 50; n++) {
      await at(
        name,
        `CREATE TABLE public.wide${n} (tenant text, id bigserial, v int, PRIMARY KEY (tenant, id))`,
      );
      await at(
        name,
        `INSERT INTO public.wide${n} SELECT CASE WHEN i % 2 = 0 THEN $t ELSE 'o' END, i, i FROM generate_series(1, 10000) i`,
      );
    }
  }
  const counted = (what: string) =>
    number('west', `SELECT coalesce(sum(${what}), 0) FROM pg_stat_user_tables WHERE relname LIKE 'wide%'`);
  const [read, lookedUp] = [await counted('seq_tup_read'), await counted('idx_scan')];
  const { context } = world.leader();
  const carry = { tenant, database: world.database, from: EAST, to: WEST, timeoutMs: 60_000 };
  const times: number[] = [];
  for (const round of [1, 2, 3]) {
    if (round === 3)
      await at(
        'east',
        `SELECT setval(c.oid, 10000 + 50) FROM pg_class c WHERE relkind = 'S' AND relname LIKE 'wide%'`,
      );
    const start = performance.now();
    await carrySequences(context, carry);
    times.push(Math.round(performance.now() - start));
  }
  console.info(
    `50 sequences: ${times[0]} ms to carry, ${times[1]} ms with nothing to do, ${times[2]} ms to catch up`,
  );
  expect(await next('west', 'wide49_id_seq')).toBeGreaterThan(10_050);
  // PostgreSQL counts a moment later.
  await world.waitFor('counted', async () => (await counted('idx_scan')) >= lookedUp + 3 * 50);
  expect(await counted('seq_tup_read')).toBe(read);
});
