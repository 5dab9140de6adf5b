/**
 * `[nats] durability = "applied"`: the source forgets only what all replicas have applied, so a bus that loses what it holds costs nothing but time.
 * Stream by stream, message by message: replicas end equal without a copy anew, and without a change that is applied twice.
 */
import { sleep } from '@drover/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DurabilityWorld } from './durability-world.ts';

const WHOLE = { feeds: ['live'], ledger: [] };
let world: DurabilityWorld;

beforeAll(async () => {
  // Transactions are streamed before they commit as soon as they are larger than this.
  const settings = { postgres: { logical_decoding_work_mem: '4MB' } };
  const cdc = { heartbeat: 200, warn_retained: '1MiB' };
  world = await DurabilityWorld.start(8, { nats: { durability: 'applied' }, cdc }, settings);
});
afterAll(() => world.close());

describe('the slot', () => {
  it('follows what the replica has applied, and waits for it', async () => {
    const before = await world.wal();
    await world.failover.waitFor('confirmed', async () => (await world.slot()).confirmed > before);
    await world.failover.end('apply west');
    const away = await world.wal();
    const writers = await world.writers();
    await sleep(4000);
    await writers.stop();
    const held = await world.slot();
    // What was applied before, and a little that was under way.
    expect(held.confirmed - away).toBeLessThan(200_000n);
    expect((await world.wal()) - held.confirmed).toBeGreaterThan(500_000n);
    expect(await world.metric('cdc east', 'drover_cdc_replica_lag_bytes')).toBeGreaterThan(500_000);
    await world.failover.waitFor('warned of', async () =>
      /^ok\nwarning: slot drover_app keeps .* held back by west/.test((await world.readyz('cdc east')).text),
    );
    await world.failover.run('apply west');
    const now = await world.wal();
    await world.failover.waitFor('confirmed again', async () => (await world.slot()).confirmed > now);
    await world.equal();
  });
});

describe('a bus that loses everything', () => {
  it.each([1, 2, 3])(
    'under load (%i) is filled again from the slot: nothing missing, nothing twice, no copy',
    async () => {
      const writers = await world.writers();
      await sleep(1500);
      await world.loseStore();
      await sleep(2500);
      expect(await writers.stop()).toBeGreaterThan(30);
      await world.equal();
      expect(await world.untouched()).toEqual(WHOLE);
    },
  );

  it('while the replica was away has kept all it needs', async () => {
    await world.failover.end('apply west');
    const writers = await world.writers();
    await sleep(1500);
    await world.loseStore();
    await sleep(1500);
    await writers.stop();
    await world.failover.run('apply west');
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });

  it('while the reader was away, too', async () => {
    await world.failover.end('cdc east');
    const writers = await world.writers();
    await sleep(1000);
    await world.loseStore();
    await sleep(500);
    await writers.stop();
    await world.failover.run('cdc east');
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });
});

describe('a transaction in progress, of which the bus holds a part', () => {
  it.each(['everything', 'the newest messages'] as const)(
    'is whole after the bus has lost %s',
    async (what) => {
      const [tenant] = world.tenants;
      const east = await world.client('east');
      const copy = what === 'everything' ? '' : await world.remember();
      const rows = async (first: number) =>
        east.query(
          `INSERT INTO doc SELECT $1, g, 0, repeat(md5(g::text), 30) FROM generate_series($2::int, $2::int + 5999) g`,
          [tenant, first],
        );
      const writers = await world.writers(2);
      await east.query('BEGIN');
      await rows(-100_000);
      await sleep(1500);
      if (what === 'everything') await world.loseStore();
      else await world.loseSince(copy);
      await rows(-90_000);
      await sleep(1500);
      await rows(-80_000);
      await east.query('COMMIT');
      await east.query('DELETE FROM doc WHERE tenant = $1 AND id < 0 AND id % 3 = 0', [tenant]);
      await east.end();
      await writers.stop();
      await world.equal();
      expect(await world.untouched()).toEqual(WHOLE);
      await world.failover.query('east', 'DELETE FROM doc WHERE tenant = $1 AND id < 0', [tenant]);
    },
  );
});

describe('a bus that loses its newest messages', () => {
  it.each([1, 2])('under load (%i), though it has acknowledged them, gets them again', async () => {
    const writers = await world.writers();
    await sleep(1000);
    const copy = await world.remember();
    await sleep(3000);
    await world.loseSince(copy);
    await sleep(2500);
    await writers.stop();
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });

  it('which the replica had applied, while that one is away, and writes on beyond its position', async () => {
    const copy = await world.remember();
    let writers = await world.writers();
    await sleep(1500);
    await writers.stop();
    await world.equal();
    await world.failover.end('apply west');
    await world.loseSince(copy);
    writers = await world.writers();
    await sleep(4000); // the sequences that the replica had read are taken again by then
    await writers.stop();
    await world.failover.run('apply west');
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });
});

describe('a tenant that was parked', () => {
  it('does not hold the slot, and is copied anew after a loss: it does not go on as if nothing were missing', async () => {
    const [poor, ...others] = world.tenants;
    const west = await world.client('west');
    await west.query(`INSERT INTO notes VALUES ($1, 1)`, [poor]);
    await west.query('ALTER TABLE doc ADD CONSTRAINT bad CHECK (id <> -7)');
    await west.end();
    await world.failover.query('east', `INSERT INTO doc VALUES ($1, -7, 0, 'x')`, [poor]);
    const feedOf = async () => (await world.feeds()).find(({ tenant }) => tenant === poor);
    await world.failover.waitFor('parked', async () => (await feedOf())?.feed === 'parked');
    const wal = await world.wal();
    await world.failover.waitFor('confirmed beyond it', async () => (await world.slot()).confirmed > wal);
    const writers = await world.writers();
    await sleep(500);
    await world.loseStore();
    await sleep(2000);
    await writers.stop();
    await world.equal(others);
    expect(await feedOf()).toMatchObject({
      feed: 'parked',
      reason: expect.stringMatching(/^bus\.recreated/),
    });
    expect((await world.ledger()).map(({ tenant, kind }) => `${tenant} ${kind}`)).toEqual([
      `${poor} poison`,
      `${poor} resync`,
    ]);
    expect((await world.feeds()).filter(({ feed }) => feed !== 'live')).toHaveLength(1);
  });
});
