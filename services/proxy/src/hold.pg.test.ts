import { ownPostgres, type TestPostgres, testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { bind, execute, parse, query, sync } from './raw.testing.ts';
import { QUIESCE_SUBJECT } from './routing/quiesce.ts';
import { isAt, moved, moving, type World, world } from './world.testing.ts';

let w: World;
let east: TestPostgres;
let west: TestPostgres;
const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

beforeAll(async () => {
  [east, west] = await Promise.all([ownPostgres(), testPostgres()]);
  w = await world({ servers: { east, west }, proxy: 'pool_size = 4\nhold = "15s"\nlease = "6s"' });
});
afterEach(() => w.endClients());
afterAll(() => w.close());

let serial = 0;
async function tenant(): Promise<string> {
  const name = `t${++serial}`;
  await w.addTenant(name);
  await expect
    .poll(() =>
      w.client(name).then(
        () => true,
        () => false,
      ),
    )
    .toBe(true);
  return name;
}
const insert = (client: pg.Client, name: string, id: number) =>
  client.query('INSERT INTO items VALUES ($1, $2, $3)', [name, id, 'x']);
const quiesce = (name: string, revision: number, timeout: number) =>
  w.bus.nc.request(QUIESCE_SUBJECT, JSON.stringify({ tenant: name, revision }), { timeout }).then(
    (m) => m.json<{ proxy: string; quiet: boolean }>(),
    () => null,
  );

test('while a tenant moves its transactions wait and then go to the new primary; others are not disturbed', async () => {
  const [name, other] = [await tenant(), await tenant()];
  const client = await w.client(name);
  await insert(client, name, 1);
  const { revision } = await w.place(name, moving('west'));
  expect(await quiesce(name, revision, 30_000)).toMatchObject({ quiet: true }); // it is known
  let done = false;
  const held = insert(client, name, 2).then(() => {
    done = true;
  });
  const fresh = w.client(name).then((late) => late.query('SELECT count(*)::int AS n FROM items'));
  const begun = performance.now();
  await insert(await w.client(other), other, 1);
  expect(performance.now() - begun).toBeLessThan(13_000); // not held
  await sleep(200);
  expect(done).toBe(false);
  await w.moveInDatabase(name, 'east', 'west', 2);
  await w.place(name, moved('west'));
  await held;
  expect((await fresh).rows[0].n).toBeLessThanOrEqual(1);
  const root = await w.root('west');
  expect((await root.query('SELECT id FROM items WHERE tenant = $1', [name])).rows).toEqual([{ id: 2 }]);
  await root.end();
  await expect.poll(() => w.metrics()).toMatch(/drover_proxy_holds_total [1-9]/);
});

test('a hold ends at its deadline with 57P03, and the client goes on', async () => {
  const name = await tenant();
  const [client, other] = [await w.client(name), await w.client(name)];
  const { revision } = await w.place(name, moving('west'));
  expect(await quiesce(name, revision, 30_000)).toMatchObject({ quiet: true });
  const begun = performance.now();
  await Promise.all([
    expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '57P03', severity: 'ERROR' }),
    expect(other.query('SELECT $1::int', [1])).rejects.toMatchObject({ code: '57P03' }),
  ]);
  expect(performance.now() - begun).toBeGreaterThan(14_500);
  await w.place(name, (p) => ({ ...moved('east')(p), epoch: p.epoch }));
  for (const one of [client, other]) expect((await one.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
});

test('quiesce is answered once the move is known and the last transaction has ended, not before', async () => {
  const name = await tenant();
  const client = await w.client(name);
  await client.query('BEGIN');
  await insert(client, name, 1);
  const { revision } = await w.place(name, moving('west'));
  expect(await quiesce(name, revision, 300)).toBeNull();
  const answer = quiesce(name, revision, 30_000);
  await sleep(50);
  await insert(client, name, 2);
  await client.query('COMMIT');
  expect(await answer).toMatchObject({ quiet: true, proxy: expect.stringContaining(w.id) });
  expect(await quiesce(name, revision + 1_000_000, 200)).toBeNull();
  expect(await quiesce('nobody-here', revision, 30_000)).toMatchObject({ quiet: true });
});

test('a transaction refused for a stale epoch before it did anything begins again at the new primary', async () => {
  const name = await tenant();
  const client = await w.client(name);
  const begun = await w.client(name);
  const raw = await w.raw(name);
  const late = await w.client(name);
  await insert(client, name, 1);
  await begun.query('BEGIN');
  await late.query('BEGIN');
  expect((await late.query('SELECT count(*)::int AS n FROM items')).rows).toEqual([{ n: 1 }]);
  raw.send(parse('mine', `INSERT INTO items VALUES ('${name}', 20, '') RETURNING id`), sync);
  expect(await raw.untilReady()).toEqual(['1', 'ZI']);
  // The database knows of the move before this proxy does.
  await w.moveInDatabase(name, 'east', 'west', 2);
  const all = [
    insert(client, name, 2),
    insert(begun, name, 3),
    client.query({ name: 'ins', text: 'INSERT INTO items VALUES ($1, 4, $1)', values: [name] }),
  ];
  raw.send(bind('', 'mine'), execute(), sync, query(`INSERT INTO items VALUES ('${name}', 21, '')`));
  // It has shown the client rows of the old primary: it cannot begin again.
  await expect(insert(late, name, 5)).rejects.toMatchObject({ code: '40001' });
  await late.query('ROLLBACK');
  await sleep(300);
  await w.place(name, moved('west'));
  await Promise.all(all);
  await begun.query('COMMIT');
  expect(await raw.untilReady(2)).toEqual(['2', 'D', 'C', 'ZI', 'C', 'ZI']);
  raw.socket.destroy();
  const root = await w.root('west');
  expect(
    (await root.query('SELECT id FROM items WHERE tenant = $1 ORDER BY id', [name])).rows.map((r) => r.id),
  ).toEqual([2, 3, 4, 20, 21]);
  await root.end();
});

test('fifty switch-overs back and forth under load: no client sees an error, no write is lost or doubled', async () => {
  const name = await tenant();
  const stop = new AbortController();
  const written = new Set<number>();
  let next = 0;
  const worker = async (style: number) => {
    const client = await w.client(name);
    while (!stop.signal.aborted) {
      const id = ++next;
      if (style === 0) await client.query(`INSERT INTO items VALUES ('${name}', ${id}, 'simple')`);
      else if (style === 1)
        await client.query({
          name: 'i',
          text: 'INSERT INTO items VALUES ($1, $2, $3)',
          values: [name, id, 'named'],
        });
      else {
        await client.query('BEGIN');
        await client.query('INSERT INTO items VALUES ($1, $2, $3)', [name, id, 'block']);
        await client.query('COMMIT');
      }
      written.add(id);
    }
  };
  const load = Promise.all([worker(0), worker(1), worker(2), worker(0), worker(1)]);
  const [from, to] = [await w.root('east'), await w.root('west')];
  let [here, there] = [from, to];
  const names = ['west', 'east'];
  for (let n = 0; n < 50 || (n < 1000 && written.size <= 100); n++) {
    const { revision, placement } = await w.place(name, moving(names[n % 2] ?? ''));
    if (n % 3 !== 0) expect(await quiesce(name, revision, 30_000)).toMatchObject({ quiet: true });
    await here.query('SELECT drover.close_tenant($1, $2)', [name, placement.epoch]);
    await there.query('SELECT drover.open_tenant($1, $2)', [name, placement.epoch + 1]);
    await w.place(name, moved(names[n % 2] ?? ''));
    [here, there] = [there, here];
    await sleep(10);
  }
  stop.abort();
  await load;
  const count = async (client: pg.Client) =>
    (await client.query('SELECT id FROM items WHERE tenant = $1', [name])).rows.map((r) => r.id as number);
  const found = [...(await count(from)), ...(await count(to))];
  expect(found.length).toBe(new Set(found).size);
  expect(new Set(found)).toEqual(written);
  expect(written.size).toBeGreaterThan(100);
  await Promise.all([from.end(), to.end()]);
});

test('a session bound to its connection is told when its tenant has moved', async () => {
  const name = await tenant();
  const client = await w.client(name);
  await client.query('LISTEN x');
  await w.moveInDatabase(name, 'east', 'west', 2);
  const { revision } = await w.place(name, moved('west'));
  expect(await quiesce(name, revision, 30_000)).toMatchObject({ quiet: true });
  await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '57P01', severity: 'FATAL' });
});

test('without a lease transactions in flight are cut at its deadline and new ones wait until it is back', async () => {
  const name = await tenant();
  const [client, open] = [await w.client(name), await w.client(name)];
  await insert(client, name, 1);
  await open.query('BEGIN');
  await insert(open, name, 2);
  const cut = new Promise<{ code: string }>((resolve) => open.once('error', (e) => resolve(e as never)));
  const begun = performance.now();
  await w.nats.kill9();
  expect(await cut).toMatchObject({ code: '57P01' });
  expect(performance.now() - begun).toBeLessThan(6000); // others may hold it from then on
  let done = false;
  const held = insert(client, name, 3).then(() => {
    done = true;
  });
  await sleep(200);
  expect(done).toBe(false);
  await w.nats.restart();
  await held;
  await expect.poll(() => w.bus.status()).toBe('connected');
  const root = await w.root('east');
  expect((await root.query('SELECT id FROM items WHERE tenant = $1 ORDER BY id', [name])).rows).toEqual([
    { id: 1 },
    { id: 3 },
  ]);
  await root.end();
});

test('a dead primary: what ran gets one error, what comes next waits for the failover', async () => {
  const name = await tenant();
  const [client, running, block] = [await w.client(name), await w.client(name), await w.client(name)];
  await block.query('BEGIN');
  await block.query('SELECT 1');
  const ended = new Promise<{ code: string }>((resolve) => block.once('error', (e) => resolve(e as never)));
  const failing = expect(running.query('SELECT pg_sleep(10)')).rejects.toMatchObject({
    code: /08006|57P0[12]/ as never,
  });
  const health = w.bus.nc.subscribe('drover.health.*');
  const root = await w.root('east');
  await isAt(root, 'SELECT pg_sleep(10)');
  await root.end();
  await east.server.stop('immediate');
  expect((await ended).code).toMatch(/08006|57P0[12]/);
  await failing.catch(() => undefined);
  const held = insert(client, name, 1);
  for await (const m of health) {
    const seen = m.json<{ cluster: string; signals: Record<string, string> }>();
    if (seen.cluster === 'east' && seen.signals['connect'] === 'fail' && seen.signals['query'] === 'fail')
      break;
  }
  const other = await w.root('west');
  await other.query('SELECT drover.open_tenant($1, 2)', [name]);
  await w.place(name, moved('west'));
  await held;
  expect((await running.query('SELECT 1 AS n')).rows).toEqual([{ n: 1 }]);
  expect((await other.query('SELECT id FROM items WHERE tenant = $1', [name])).rows).toEqual([{ id: 1 }]);
  await other.end();
});
