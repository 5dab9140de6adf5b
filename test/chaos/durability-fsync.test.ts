/**
 * `[nats] durability = "nats-fsync"`: the source has let go of what the bus had acknowledged. A bus that has lost it all the same (it did not
 * fsync, its disk is gone) is not filled on as if nothing were missing: the reader refuses, and what is affected is copied anew.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DurabilityWorld } from './durability-world.ts';

let world: DurabilityWorld;

beforeAll(async () => {
  world = await DurabilityWorld.start(4, { cdc: { heartbeat: 200 } });
});
afterAll(() => world.close());

describe('a bus that loses messages it had acknowledged', () => {
  it('is found out by the reader, though the streams are there and nobody had read what is missing', async () => {
    let writers = await world.writers();
    await writers.more(30);
    await writers.stop();
    await world.equal();
    await world.failover.end('apply west');
    const copy = await world.remember();
    const ends = await world.ends();
    writers = await world.writers();
    await world.beyond(ends, 5);
    await writers.stop();
    const wal = await world.wal();
    await world.failover.waitFor('let go of', async () => (await world.slot()).confirmed >= wal);
    await world.loseSince(copy);
    await world.failover.waitFor('refused', async () =>
      /possible data loss: stream DROVER_CDC_east_\d does not hold what it had acknowledged/.test(
        (await world.readyz('cdc east')).text,
      ),
    );
    expect((await world.readyz('cdc east')).text).toContain('drover setup --resync --cluster east');
    const { confirmed } = await world.slot();
    const lost = await world.ends();
    await world.failover.query('east', `INSERT INTO notes VALUES ('t1', 1)`);
    const lag = Number((await world.wal()) - confirmed);
    await world.failover.waitFor(
      'looked at since',
      async () => (await world.metric('cdc east', 'drover_cdc_confirmed_lag_bytes')) >= lag,
    );
    await world.failover.run('apply west');
    expect((await world.slot()).confirmed).toBe(confirmed);
    expect(await world.ends()).toEqual(lost);
    expect(await world.failover.query('west', 'SELECT FROM notes')).toEqual([]);
  });
});
