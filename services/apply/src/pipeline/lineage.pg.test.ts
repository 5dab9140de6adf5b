/** The source's slot was made anew (I1, I8): nobody who was fed before passes for whole. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeWorld, type World } from '../world.testing.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld('CREATE TABLE item (tenant text, id int, v int, PRIMARY KEY (tenant, id))', {
    partitions: 1,
  });
  for (const tenant of ['written', 'silent', 'never']) await world.tenant(tenant);
});
afterEach(() => world.close());

const insert = (tenant: string, id: number) =>
  world.source.query('INSERT INTO item VALUES ($1, $2, 0)', [tenant, id]);

it('everybody is parked where its blocks begin, once; who follows from there on is not', async () => {
  let running = await world.start();
  await insert('written', 1);
  await insert('silent', 1);
  await world.capture();
  await world.settled();
  await insert('written', 2);
  await world.capture({ generation: 2 });
  for (const tenant of ['written', 'silent', 'never'])
    await world.waitFor(`${tenant} is parked`, async () => (await world.row(tenant))['feed'] === 'parked');
  const kept = (await world.ledger()).map((e) => [e['tenant'], e['kind'], e['status']]);
  expect(kept).toEqual(['never', 'silent', 'written'].map((tenant) => [tenant, 'resync', 'open']));
  expect((await world.row('silent'))['reason']).toMatch(/^pg\.slot_missing: .*generation 2, was 1/);

  await running.stop();
  running = await world.start();
  const info = await world.bus.jsm.streams.info('DROVER_CDC_east_0');
  await world.source.query(`SELECT drover.open_tenant('later', 1)`);
  await world.target.query(
    `SELECT drover.follow_tenant('later', 1, 'east', 'live', 'DROVER_CDC_east_0', $1, NULL)`,
    [info.state.last_seq],
  );
  await insert('later', 1);
  await insert('written', 3);
  await world.capture({ generation: 2 });
  await world.settled();
  expect(await world.row('later')).toMatchObject({ feed: 'live' });
  expect(await world.ledger()).toHaveLength(3);
  const { rows } = await world.target.query('SELECT tenant, id FROM item ORDER BY tenant, id');
  expect(rows.map((r) => `${r.tenant} ${r.id}`)).toEqual(['later 1', 'silent 1', 'written 1']);
});
