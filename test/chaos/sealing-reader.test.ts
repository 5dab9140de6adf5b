/**
 * A reader that cannot have the key of a sealed tenant: after a while that tenant alone stops, nothing of it is published in the clear, and nothing is
 * lost: its replicas say that they lack rows until they are copied anew.
 */
import { sealedUnder } from '@drover/block';
import { newMasterKey } from '@drover/catalog';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RIGHT, SealingWorld } from './sealing-world.ts';

const PATIENCE_MS = 1500;
const WITHHELD = /^apply\.withheld: rows were withheld at the source: the tenant is sealed/;

let sealing: SealingWorld;

beforeAll(async () => {
  sealing = await SealingWorld.start({ key_patience: PATIENCE_MS });
  await sealing.seal();
});
afterAll(() => sealing.close());

const unsealed = async (): Promise<Buffer[]> =>
  (await sealing.stored(sealing.vault)).filter((block) => sealedUnder(block) === null);
const slotLag = async (): Promise<number> => {
  const rows = await sealing.world.failover.query(
    'east',
    `SELECT max(pg_current_wal_lsn() - confirmed_flush_lsn)::float8 AS lag FROM pg_replication_slots WHERE slot_type = 'logical'`,
    [],
  );
  return Number((rows as { lag: number }[])[0]?.lag);
};
const eventually = (what: string, probe: () => Promise<boolean>): Promise<unknown> =>
  sealing.world.failover.waitFor(what, probe, 180_000);

it('withholds the rows of that tenant, and goes on with the others and with its slot', async () => {
  const { world, vault, shop } = sealing;
  await sealing.write('marker one', { from: 1, to: 50 });
  await sealing.equal();
  const before = (await unsealed()).length;
  await world.failover.end('cdc east');
  sealing.master(newMasterKey(2));
  await world.failover.run('cdc east');
  await sealing.write('marker two', { from: 101, to: 150 });
  await sealing.parked(vault, WITHHELD);
  await sealing.equal([shop]);
  expect(await world.metric('cdc east', 'drover_cdc_key_missing')).toBe(1);
  await sealing.write('marker three '.repeat(400), { from: 1001, to: 2500 }, true);
  await sealing.equal([shop]);
  await eventually('the slot goes on', async () => (await slotLag()) < 1_000_000);
  expect((await unsealed()).length).toBeGreaterThan(before); // they say that rows are withheld, and no more
  expect(Buffer.concat(await sealing.stored(vault)).includes('marker')).toBe(false);
  expect(Buffer.concat(await unsealed()).includes('doc')).toBe(false); // nor of which table
  expect((await world.ledger()).map(({ tenant, kind }) => [tenant, kind])).toEqual([[vault, 'poison']]);
});

it('is not got around by trying again, with the key or without', async () => {
  const { world, vault, shop } = sealing;
  const again = () =>
    world.failover.query(
      'west',
      `UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE tenant = $1`,
      [vault],
    );
  await again();
  await sealing.parked(vault, WITHHELD);
  sealing.master(RIGHT);
  await eventually(
    'the key is there',
    async () => (await world.metric('cdc east', 'drover_cdc_key_missing')) === 0,
  );
  await sealing.write('marker four', { from: 3001, to: 3010 });
  await sealing.equal([shop]);
  expect(sealedUnder((await sealing.stored(vault)).at(-1) ?? Buffer.alloc(0))).not.toBeNull();
  await again();
  await sealing.parked(vault, WITHHELD);
});

it('is made good by a copy, and what follows arrives sealed', async () => {
  const { world, vault } = sealing;
  await world.failover.run('migration');
  await sealing.copyAnew(vault);
  await sealing.write('marker five', { from: 4001, to: 4010 });
  await eventually('all are live', async () => (await world.feeds()).every(({ feed }) => feed === 'live'));
  await sealing.equal();
  expect(Buffer.concat(await sealing.stored(vault)).includes('marker')).toBe(false);
  expect(sealing.onDisk('marker five of t0')).toBe(false);
});
