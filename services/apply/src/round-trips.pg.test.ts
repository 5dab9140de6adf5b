/** How often the main lane waits for its target, and that it decides by rows as they are, though it does not ask for them each time. */
import { emitBarrier } from '@drover/pg';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { Session } from './target/session.ts';
import { makeWorld, type World } from './world.testing.ts';

describe('the main lane', () => {
  let world: World;
  const sends = vi.spyOn(Session.prototype, 'send');
  const batches: number[] = [];
  /** SQLSTATEs of what was sent in vain before the transactions of `batches`. */
  const refused: (string | undefined)[] = [];
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
    refused.length = 0;
    sends.mockClear();
    await world.capture();
    await world.settled();
    expect(batches.length).toBeGreaterThan(0);
    return [...batches];
  };
  /** The main lane stands behind its next transaction until this resolves. */
  let held: Promise<void> | undefined;
  const failpoint = async (at: string): Promise<void> => {
    if (at !== 'committed') return;
    await held;
    batches.push(sends.mock.calls.length);
    for (const sent of sends.mock.settledResults)
      if (sent.type === 'rejected') refused.push((sent.value as { code?: string }).code);
    sends.mockClear();
  };

  /** The same for statements whose blocks are taken together. */
  const flowTogether = async (...statements: string[]): Promise<number[]> => {
    const hold = Promise.withResolvers<void>();
    held = hold.promise;
    const id = next++;
    await world.source.query(insert('b', id, id));
    await world.capture();
    await world.waitFor('it stands', async () => {
      const { rows } = await world.target.query(`SELECT FROM item WHERE tenant = 'b' AND id = ${id}`);
      return rows.length > 0;
    });
    for (const sql of statements) await world.source.query(sql);
    await world.capture();
    hold.resolve();
    held = undefined;
    return (await flow()).slice(1);
  };

  let next = 1000;
  /** After one transaction of each. */
  const known = async (): Promise<void> => {
    const both = (): string[] => ['a', 'b'].map((tenant) => insert(tenant, next, next++));
    await flow(...both());
    const batches = await flow(...both());
    expect(new Set(batches)).toEqual(new Set([1]));
  };

  it('waits once for a transaction, of sets of rows or of single ones', async () => {
    for (const trips of await flow(insert('a', 31, 60), insert('b', 31, 60))) expect(trips).toBe(1);
    for (const trips of await flow(`UPDATE item SET v = 'changed' WHERE id <= 30`)) expect(trips).toBe(1);
    for (const trips of await flow(`DELETE FROM item WHERE id BETWEEN 41 AND 60`)) expect(trips).toBe(1);
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

  it.each(['COMMIT', 'ROLLBACK'])('waits for whoever writes the row of a tenant, until %s', async (end) => {
    await known();
    const { source, target } = world;
    await target.query('BEGIN');
    await target.query(`UPDATE drover.tenant SET updated_at = now() WHERE tenant = 'b'`);
    const id = next++;
    const flowing = flow(insert('b', id, id));
    await world.waitFor('it waits', async () => {
      const { rows } = await source.query(
        `SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'WITH met AS (UPDATE drover.tenant%'`,
      );
      return rows.length > 0;
    });
    await target.query(end);
    expect(await flowing).toEqual([end === 'COMMIT' ? 4 : 1]);
    expect(refused).toEqual(end === 'COMMIT' ? ['DR006'] : []);
  });

  it.each([6, 9, 20])('knows %i tenants of a batch as it knows a few', async (count) => {
    const many = Array.from({ length: count }, (_, i) => `many-${count}-${i}`);
    for (const tenant of many) await world.tenant(tenant);
    const all = (id: number): string =>
      `INSERT INTO item SELECT t, ${id}, 'm' FROM unnest('{${many.join()}}'::text[]) t`;
    await flow(all(1));
    const trips = await flowTogether(all(2), all(3));
    expect(new Set(trips)).toEqual(new Set([1]));
    expect(trips.length).toBeLessThan(count);
    await world.target.query(`UPDATE drover.tenant SET updated_at = now() WHERE tenant = '${many.at(-1)}'`);
    await flowTogether(all(4));
    expect(refused).toEqual(['DR006']);
  });

  const pause = (id: string, ms: number): Promise<unknown> =>
    emitBarrier(world.source, { tenant: 'b', id, pauseFor: { target: 'west', ms } });
  const followAgain = async (): Promise<void> => {
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup' WHERE tenant = 'b'`);
    await world.waitFor('it follows again', async () => (await world.row('b'))['feed'] === 'live');
    await flow(insert('b', next, next++)); // perhaps in its lane still
  };

  it('writes what becomes of a tenant that it knows', async () => {
    await known();
    await pause('p1', 60_000);
    expect(await flow()).toEqual([1]);
    expect(await world.row('b')).toMatchObject({ feed: 'held', reason: 'pause:p1' });
    await followAgain();
  });

  it('but not over what others have made of it', async () => {
    await known();
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'parked', reason = 'by hand' WHERE tenant = 'b'`,
    );
    await pause('p2', 50); // its lane will meet it
    await flow();
    expect(refused).toEqual(['DR006']);
    expect(await world.row('b')).toMatchObject({ feed: 'parked', reason: 'by hand' });
    await followAgain();
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
    expect(refused).toContain('DR006');
  });

  it('finds that one of many is missing', async () => {
    await world.tenant('d');
    for (const from of [1, 31]) await flow(insert('d', from, from + 29));
    await world.target.query(`DELETE FROM item WHERE tenant = 'd' AND id = 17`);
    await flow(`UPDATE item SET v = 'not applied' WHERE tenant = 'd'`);
    await world.waitFor('d is parked', async () => (await world.row('d'))['feed'] === 'parked');
    expect((await world.row('d'))['reason']).toMatch(
      /^apply.missing_row: UPDATE on public.item met 1 row\(s\) too few/,
    );
    expect(refused).toContain('DR006');
    for (const side of [world.source, world.target]) await side.query(`DELETE FROM item WHERE tenant = 'd'`);
  });
});
