/**
 * Two-phase commit at the source: a prepared transaction is one in progress until COMMIT PREPARED, whatever is killed in between; then it is applied
 * once, and after ROLLBACK PREPARED not at all (pitfall 52). The slot does not decode at PREPARE (docs/adr/0007-streamed-transactions.md).
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { untilConfirmed } from '../lib/confirmed.ts';
import { StreamedWorld } from './streamed-world.ts';

let world: StreamedWorld;
let gid = 0;

beforeAll(async () => {
  world = await StreamedWorld.start(3, { postgres: { max_prepared_transactions: '10' } });
  await world.both();
});
afterAll(() => world?.close());
beforeEach(() => world.empty());

/** Rows of two tenants, of which some are rolled back; `line` has no key, so that rows applied twice show. */
async function rows(from: number, count: number): Promise<void> {
  const { source } = world;
  const insert = (tenant: string, first: number) =>
    `INSERT INTO doc SELECT '${tenant}', g, 0, repeat(md5(g::text), 10) FROM generate_series(${first}, ${first + count - 1}) g`;
  await source.query(insert('t0', from));
  await source.query(`INSERT INTO line SELECT 't0', 'kept ' || ${from} FROM generate_series(1, ${count})`);
  await source.query(`SAVEPOINT s; ${insert('t1', from + 100_000)}; ROLLBACK TO s`);
  await source.query(insert('t1', from));
  await source.query(`UPDATE doc SET n = n + 1 WHERE tenant = 't1' AND id >= ${from}`);
}

async function beside(): Promise<void> {
  const client = await world.failover.servers.east.connect('app');
  await client.query(`INSERT INTO line VALUES ('t2', 'beside')`);
  await client.end();
}

const confirmed = (): Promise<void> =>
  untilConfirmed(
    async (sql, params = []) => (await world.source.query(sql, [...params])).rows,
    (what, probe) => world.waitFor(what, probe),
  );

async function restart(...names: ('cdc' | 'apply')[]): Promise<void> {
  for (const name of names) await world.kill(name);
  for (const name of names) await world.run(name);
}

const nothing = async (): Promise<void> => {
  expect(await world.count(`tenant <> 't2'`)).toBe(0);
};

describe.each([
  ['small', 3],
  ['streamed', 1500],
])('a prepared transaction, %s', (kind, count) => {
  async function prepared(between: () => Promise<void> = async () => {}): Promise<string> {
    const name = `p${++gid}`;
    await world.source.query('BEGIN');
    await rows(1, count);
    await between();
    await rows(10_000, count);
    await world.source.query(`PREPARE TRANSACTION '${name}'`);
    await beside();
    await confirmed();
    await nothing();
    return name;
  }

  test('is applied at its commit', async () => {
    const name = await prepared();
    const isOpen = async () => (await world.keptOpen()) > 0;
    if (kind === 'streamed') await world.waitFor('it is kept open', isOpen);
    else expect(await isOpen()).toBe(false);
    await world.source.query(`COMMIT PREPARED '${name}'`);
    await world.equal();
    expect(await world.count(`tenant = 't1' AND n = 1`)).toBe(2 * count);
  });

  test('is applied once, though the reader dies before, behind and after PREPARE', async () => {
    const name = await prepared(() => restart('cdc'));
    await restart('cdc');
    await beside();
    await confirmed();
    await nothing();
    await world.kill('cdc');
    await world.source.query(`COMMIT PREPARED '${name}'`);
    await beside();
    await world.run('cdc');
    await world.equal();
    await restart('cdc');
    await beside();
    await world.equal();
    expect(await world.count(`tenant = 't0'`)).toBe(2 * count);
  });

  const groups = process.env['DROVER_FULL'] === '1' ? [1, 4] : [kind === 'small' ? 1 : 4];
  test.each(groups)('is applied once, though the reader dies at group %i behind its commit', async (nth) => {
    const name = await prepared();
    await world.kill('cdc');
    await world.source.query(`COMMIT PREPARED '${name}'`);
    await world.run('cdc', 'after-publish', nth);
    await world.died('cdc');
    await world.run('cdc');
    await world.equal();
  });

  test('is applied once, though apply dies, and the source', async () => {
    const name = await prepared();
    await restart('apply');
    await world.restartSource();
    await confirmed();
    await nothing();
    await world.source.query(`COMMIT PREPARED '${name}'`);
    await world.equal();
    expect(await world.count(`tenant = 't0'`)).toBe(2 * count);
  });

  test('leaves nothing when it is rolled back, whoever died meanwhile', async () => {
    const name = await prepared(() => restart('cdc'));
    await restart('cdc', 'apply');
    await world.kill('cdc');
    await world.source.query(`ROLLBACK PREPARED '${name}'`);
    await beside();
    await world.run('cdc');
    await confirmed();
    await world.equal();
    await nothing();
    await world.waitFor('it is let go of', async () => (await world.keptOpen()) === 0);
  });
});

test('a prepared write of a tenant holds its switch-over until it is decided (I4)', async () => {
  const [tenant] = world.tenants;
  if (tenant === undefined) throw new Error('a world without tenants');
  const session = await world.failover.session('east', tenant, 1);
  await session.query(`BEGIN; INSERT INTO doc VALUES ('t0', 1, 0, 'x'); PREPARE TRANSACTION 'held'`);
  await session.end();
  const { source } = world;
  const close = source.query(`BEGIN; SET LOCAL lock_timeout = '300ms'; SELECT drover.close_tenant('t0', 1)`);
  await expect(close).rejects.toMatchObject({ code: '55P03' });
  await source.query('ROLLBACK');
  await source.query(`COMMIT PREPARED 'held'`);
  await source.query(
    `BEGIN; SET LOCAL lock_timeout = '300ms'; SELECT drover.close_tenant('t0', 1); ROLLBACK`,
  );
  await world.equal();
});
