/** How often the main lane waits for its target, and that it decides by rows as they are, though it does not ask for them each time. */
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Session } from './target/session.ts';
import { makeWorld, type World } from './world.testing.ts';

describe('the main lane', () => {
  let world: World;
  const sends = vi.spyOn(Session.prototype, 'send');
  const batches: number[] = [];
  beforeAll(async () => {
    world = await makeWorld('CREATE TABLE item (tenant text, id int, v text, PRIMARY KEY (tenant, id))', {
      partitions: 1,
    });
    for (const tenant of ['a', 'b', 'c']) await world.tenant(tenant);
    await world.start({ failpoint });
    await flow(insert('a', 1, 20), insert('b', 1, 20));
    await flow(insert('a', 21, 30), insert('b', 21, 30));
  });
  afterEach(() => world.same(['item'], `v <> 'not applied'`));
  afterAll(async () => {
    sends.mockRestore();
    await world.close();
  });

  const insert = (tenant: string, from: number, to: number, v = 'new'): string =>
    `INSERT INTO item SELECT '${tenant}', i, '${v}' FROM generate_series(${from}, ${to}) i`;

  /** How many round trips each transaction at the target took, with those that failed before it. */
  const flow = async (...statements: string[]): Promise<number[]> => {
    for (const sql of statements) await world.source.query(sql);
    batches.length = 0;
    sends.mockClear();
    await world.capture();
    await world.settled();
    expect(batches.length).toBeGreaterThan(0);
    return [...batches];
  };
  const failpoint = (at: string): void => {
    if (at !== 'committed') return;
    batches.push(sends.mock.calls.length);
    sends.mockClear();
  };

  let next = 1000;
  /** After one transaction of each. */
  const known = async (): Promise<void> => {
    const both = (): string[] => ['a', 'b'].map((tenant) => insert(tenant, next, next++));
    await flow(...both());
    const batches = await flow(...both());
    expect(new Set(batches)).toEqual(new Set([1]));
  };

  it('waits once for a transaction of rows, twice where it must see that a set of rows was met', async () => {
    for (const trips of await flow(insert('a', 31, 60), insert('b', 31, 60))) expect(trips).toBe(1);
    for (const trips of await flow(`UPDATE item SET v = 'changed' WHERE id <= 30`)) expect(trips).toBe(2);
    for (const trips of await flow(`DELETE FROM item WHERE id = 7`)) expect(trips).toBe(1);
    for (const trips of await flow(`UPDATE item SET v = 'few' WHERE id IN (8, 9)`)) expect(trips).toBe(1);
    for (const trips of await flow(insert('a', 61, 65), insert('b', 61, 65))) expect(trips).toBe(1);
  });

  it('reads a tenant anew when its row was written by others, and then knows it again', async () => {
    await world.target.query(`UPDATE drover.tenant SET updated_at = now() WHERE tenant = 'a'`);
    expect(Math.max(...(await flow(insert('a', 101, 140), insert('b', 101, 140))))).toBeGreaterThan(2);
    await known();
  });

  it('knows nothing of what it wrote in a transaction that failed', async () => {
    await world.target.query(`INSERT INTO item VALUES ('a', 201, 'in the way')`);
    await world.source.query(insert('a', 201, 220));
    await world.source.query(insert('b', 201, 220));
    await world.capture();
    await world.waitFor('it is in the way', async () => (await world.row('a'))['feed'] !== 'live');
    await world.target.query(`DELETE FROM item WHERE v = 'in the way'`);
    await world.waitFor('it goes on', async () => {
      await world.target.query(
        `UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE tenant = 'a' AND feed = 'parked'`,
      );
      return (await world.row('a'))['feed'] === 'live';
    });
    await world.settled();
    await known();
  });

  it('leaves a tenant alone that was parked by others, and goes on with the rest', async () => {
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'parked', reason = 'by hand' WHERE tenant = 'a'`,
    );
    await flow(insert('a', 301, 340, 'not applied'), insert('b', 301, 340));
    const { rows } = await world.target.query(`SELECT FROM item WHERE v = 'not applied'`);
    expect(rows.length).toBe(0);
    expect(await world.row('a')).toMatchObject({ feed: 'parked', reason: 'by hand' });
  });

  it('finds a row that is missing, though it waits for no answer: its tenant stops, with the reason', async () => {
    for (const id of [1, 2]) await flow(insert('c', id, id), insert('b', 400 + id, 400 + id));
    await world.target.query(`DELETE FROM item WHERE tenant = 'c' AND id = 1`);
    await flow(
      `UPDATE item SET v = 'not applied' WHERE tenant = 'c' AND id = 1`,
      `UPDATE item SET v = 'there' WHERE tenant = 'b' AND id = 21`,
    );
    await world.waitFor('c is parked', async () => (await world.row('c'))['feed'] === 'parked');
    expect((await world.row('c'))['reason']).toMatch(/^apply.missing_row: UPDATE on public.item/);
  });
});
