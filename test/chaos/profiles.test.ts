/** Small blocks by profiles of their tenants, with the real reader, the real apply and kills of both: a replica equals its source, whoever has to fetch what. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StreamedWorld } from './streamed-world.ts';

let world: StreamedWorld;
let id = 0;

beforeAll(async () => {
  world = await StreamedWorld.start(2, { sections: { nats: { partitions: 1 } } });
  await world.both();
});
afterAll(() => world?.close());

/** Small transactions of both tenants, each by itself. */
async function write(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    id++;
    const tenant = id % 3 === 0 ? 't1' : 't0';
    await world.source.query(
      `INSERT INTO doc (tenant, id, body) VALUES ($1, $2::int, 'a document of customer ' || $2::int)`,
      [tenant, id],
    );
    if (id % 5 === 0)
      await world.source.query('UPDATE doc SET n = n + 1 WHERE tenant = $1 AND id > $2', [tenant, id - 10]);
    if (id % 7 === 0)
      await world.source.query('DELETE FROM doc WHERE tenant = $1 AND id = $2', [tenant, id - 3]);
  }
}

/** Until the reader of this moment stores more blocks by profiles. */
async function untilProfiled(): Promise<void> {
  const before = await world.metric('cdc', 'drover_cdc_profile_blocks_total');
  await world.waitFor('blocks by profiles', async () => {
    await write(50);
    return (await world.metric('cdc', 'drover_cdc_profile_blocks_total')) > before;
  });
  await write(100);
}

test('a replica equals its source', async () => {
  await untilProfiled();
  await world.equal();
  expect(await world.metric('apply', 'drover_apply_profiles_total')).toBeGreaterThan(0);
  expect(await world.metric('cdc', 'drover_cdc_profile_faults_total')).toBe(0);
});

test('also when apply is killed, and fetches what it had known', async () => {
  await write(20);
  await world.kill('apply');
  await write(200);
  await world.run('apply');
  await world.equal();
  expect(await world.metric('apply', 'drover_apply_profiles_total')).toBeGreaterThan(0);
});

test('also when tables change under a profile', async () => {
  await world.source.query('ALTER TABLE doc ADD COLUMN extra text');
  await write(50);
  await world.source.query(`UPDATE doc SET extra = 'of ' || id`);
  await world.source.query('ALTER TABLE doc DROP COLUMN extra');
  await write(50);
  await world.equal();
});

test.each([
  ['the reader', async () => world.kill('cdc'), async () => world.run('cdc')],
  ['NATS', async () => world.failover.nats.kill9(), async () => world.failover.nats.restart()],
] as const)('also when %s is killed', async (_, kill, start) => {
  await write(50);
  const writing = write(300);
  await kill();
  await writing;
  await start();
  await untilProfiled();
  await world.equal();
});

test('also when a tenant has to catch up first', async () => {
  await world.kill('apply');
  await world.target.query(`UPDATE drover.tenant SET feed = 'catchup' WHERE tenant = 't0'`);
  await write(50);
  await world.run('apply');
  await world.waitFor(
    'a profile',
    async () => (await world.metric('apply', 'drover_apply_profiles_total')) > 0,
  );
  await world.equal();
});
