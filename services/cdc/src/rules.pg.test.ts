/** The reader under rules of [[transform]], against real PostgreSQL and NATS: what is to be hidden never leaves, also after a restart. */
import { afterEach, describe, expect, it } from 'vitest';
import { changesOf, makeWorld, ready, stopAll, tenantOnce, type World } from './world.testing.ts';

let world: World;

async function begin(...transform: Record<string, unknown>[]): Promise<void> {
  world = await makeWorld({ transform });
  await ready(world);
}

afterEach(() => world.close());

/** Texts in binary form, as the records show them. */
const hex = (text: string) => `0x${Buffer.from(text).toString('hex')}`;
const said = async (tenant: string, of: string) =>
  changesOf(await tenantOnce(world, tenant, (blocks) => changesOf(blocks).some((c) => c.includes(of))));

describe('what is published', () => {
  it('is masked for the tenants of a rule alone; a large value that did not change stays unsent', async () => {
    const actions = [{ mask: 'note', with: 'partial', first: 1 }];
    await begin({ tables: ['public.items'], tenants: ['ac*'], actions });
    const big = 'y'.repeat(5000);
    await world.client.query(
      `INSERT INTO items VALUES (1, 'acme', 'secret'), (2, 'bolt', 'secret'), (3, 'acme', '${big}')`,
    );
    await world.client.query(
      `UPDATE items SET id = 4 WHERE id = 3; UPDATE items SET note = NULL WHERE id = 1`,
    );
    const acme = await said('acme', '·');
    expect(acme[0]).toContain(hex('s*****'));
    expect(acme.join()).not.toContain(hex('secret').slice(2));
    expect(acme[1]).toContain(hex(`y${'*'.repeat(4999)}`));
    expect(acme[2]).toMatch(/^~items K:.*,\?$/);
    expect((await said('bolt', hex('secret'))).join()).toContain(hex('secret'));
  });

  it('follows rows into a filter and out of it', async () => {
    world = await makeWorld({
      transform: [{ tables: ['public.items'], stage: 'publish', where: "note <> 'draft'" }],
    });
    await world.client.query('ALTER TABLE items REPLICA IDENTITY FULL');
    await ready(world);
    for (const sql of [
      `INSERT INTO items VALUES (1, 'acme', 'draft'), (2, 'acme', 'a')`,
      `UPDATE items SET note = 'b' WHERE id = 1`,
      `UPDATE items SET note = 'draft' WHERE id = 2`,
      `UPDATE items SET id = 3 WHERE id = 2`,
      `DELETE FROM items WHERE id = 3`,
      `DELETE FROM items WHERE id = 1`,
    ])
      await world.client.query(sql);
    const changes = await said('acme', `-items O:0x00000001`);
    expect(changes.map((c) => c.slice(0, c.indexOf(',')))).toEqual([
      '+items 0x00000002',
      '+items 0x00000001',
      '-items O:0x00000002',
      '-items O:0x00000001',
    ]);
  });
});

describe('a table that is renamed away from its rule', () => {
  it('is withheld, also by a reader that never knew it by its old name', async () => {
    const actions = [{ mask: 'note', with: 'hash' }];
    await begin({ tables: ['public.items'], tenants: ['acme'], actions });
    await world.client.query(`INSERT INTO items VALUES (1, 'acme', 'secret')`);
    await said('acme', '+items');
    await world.client.query('ALTER TABLE items RENAME TO things');
    await world.client.query(`INSERT INTO things VALUES (2, 'acme', 'secret')`);
    const [, withheld] = await said('acme', 'drover.withheld');
    expect(withheld).toContain('table public.things was public.items, which the rule names');
    await stopAll(world);
    await world.client.query(`INSERT INTO things VALUES (3, 'acme', 'secret'), (4, 'bolt', 'plain')`);
    await ready(world);
    await said('bolt', hex('plain'));
    const isWithheld = (c: string) => c.includes('drover.withheld');
    const twice = await tenantOnce(world, 'acme', (b) => changesOf(b).filter(isWithheld).length > 1);
    const all = changesOf(twice);
    expect(all.filter(isWithheld)).toHaveLength(2);
    expect(all.join()).not.toContain(hex('secret').slice(2));
  });
});
