/**
 * `[nats] durability = "applied"`: the source forgets only what all replicas have applied, so a bus that loses what it holds costs nothing but time.
 * Stream by stream, message by message: replicas end equal without a copy anew, and without a change that is applied twice.
 */
import { isStreamed } from '@drover/block';
import { streamName, subjectOf } from '@drover/bus';
import { partitionOf, type TenantId, tenantToken } from '@drover/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DurabilityWorld } from './durability-world.ts';
import { EAST } from './failover-world.ts';

const WHOLE = { feeds: ['live'], ledger: [] };
/** What depends on chance is tried more often when there is time. */
const TIMES = process.env['DROVER_FULL'] === '1' ? [1, 2, 3, 4, 5] : [1];
let world: DurabilityWorld;

beforeAll(async () => {
  // Transactions are streamed before they commit as soon as they are larger than this.
  const cdc = { heartbeat: 200, warn_retained: '1MiB', stream_above_bytes: '512KiB' };
  world = await DurabilityWorld.start(8, { nats: { durability: 'applied' }, cdc });
});
afterAll(() => world.close());

describe('the slot', () => {
  it('follows what the replica has applied, and waits for it', async () => {
    const before = await world.wal();
    await world.failover.waitFor('confirmed', async () => (await world.slot()).confirmed > before);
    await world.failover.end('apply west');
    const away = await world.wal();
    const writers = await world.writers();
    await world.failover.waitFor('written', async () => (await world.wal()) > away + 1_500_000n);
    await writers.stop();
    await world.failover.waitFor('warned of', async () =>
      /^ok\nwarning: slot drover_app keeps .* held back by west/.test((await world.readyz('cdc east')).text),
    );
    expect(await world.metric('cdc east', 'drover_cdc_replica_lag_bytes')).toBeGreaterThan(1_000_000);
    // What was applied before, and a little that was under way.
    expect((await world.slot()).confirmed - away).toBeLessThan(200_000n);
    await world.failover.run('apply west');
    const now = await world.wal();
    await world.failover.waitFor('confirmed again', async () => (await world.slot()).confirmed > now);
    await world.equal();
  });
});

describe('a bus that loses everything', () => {
  it.each(TIMES)(
    'under load (%i) is filled again from the slot: nothing missing, nothing twice, no copy',
    async () => {
      const writers = await world.writers();
      await writers.more(60);
      await world.loseStore();
      await writers.more(60);
      await writers.stop();
      await world.equal();
      expect(await world.untouched()).toEqual(WHOLE);
    },
  );

  it('while the replica was away has kept all it needs', async () => {
    await world.failover.end('apply west');
    const writers = await world.writers();
    await writers.more(60);
    await world.loseStore();
    await writers.more(30);
    await writers.stop();
    await world.failover.run('apply west');
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });

  it('while the reader was away, too', async () => {
    await world.failover.end('cdc east');
    const writers = await world.writers();
    await writers.more(30);
    await world.loseStore();
    await writers.more(30);
    await writers.stop();
    await world.failover.run('cdc east');
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });
});

describe('schema changes that come again', () => {
  it('are made once, each at its place among the rows', async () => {
    const { failover } = world;
    const writers = await world.writers();
    await writers.more(20);
    for (const [i, change] of [
      'ADD COLUMN extra int DEFAULT 5',
      'ALTER COLUMN n TYPE bigint',
      'RENAME COLUMN extra TO more',
    ].entries()) {
      await failover.query('east', `ALTER TABLE doc ${change}`);
      await writers.more(10);
      if (i < 2) await failover.query('east', 'UPDATE doc SET extra = $1 WHERE id % 7 = $1', [i + 1]);
    }
    await world.loseStore();
    await writers.more(20);
    await writers.stop();
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });
});

describe('a transaction in progress, of which the bus holds a part', () => {
  it.each(['everything', 'the newest messages'] as const)(
    'is whole after the bus has lost %s',
    async (what) => {
      const [tenant = '' as TenantId, ...others] = world.tenants;
      const east = await world.client('east');
      const copy = what === 'everything' ? '' : await world.remember();
      const rows = async (first: number) =>
        east.query(
          `INSERT INTO doc SELECT $1, g, 0, repeat(md5(g::text), 30) FROM generate_series($2::int, $2::int + 2499) g`,
          [tenant, first],
        );
      const writers = await world.writers(2, others);
      await east.query('BEGIN');
      await rows(-100_000);
      await world.failover.waitFor('a part', () => holdsPart(tenant));
      if (what === 'everything') await world.loseStore();
      else await world.loseSince(copy);
      await rows(-90_000);
      await world.failover.waitFor('a part again', () => holdsPart(tenant));
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

  /** The tenant's newest message is of a transaction that has not committed. */
  async function holdsPart(tenant: TenantId): Promise<boolean> {
    const { bus, config } = world.failover;
    const partition = partitionOf(tenant, config.nats.partitions);
    const subject = subjectOf(EAST, partition, tenantToken(tenant));
    const found = await bus.jsm.streams
      .getMessage(streamName(EAST, partition), { last_by_subj: subject })
      .catch(() => null); // away, or made this moment
    return found !== null && isStreamed(Buffer.from(found.data));
  }
});

describe('a bus that loses its newest messages', () => {
  it.each(TIMES)('under load (%i), though it has acknowledged them, gets them again', async () => {
    const writers = await world.writers();
    await writers.more(30);
    const copy = await world.remember();
    const ends = await world.ends();
    await world.beyond(ends, 10);
    await world.loseSince(copy);
    await writers.more(60);
    await writers.stop();
    await world.equal();
    expect(await world.untouched()).toEqual(WHOLE);
  });

  it('which the replica had applied, while that one is away, and writes on beyond its position', async () => {
    const copy = await world.remember();
    let writers = await world.writers();
    await writers.more(60);
    await writers.stop();
    await world.equal();
    await world.failover.end('apply west');
    const ends = await world.ends();
    await world.loseSince(copy);
    writers = await world.writers();
    await world.beyond(ends); // the sequences that the replica had read are taken again
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
    await writers.more(20);
    await world.loseStore();
    await writers.more(40);
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
