/** What can only go wrong while copy and stream overlap, when the stream is lost, and with barriers for all. */
import { streamName } from '@drover/bus';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EAST, makeWorld, type World } from './world.testing.ts';

const SQL = `
CREATE TABLE doc (tenant text, id int, n int, body text, PRIMARY KEY (tenant, id));
ALTER TABLE doc ALTER COLUMN body SET STORAGE EXTERNAL;`;

let world: World;
beforeEach(async () => {
  world = await makeWorld(SQL, { partitions: 1 });
  for (const tenant of ['a', 'b']) await world.tenant(tenant);
});
afterEach(() => world.close());

const big = (ch: string): string => `repeat('${ch}', 9000)`;

/** Up to now the target may hold rows that a copy has brought. */
const lenientUntilNow = async (): Promise<void> => {
  const { rows } = await world.source.query('SELECT pg_current_wal_insert_lsn()::text AS lsn');
  await world.target.query(`UPDATE drover.tenant SET feed = 'catchup', lenient_until = $1`, [rows[0].lsn]);
};

describe('an update whose unchanged TOAST value nobody has', () => {
  it('is noted for migration, and no row is made up', async () => {
    await world.source.query(`INSERT INTO doc SELECT 'a', i, 0, ${big('x')} FROM generate_series(1, 4) i`);
    await world.capture();
    await world.bus.jsm.streams.info(streamName(EAST, 0));
    // The copy read 1 and 2 only; the stream is followed from behind the insert.
    await world.target.query(`INSERT INTO doc SELECT 'a', i, 0, ${big('x')} FROM generate_series(1, 2) i`);
    await world.target.query(
      `INSERT INTO drover.copy (tenant, source, state) VALUES ('a', 'east', 'copying')`,
    );
    const { state } = await world.bus.jsm.streams.info(streamName(EAST, 0));
    await world.target.query('UPDATE drover.tenant SET stream = $1, stream_seq = $2', [
      streamName(EAST, 0),
      state.last_seq,
    ]);
    await world.source.query('UPDATE doc SET n = 1 WHERE id IN (1, 3)');
    await world.source.query('UPDATE doc SET id = id + 10 WHERE id IN (2, 4)');
    await lenientUntilNow();
    await world.source.query('UPDATE doc SET n = 5 WHERE id = 12');
    await world.capture({ single: true });
    await world.start();
    await world.settled();
    const { rows } = await world.target.query('SELECT id, n, length(body) AS size FROM doc ORDER BY id');
    expect(rows).toEqual([
      { id: 1, n: 1, size: 9000 },
      { id: 12, n: 5, size: 9000 },
    ]);
    const copy = await world.target.query(`SELECT progress FROM drover.copy WHERE tenant = 'a'`);
    expect(copy.rows[0].progress.missed).toEqual([
      { schema: 'public', table: 'doc', key: { tenant: 'a', id: 3 } },
      { schema: 'public', table: 'doc', key: { tenant: 'a', id: 14 } },
    ]);
    expect(await world.row('a')).toMatchObject({ feed: 'live' });
  });

  it('of a key change keeps the later state of a row that came by the copy under its new key', async () => {
    await world.source.query(`INSERT INTO doc VALUES ('a', 1, 0, ${big('x')})`);
    await world.capture();
    await world.source.query('UPDATE doc SET id = 2 WHERE id = 1');
    await world.source.query(`UPDATE doc SET body = ${big('y')} WHERE id = 2`);
    await world.source.query(`INSERT INTO doc VALUES ('a', 1, 7, ${big('z')})`);
    const { rows } = await world.source.query('SELECT * FROM doc');
    for (const r of rows)
      await world.target.query('INSERT INTO doc VALUES ($1, $2, $3, $4)', [r.tenant, r.id, r.n, r.body]);
    await lenientUntilNow();
    await world.capture({ single: true });
    await world.start();
    await world.settled();
    await world.same(['doc']);
  });
});

describe('a stream that has lost its past', () => {
  it('parks the tenants it fed, loudly, and feeds those that are copied anew', async () => {
    const first = await world.start();
    await world.source.query(`INSERT INTO doc VALUES ('a', 1, 1)`);
    await world.capture();
    await world.settled();
    await first.stop();
    // As after a restore of another NATS: sequences mean something else.
    await world.target.query(`UPDATE drover.stream_position SET stream_created = '2001-01-01T00:00:00Z'`);
    await world.start();
    await world.waitFor('both are parked', async () => (await world.row('b'))['feed'] === 'parked');
    expect((await world.row('a'))['reason']).toMatch(/^bus.recreated: /);
    expect(await world.ledger()).toMatchObject([
      { tenant: 'a', kind: 'resync' },
      { tenant: 'b', kind: 'resync' },
    ]);
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'catchup', stream_seq = 0, commit_lsn = NULL WHERE tenant = 'b'`,
    );
    await world.source.query(`INSERT INTO doc VALUES ('b', 1, 1)`);
    await world.capture();
    await world.waitFor('b is live', async () => (await world.row('b'))['feed'] === 'live');
    await world.settled();
    await world.same(['doc'], `tenant = 'b'`);
  });
});

describe('barriers', () => {
  it('for all come out of the main lane behind everything before them', async () => {
    await world.start();
    const heard: Record<string, unknown>[] = [];
    world.bus.nc.subscribe('drover.applied.west', { callback: (_, m) => void heard.push(m.json()) });
    await world.bus.nc.flush();
    await world.source.query(`INSERT INTO doc SELECT 'a', i, 1 FROM generate_series(1, 500) i`);
    await world.source.query(
      `SELECT pg_logical_emit_message(true, 'drover.barrier', '{"tenant":"*","id":"all"}')`,
    );
    await world.capture();
    await world.waitFor('it is announced', async () => heard.length > 0);
    expect((await world.target.query('SELECT FROM doc')).rowCount).toBe(500);
    expect(heard).toMatchObject([{ tenant: '*', id: 'all', source: 'east', partition: 0, stale: false }]);
  });
});

it('a tenant whose block is damaged stops, the others go on', async () => {
  await world.start();
  await world.bus.js.publish('drover.cdc.east.0.a', Buffer.from('garbage'));
  await world.waitFor('a is parked', async () => (await world.row('a'))['feed'] === 'parked');
  expect((await world.row('a'))['reason']).toMatch(/^block.corrupt/);
  expect(await world.row('b')).toMatchObject({ feed: 'live' });
});
