/**
 * Sealed tenants in the data path: what of them lies on the bus cannot be read, their rows arrive all the same, through rotations, restarts and large
 * transactions; without the key they stop, and only they; once their keys are shredded nothing brings their blocks back.
 */
import { Opener, sealedUnder, walkBlock } from '@drover/block';
import { onEvent } from '@drover/bus';
import { newMasterKey } from '@drover/catalog';
import { DroverError } from '@drover/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { RIGHT, SealingWorld } from './sealing-world.ts';

let sealing: SealingWorld;
const NOTHING = new Proxy({}, { get: () => () => undefined }) as Parameters<typeof walkBlock>[1];

beforeAll(async () => {
  sealing = await SealingWorld.start();
});
afterEach(() => sealing.master(RIGHT));
afterAll(() => sealing.close());

/** Codes of what opening all sealed blocks of the tenant comes to, as a reader that starts now. */
async function outcomes(): Promise<string[]> {
  const ring = await sealing.ring();
  const found = (await sealing.stored(sealing.vault)).filter((block) => sealedUnder(block) !== null);
  const opener = new Opener(ring);
  const codes = found.map((block) => {
    try {
      walkBlock(block, NOTHING, { opener });
      return 'opened';
    } catch (error) {
      return error instanceof DroverError ? error.code : String(error);
    }
  });
  await ring.close();
  return [...new Set(codes)];
}

const allLive = () =>
  sealing.world.failover.waitFor(
    'all are live',
    async () => (await sealing.world.feeds()).every(({ feed }) => feed === 'live'),
    180_000,
  );
const LIVE = { feeds: ['live'], ledger: [] };

describe('a sealed tenant', () => {
  it('lies unreadable on the bus, beside others, and arrives', async () => {
    await sealing.seal();
    await sealing.write('marker one', { from: 1, to: 50 });
    await sealing.equal();
    const [vault, shop] = [await sealing.stored(sealing.vault), await sealing.stored(sealing.shop)];
    expect(Buffer.concat(shop).includes('marker one of t1')).toBe(true);
    expect(Buffer.concat(vault).includes('marker one')).toBe(false);
    expect((await sealing.keyIds()).at(-1)).toBe(1);
    await sealing.world.failover.waitFor('on disk', async () => sealing.onDisk('marker one of t1'));
    expect(sealing.onDisk('marker one of t0')).toBe(false);
    expect(await sealing.world.metric('cdc east', 'drover_cdc_sealed_blocks_total')).toBeGreaterThan(0);
  });

  it('arrives in large transactions, which are written while they are in progress', async () => {
    await sealing.write('marker two '.repeat(400), { from: 1001, to: 2500 }, true);
    await sealing.equal();
    await allLive();
    await sealing.world.failover.waitFor('on disk', async () => sealing.onDisk('marker two marker two'));
    expect(Buffer.concat(await sealing.stored(sealing.vault)).includes('marker')).toBe(false);
    expect(await sealing.world.untouched()).toEqual(LIVE);
    const text = await (await fetch(`${sealing.world.failover.metricsUrl('apply west')}/metrics`)).text();
    expect(text).toMatch(/drover_apply_blocks_total\{[^}]*outcome="streamed"/);
  });

  it('loses nothing when its key is rotated under load, and when reader and replica are started again', async () => {
    const writers = await sealing.world.writers();
    for (let i = 0; i < 8; i++) {
      const { current } = await sealing.store.rotate(sealing.vault);
      await sealing.world.failover.waitFor('sealed under it', async () =>
        (await sealing.keyIds()).includes(current),
      );
      if (i === 3) await sealing.again('apply west');
      if (i === 5) await sealing.again('cdc east');
    }
    await writers.more(50);
    expect(await writers.stop()).toBeGreaterThan(50);
    await sealing.equal();
    await allLive();
    expect(await sealing.world.untouched()).toEqual(LIVE);
    expect((await sealing.keyIds()).length).toBeGreaterThan(5);
    expect(await outcomes()).toEqual(['opened']);
  });
});

describe('without its master key', () => {
  it.each([
    [
      'another one of the same generation',
      newMasterKey(1),
      /^block\.sealed: .*generation 1 of the master key that is here is not the one.*the tenant goes on/,
    ],
    [
      'another generation alone',
      newMasterKey(2),
      /^block\.sealed: .*generation 1 of the master key is not here/,
    ],
  ])(
    '(%s) a replica stops the sealed tenant alone, says why, and goes on when it is put right',
    async (_, wrong, why) => {
      const { world, shop, vault } = sealing;
      await world.failover.end('apply west');
      sealing.master(wrong);
      await world.failover.run('apply west');
      const first = 100_000 + Math.floor(Math.random() * 1e6) * 1000;
      await sealing.write('marker three', { from: first, to: first + 10 });
      await sealing.parked(vault, why);
      await sealing.write('marker four', { from: first + 20, to: first + 30 });
      await sealing.equal([shop]);
      expect((await world.ledger()).map(({ tenant, kind }) => [tenant, kind])).toEqual([[vault, 'poison']]);
      sealing.master(RIGHT);
      await sealing.equal();
      await allLive();
      expect(await world.ledger()).toEqual([]);
    },
  );

  it('a large transaction of both arrives for the other one', async () => {
    const { world, shop, vault } = sealing;
    await world.failover.end('apply west');
    sealing.master(newMasterKey(1));
    await world.failover.run('apply west');
    await sealing.write('marker five '.repeat(400), { from: 50_001, to: 51_500 }, true);
    await sealing.equal([shop]);
    await sealing.parked(vault, /block\.sealed/);
    sealing.master(RIGHT);
    await sealing.equal();
  });
});

describe('shredded keys', () => {
  it('make old blocks unreadable, stop their tenant with the reason, and nobody else', async () => {
    const { world, shop, vault } = sealing;
    await world.failover.end('apply west');
    await sealing.write('marker six', { from: 90_001, to: 90_100 });
    await world.failover.waitFor('published', async () =>
      Buffer.concat(await sealing.stored(shop)).includes('marker six'),
    );
    expect(await sealing.store.shred(vault)).toBeGreaterThan(5);
    await sealing.known();
    expect(await outcomes()).toEqual(['block.sealed']);
    const told: unknown[] = [];
    const listening = onEvent(world.failover.bus, 'apply.parked', (_, { reason }) => told.push(reason));
    await world.failover.run('apply west');
    await sealing.parked(
      vault,
      /^block\.sealed: a block of tenant t0 is sealed under key \d+: that key was shredded; nobody can read it again/,
    );
    await sealing.equal([shop]);
    // Whatever is tried: the same again.
    await world.failover.query(
      'west',
      `UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE tenant = $1`,
      [vault],
    );
    await sealing.parked(vault, /that key was shredded/);
    await world.failover.waitFor('told twice', async () => told.length > 1);
    await listening.close();
    expect(new Set(told)).toEqual(new Set(['block.sealed'])); // events are kept: no more is said of a sealed tenant
  });

  it('leave what is written since unread, though the reader goes on', async () => {
    const { shop } = sealing;
    await sealing.again('cdc east');
    await sealing.write('marker seven', { from: 91_001, to: 91_100 });
    await sealing.equal([shop]);
    expect((await sealing.keyIds()).at(-1)).toBe(0);
    expect(Buffer.concat(await sealing.stored(sealing.vault)).includes('marker')).toBe(false);
  });

  it('are followed by new ones, and a copy anew', async () => {
    const { world, vault } = sealing;
    await sealing.seal();
    await world.failover.run('migration');
    await sealing.copyAnew(vault);
    await sealing.write('marker eight', { from: 92_001, to: 92_100 });
    await allLive();
    await sealing.equal();
    expect(sealing.onDisk('of t0')).toBe(false);
  });
});
