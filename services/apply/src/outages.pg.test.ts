/** The target or the bus is gone for a while: nothing is lost, nothing doubled, and everybody is told. */
import { sleep } from '@drover/core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeWorld, type World } from './world.testing.ts';

const SQL = 'CREATE TABLE item (tenant text, id int, v int, PRIMARY KEY (tenant, id))';

let world: World;
beforeEach(async () => {
  world = await makeWorld(SQL, { ownTarget: true });
  for (const tenant of ['a', 'b', 'c']) await world.tenant(tenant);
});
afterEach(() => world.close());

let next = 0;
const load = async (rounds: number): Promise<void> => {
  for (let i = 0; i < rounds; i++) {
    next++;
    for (const tenant of ['a', 'b', 'c']) {
      await world.source.query(
        'INSERT INTO item SELECT $1, $2::int * 100 + g, 0 FROM generate_series(1, 30) g',
        [tenant, next],
      );
      await world.source.query('UPDATE item SET v = v + 1 WHERE tenant = $1 AND id % 3 = 0', [tenant]);
    }
    await world.capture({ single: true });
  }
};

it('a target that crashes loses what was committed asynchronously, and gets it again', async () => {
  let metricsUrl = '';
  await world.start({
    onReady: (info) => {
      metricsUrl = String(info['metricsUrl']);
    },
  });
  const reports: { signals: Record<string, string> }[] = [];
  world.bus.nc.subscribe('drover.health.apply-west', { callback: (_, m) => void reports.push(m.json()) });
  for (let i = 0; i < 3; i++) {
    await load(4);
    await world.crashTarget(() =>
      i > 0
        ? sleep(1200)
        : world.waitFor('everybody is told', async () =>
            reports.some(({ signals }) => signals['connect'] === 'fail' && signals['write'] === 'fail'),
          ),
    );
  }
  await load(1);
  await world.settled();
  await world.same(['item']);
  expect(await world.ledger()).toEqual([]);
  await world.waitFor('it is ready again', async () => (await fetch(`${metricsUrl}/readyz`)).status === 200);
  reports.length = 0;
  await world.waitFor('the target is well again', async () => reports.at(-1)?.signals['write'] === 'ok');
  const metrics = await (await fetch(`${metricsUrl}/metrics`)).text();
  expect(metrics).toMatch(/drover_apply_rows_total\{[^}]*source="east"[^}]*\} \d+/);
  expect(metrics).toMatch(/drover_apply_blocks_total\{[^}]*outcome="apply"/);
});

it('a bus that is gone for longer than the lease holds nothing up but time', async () => {
  await world.start();
  await load(2);
  await world.nats.kill9();
  await new Promise((resolve) => setTimeout(resolve, 6000));
  await world.nats.restart();
  await load(2);
  await world.settled();
  await world.same(['item']);
  expect(await world.ledger()).toEqual([]);
});
