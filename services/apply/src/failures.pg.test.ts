import { callPaged, callRpc } from '@drover/bus';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeWorld, type World } from './world.testing.ts';

const SQL = `
CREATE TABLE item (tenant text, id int, v int, note text, PRIMARY KEY (tenant, id));
CREATE TABLE other (tenant text, id int, PRIMARY KEY (tenant, id));`;
const TABLES = ['item', 'other'];

let world: World;
let round = 0;
beforeEach(async () => {
  round = 0;
  world = await makeWorld(SQL);
  for (const tenant of ['a', 'b', 'c', 'd', 'e']) await world.tenant(tenant);
});
afterEach(() => world.close());

const load = async (rounds: number, rows = 20): Promise<void> => {
  for (const end = round + rounds; round < end; round++) {
    const i = round;
    for (const tenant of ['a', 'b', 'c', 'd', 'e']) {
      await world.source.query(
        `INSERT INTO item SELECT $1, $2::int * 1000 + g, g FROM generate_series(1, $3::int) g`,
        [tenant, i, rows],
      );
      await world.source.query(`UPDATE item SET v = v + 1 WHERE tenant = $1 AND id % 3 = 0`, [tenant]);
      await world.source.query(
        `DELETE FROM item WHERE tenant = $1 AND id < 100000 AND id % 7 = $2::int % 7`,
        [tenant, i],
      );
    }
    await world.capture({ single: i % 2 === 0 });
  }
};

describe('exactly once (I2, I10)', () => {
  for (const step of ['written', 'before-commit', 'committed']) {
    it(`survives a crash ${step}, again and again`, async () => {
      let crashes = 0;
      let calls = 0;
      await world.start({
        failpoint: (at) => {
          if (at !== step || ++calls % 3 !== 0 || crashes >= 15) return;
          crashes++;
          throw new Error(`crash at ${at}`);
        },
      });
      await load(8);
      await world.settled();
      // How many batches that made depends on the machine: each further round is one at least.
      for (let more = 0; crashes < 3 && more < 40; more++) {
        await load(1);
        await world.settled();
      }
      await world.same(TABLES);
      expect(crashes).toBeGreaterThan(2);
      expect(await world.ledger()).toEqual([]);
    });
  }

  it('survives its backends being killed, and being started anew on what was left', async () => {
    const first = await world.start();
    const killer = (async () => {
      for (let i = 0; i < 12; i++) {
        await new Promise((resolve) => setTimeout(resolve, 60));
        await world.target.query(
          `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drover_apply' AND datname = current_database()`,
        );
      }
    })();
    await load(6);
    await killer;
    await first.stop();
    await load(1);
    await world.start();
    await world.settled();
    await world.same(TABLES);
    expect(await world.ledger()).toEqual([]);
  });
});

describe('poison (I7, I8)', () => {
  it('parks its tenant only, can be retried once mended, and then goes on', async () => {
    await world.start();
    await world.target.query(`ALTER TABLE item ADD CONSTRAINT small CHECK (v < 500)`);
    await load(2);
    await world.source.query(`INSERT INTO item VALUES ('b', 9000, 1)`);
    await world.source.query(
      `BEGIN; INSERT INTO item VALUES ('b', 9001, 2), ('b', 9002, 777); INSERT INTO item VALUES ('c', 9001, 3); COMMIT`,
    );
    await world.source.query(`INSERT INTO item VALUES ('b', 9003, 4)`);
    await load(1);
    await world.waitFor('b is parked', async () => (await world.row('b'))['feed'] === 'parked');
    await world.settled();
    await world.same(['item'], `tenant <> 'b'`);
    const { rows } = await world.target.query(
      `SELECT id FROM item WHERE tenant = 'b' AND id >= 9000 ORDER BY id`,
    );
    expect(rows).toEqual([{ id: 9000 }]);
    const [entry, ...more] = await world.ledger();
    expect(more).toEqual([]);
    expect(entry).toMatchObject({ tenant: 'b', source: 'east', kind: 'poison', status: 'open' });
    expect(entry?.['reason']).toMatch(/apply.conflict.*small/);
    expect(entry?.['detail']).toMatchObject({ sqlstate: '23514', total: 2, truncated: false });
    const { changes } = entry!['detail'] as { changes: unknown[] };
    expect(changes[1]).toEqual({
      table: 'public.item',
      op: 'insert',
      new: { tenant: 'b', id: 9002, v: 777, note: null },
    });

    // A retry that fails again leaves one row.
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup' WHERE tenant = 'b'`);
    await callRpc(world.bus, 'apply.west.nudge', { tenant: 'b' }, { timeoutMs: 30_000 });
    await world.waitFor('b is parked again', async () => (await world.row('b'))['feed'] === 'parked');
    expect(await world.ledger()).toHaveLength(1);

    await world.target.query(`ALTER TABLE item DROP CONSTRAINT small`);
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup' WHERE tenant = 'b'`);
    await callRpc(world.bus, 'apply.west.nudge', { tenant: 'b' }, { timeoutMs: 30_000 });
    await world.waitFor('b is live', async () => (await world.row('b'))['feed'] === 'live');
    await load(1);
    await world.settled();
    await world.same(TABLES);
    expect(await world.ledger()).toMatchObject([{ status: 'resolved' }]);
  });

  it('can be skipped on record', async () => {
    await world.start();
    await world.target.query(`INSERT INTO item VALUES ('a', 5, 5)`);
    await world.source.query(`INSERT INTO item VALUES ('a', 4, 4)`);
    await world.source.query(`INSERT INTO item VALUES ('a', 5, 6)`);
    await world.source.query(`INSERT INTO item VALUES ('a', 6, 6)`);
    await world.capture();
    await world.waitFor('a is parked', async () => (await world.row('a'))['feed'] === 'parked');
    await world.target.query(
      `UPDATE drover.tenant t SET feed = 'catchup', skip_lsn = (SELECT commit_lsn FROM drover.ledger WHERE tenant = 'a') WHERE tenant = 'a'`,
    );
    await world.waitFor('a is live', async () => (await world.row('a'))['feed'] === 'live');
    const { rows } = await world.target.query(`SELECT id, v FROM item WHERE tenant = 'a' ORDER BY id`);
    expect(rows).toEqual([
      { id: 4, v: 4 },
      { id: 5, v: 5 },
      { id: 6, v: 6 },
    ]);
    expect(await world.ledger()).toMatchObject([
      { kind: 'poison', status: 'skipped' },
      { kind: 'skipped', status: 'skipped', detail: { total: 1 } },
    ]);
  });

  it('is a row that is missing', async () => {
    await world.start();
    await world.source.query(`INSERT INTO item VALUES ('a', 1, 1), ('b', 1, 1)`);
    await world.capture();
    await world.settled();
    await world.target.query(`DELETE FROM item WHERE tenant = 'a'`);
    await world.source.query('UPDATE item SET v = 2');
    await world.capture();
    await world.waitFor('a is parked', async () => (await world.row('a'))['feed'] === 'parked');
    expect((await world.row('a'))['reason']).toMatch(/^apply.missing_row: UPDATE on public.item/);
    await world.settled();
    await world.same(['item'], `tenant = 'b'`);
  });

  it('is a table or a column that the replica lacks', async () => {
    await world.target.query('DROP TABLE other; ALTER TABLE item DROP COLUMN note');
    await world.start();
    await world.source.query(`INSERT INTO other VALUES ('a', 1)`);
    await world.source.query(`INSERT INTO item VALUES ('b', 1, 1, 'x')`);
    await world.capture();
    for (const [tenant, reason] of [
      ['a', /apply.schema: the replica has no table public.other/],
      ['b', /apply.schema: the replica's table public.item has no column "note"/],
    ] as const) {
      await world.waitFor(`${tenant} is parked`, async () => (await world.row(tenant))['feed'] === 'parked');
      expect((await world.row(tenant))['reason']).toMatch(reason);
    }
    await world.target.query(
      'CREATE TABLE other (tenant text, id int, PRIMARY KEY (tenant, id)); ALTER TABLE item ADD note text',
    );
    await world.target.query('GRANT ALL ON other TO drover_apply');
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup' WHERE feed = 'parked'`);
    await world.settled();
    await world.same(TABLES);
  });
});

describe('epochs', () => {
  it('keeps the writes of an ended epoch in the ledger, once', async () => {
    await world.source.query(`INSERT INTO item VALUES ('a', 1, 1), ('b', 1, 1)`);
    await world.capture();
    const first = await world.start();
    await world.settled();
    await world.target.query(`SELECT drover.open_tenant('a', 2)`);
    await world.source.query(`INSERT INTO item VALUES ('a', 2, 2, 'tail')`);
    await world.source.query(`UPDATE item SET v = 3 WHERE tenant = 'a' AND id = 1`);
    await world.source.query(
      `SELECT pg_logical_emit_message(true, 'drover.barrier', '{"tenant":"a","id":"end"}')`,
    );
    const heard: unknown[] = [];
    world.bus.nc.subscribe('drover.applied.west', { callback: (_, m) => void heard.push(m.json()) });
    await world.bus.nc.flush();
    await world.capture();
    await world.waitFor('the barrier is announced', async () => heard.length > 0);
    expect(heard).toMatchObject([{ tenant: 'a', source: 'east', id: 'end', stale: true }]);
    await first.stop();
    await world.target.query('UPDATE drover.stream_position SET stream_seq = 0');
    await world.start();
    await world.settled();
    const ledger = await world.ledger();
    expect(ledger).toMatchObject([
      {
        kind: 'stale_epoch',
        tenant: 'a',
        status: 'open',
        detail: { changes: [{ op: 'insert', new: { id: 2, note: 'tail' } }] },
      },
      { kind: 'stale_epoch', tenant: 'a', detail: { changes: [{ op: 'update', new: { id: 1, v: 3 } }] } },
    ]);
    expect((await world.target.query(`SELECT v FROM item WHERE tenant = 'a'`)).rows).toEqual([{ v: 1 }]);
  });

  it('holds what a newer epoch wrote until the row follows', async () => {
    await world.start();
    await world.source.query(`INSERT INTO item VALUES ('a', 1, 1)`);
    await world.capture();
    await world.source.query(`INSERT INTO item VALUES ('a', 2, 2)`);
    await world.capture({ epoch: 3 });
    await world.waitFor('a is held', async () => (await world.row('a'))['feed'] === 'held');
    expect(await world.row('a')).toMatchObject({ reason: 'epoch:3' });
    await world.source.query(`INSERT INTO item VALUES ('a', 3, 3)`);
    await world.capture({ epoch: 3 });
    await world.target.query(`UPDATE drover.tenant SET epoch = 3 WHERE tenant = 'a'`);
    await world.settled();
    await world.waitFor('a is live', async () => (await world.row('a'))['feed'] === 'live');
    await world.same(TABLES);
    expect(await world.ledger()).toEqual([]);
  });
});

describe('lanes', () => {
  it('a transaction of many parts is visible whole, and survives a crash between its parts', async () => {
    let crashes = 0;
    let parts = 0;
    await world.start({
      failpoint: (at) => {
        if (at === 'part-written' && ++parts % 4 === 3 && crashes < 3) {
          crashes++;
          throw new Error('crash between parts');
        }
      },
    });
    await load(1);
    await world.source.query(`BEGIN; INSERT INTO item SELECT 'a', 100000 + g, 0, 'big' FROM generate_series(1, 5000) g;
      UPDATE item SET v = 1 WHERE tenant = 'a' AND id > 102500; DELETE FROM item WHERE tenant = 'a' AND id > 104900; COMMIT`);
    const seen = new Set<number>();
    let watching = true;
    const watch = (async () => {
      while (watching) {
        seen.add(
          (await world.target.query(`SELECT count(*)::int AS n FROM item WHERE note = 'big'`)).rows[0].n,
        );
      }
    })();
    await world.capture({ partBytes: 20_000 });
    await load(1);
    await world.settled();
    watching = false;
    await watch;
    expect([...seen].every((n) => n === 0 || n === 4900)).toBe(true);
    expect(crashes).toBe(3);
    await world.same(TABLES);
  });

  it('a tenant catches up while the stream flows, and is handed over exactly', async () => {
    await world.target.query(
      `UPDATE drover.tenant SET feed = 'copying', stream_seq = 0 WHERE tenant IN ('a', 'b')`,
    );
    await world.start();
    await load(3);
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup' WHERE tenant IN ('a', 'b')`);
    await load(6);
    await world.settled();
    await world.waitFor('all are live', async () => {
      const { rows } = await world.target.query(
        `SELECT count(*)::int AS n FROM drover.tenant WHERE feed = 'live'`,
      );
      return rows[0].n === 5;
    });
    await load(1);
    await world.settled();
    await world.same(TABLES);
    expect(await world.ledger()).toEqual([]);
  });

  it('meets rows that a copy has brought already, up to lenient_until', async () => {
    await load(2);
    await world.source.query(`UPDATE item SET id = id + 500000 WHERE tenant = 'a' AND id % 5 = 0`);
    await world.source.query(`DELETE FROM item WHERE tenant = 'a' AND id % 4 = 0`);
    const { rows } = await world.source.query('SELECT * FROM item');
    for (const r of rows)
      await world.target.query('INSERT INTO item VALUES ($1, $2, $3, $4)', [r.tenant, r.id, r.v, r.note]);
    await world.source.query(`UPDATE item SET v = 99 WHERE id % 2 = 0`);
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup', lenient_until = $1`, [
      (await world.source.query('SELECT pg_current_wal_insert_lsn()::text AS lsn')).rows[0].lsn,
    ]);
    await world.source.query(`UPDATE item SET v = 100 WHERE id % 3 = 0`);
    await world.capture({ single: true });
    await world.start();
    await world.settled();
    await world.same(TABLES);
    expect(await world.ledger()).toEqual([]);
  });

  it('pauses exactly at a barrier, until it is let go', async () => {
    await world.start();
    await load(1);
    await world.source.query(
      `SELECT pg_logical_emit_message(true, 'drover.barrier', '{"tenant":"a","id":"v1","pauseFor":{"target":"west","ms":600000}}')`,
    );
    await world.source.query(`INSERT INTO item VALUES ('a', 777777, 1), ('b', 777777, 1)`);
    await world.capture();
    await world.waitFor('a is held', async () => (await world.row('a'))['reason'] === 'pause:v1');
    await world.waitFor(
      'b goes on',
      async () =>
        (await world.target.query(`SELECT FROM item WHERE id = 777777 AND tenant = 'b'`)).rowCount === 1,
    );
    expect((await world.target.query(`SELECT FROM item WHERE id = 777777 AND tenant = 'a'`)).rowCount).toBe(
      0,
    );
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE tenant = 'a'`);
    await world.waitFor('a is live', async () => (await world.row('a'))['feed'] === 'live');
    await world.settled();
    await world.same(TABLES);
  });

  it('goes on by itself when a pause is over', async () => {
    await world.start();
    await load(1);
    const held = await world.notesHeld();
    await world.source.query(
      `SELECT pg_logical_emit_message(true, 'drover.barrier', '{"tenant":"a","id":"v1","pauseFor":{"target":"west","ms":400}}')`,
    );
    await world.source.query(`INSERT INTO item VALUES ('a', 777777, 1), ('b', 777777, 1)`);
    await world.capture();
    await world.waitFor('a was held', async () => (await held()).has('a pause:v1'));
    await world.waitFor('a is live', async () => (await world.row('a'))['feed'] === 'live');
    await world.settled();
    await world.same(TABLES);
  });
});

it('answers how far each tenant is', async () => {
  await world.start();
  await load(1);
  await world.source.query(
    `SELECT pg_logical_emit_message(true, 'drover.heartbeat', json_build_object('at', ${Date.now()})::text)`,
  );
  await world.capture();
  await world.settled();
  const lag = (await callPaged(world.bus, 'apply.west.lag', {}, { timeoutMs: 30_000 })) as Record<
    string,
    unknown
  >[];
  expect(lag).toHaveLength(5);
  expect(lag[0]).toMatchObject({ tenant: 'a', source: 'east', epoch: 1, feed: 'live', reason: null });
  expect(lag[0]?.['lagSeconds']).toBeLessThan(100);
  const one = await callPaged(world.bus, 'apply.west.lag', { tenant: 'b' }, { timeoutMs: 30_000 });
  expect(one).toMatchObject([{ tenant: 'b' }]);
  await world.target.query(
    `INSERT INTO drover.tenant (tenant, epoch, role, open, source, feed, reason, updated_at)
     SELECT 'many' || n, 1, 'replica', false, 'east', 'parked', repeat('why ', 1000), now() FROM generate_series(1, 10000) n`,
  );
  const many = await callPaged(world.bus, 'apply.west.lag', {}, { timeoutMs: 30_000 });
  expect(many).toHaveLength(10_005);
  expect(many.at(-1)).toMatchObject({ tenant: 'many9999', feed: 'parked', reason: 'why '.repeat(250) });
  const status = await callPaged(world.bus, 'apply.west.status', {}, { timeoutMs: 30_000 });
  expect(status).toHaveLength(2);
});
