/** What stands in a copy's way at the target or in the stream: told by name, nothing half done, mended when it can be. */
import { streamName } from '@drover/bus';
import { describeError } from '@drover/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CopyWorld, EAST, type Worker } from '../world.testing.ts';

const SQL = `
CREATE TABLE aaa (tenant text, id int, PRIMARY KEY (tenant, id));
CREATE TABLE note (tenant text, id int, body text, code text, PRIMARY KEY (tenant, id));
CREATE UNIQUE INDEX note_code ON note (code);`;

let world: CopyWorld;
let apply: Worker;
async function start(there = SQL): Promise<void> {
  world = await CopyWorld.start(SQL, there);
  apply = world.standIn();
}
afterEach(async () => {
  await apply.stop();
  await world.close();
});

async function filled(name = 'a') {
  const tenant = await world.tenant(name);
  await world.source.query(
    `INSERT INTO note SELECT $1, i, repeat('x', 1000), $1 || i FROM generate_series(1, 100) i`,
    [tenant],
  );
  await world.source.query('INSERT INTO aaa SELECT $1, i FROM generate_series(1, 5) i', [tenant]);
  return tenant;
}
/** As the log tells it. */
const failureOf = (copy: Promise<void>) => copy.then(() => 'none', describeError);
const failing = (step: string, at: number) => {
  let seen = 0;
  return async (reached: string) => {
    if (reached === step && ++seen === at) throw new Error('killed');
  };
};

describe('a unique key that is taken', () => {
  beforeEach(() => start());

  it('by the copy itself, in an older snapshot, begins it anew in one snapshot', async () => {
    const tenant = await filled();
    await expect(world.copy(tenant, { failpoint: failing('chunk', 6) })).rejects.toThrow('killed');
    // The value wanders from a row that was read to one that was not.
    await world.source.query(`UPDATE note SET code = NULL WHERE id = 3`);
    await world.source.query(`UPDATE note SET code = 'a3' WHERE id = 99`);
    expect(await failureOf(world.copy(tenant))).toMatch(/public\.note.*note_code/);
    expect(await world.record(tenant)).toMatchObject({
      state: 'restart',
      error: expect.stringContaining('note_code'),
    });
    await world.copy(tenant);
    await world.same(['note', 'aaa'], tenant);
    expect(await world.record(tenant)).toMatchObject({ state: 'done', attempt: 2, error: null });
  });

  it('by another tenant is told with table, constraint and value; nothing of the chunk is left', async () => {
    const tenant = await filled();
    await world.target.query(`INSERT INTO note VALUES ('b', 1, 'its own', 'a50')`);
    const begun = performance.now();
    // All rows in one chunk, so that much is unread when the target refuses.
    expect(await failureOf(world.copy(tenant, { chunkRows: 1000 }))).toMatch(/public\.note.*note_code/);
    // The value is tenants' data: in the database, not in logs and events.
    expect((await world.record(tenant))['error']).toMatch(/note_code.*\(a50\)/);
    expect(performance.now() - begun).toBeLessThan(60_000); // nobody reads on
    expect(await world.count(world.target, 'note', 'a')).toBe(0);
    expect(await world.count(world.target, 'note', 'b')).toBe(1);
    await world.target.query(`DELETE FROM note WHERE tenant = 'b'`);
    await world.copy(tenant);
    await world.same(['note', 'aaa'], tenant);
  });

  it('in the midst of a large chunk ends the attempt at once', async () => {
    const tenant = await filled();
    await world.source.query(
      `INSERT INTO note SELECT 'a', i, repeat('y', 200000), NULL FROM generate_series(101, 300) i`,
    );
    await world.target.query(`INSERT INTO note VALUES ('b', 1, 'its own', 'a2')`);
    await expect(world.copy(tenant, { chunkRows: 1000 })).rejects.toMatchObject({ code: 'copy.failed' });
    const { rows } = await world.source.query(
      `SELECT count(*)::int AS n FROM pg_stat_activity
       WHERE application_name = 'drover copy' AND state <> 'idle' AND datname = current_database()`,
    );
    expect(rows[0].n).toBeLessThanOrEqual(1); // the reader's backend may still be about to notice
  });
});

describe('a target that is made otherwise', () => {
  const OTHERWISE: readonly (readonly [string, string, RegExp])[] = [
    ['lacks the table', SQL.replace(/CREATE TABLE note[^;]*;[^;]*;/, ''), /public\.note.*lacks it/],
    ['lacks a column', SQL.replace(' body text,', ''), /public\.note.*lacks column "body"/],
    [
      'wants a value the source has not',
      SQL.replace('body text', 'body text, extra int NOT NULL'),
      /public\.note.*"extra".*NOT NULL/,
    ],
    ['has another type', SQL.replace('body text', 'body integer'), /public\.note.*integer.*text/],
  ];
  for (const [what, there, message] of OTHERWISE) {
    it(`because it ${what} is told before anything is touched`, async () => {
      await start(there);
      const tenant = await filled();
      await world.target.query(`INSERT INTO aaa VALUES ('a', 77)`);
      await expect(world.copy(tenant)).rejects.toMatchObject({
        code: 'copy.failed',
        message: expect.stringMatching(message),
        hint: expect.stringContaining('drover doctor'),
      });
      expect(await world.count(world.target, 'aaa', 'a')).toBe(1);
      expect(await world.row(tenant)).toBeUndefined();
      expect(await world.record(tenant)).toEqual({});
    });
  }

  it('only in a table that is not the tenant’s does not matter', async () => {
    await start(`${SQL} ALTER TABLE aaa ADD COLUMN harmless int DEFAULT 1`);
    const tenant = await filled();
    await world.copy(tenant);
    await world.same(['note'], tenant);
  });
});

describe('a schema change while a copy begins', () => {
  beforeEach(() => start());

  const CHANGES: readonly (readonly [string, string, string])[] = [
    ['a new column', 'ALTER TABLE note ADD extra int', 'UPDATE note SET extra = id'],
    [
      'a new table',
      'CREATE TABLE later (tenant text, id int, PRIMARY KEY (tenant, id))',
      `INSERT INTO later SELECT 'a', i FROM generate_series(1, 7) i`,
    ],
  ];
  for (const [what, change, rows] of CHANGES) {
    it(`begins it anew: ${what}, whose values are in neither the first look nor the stream`, async () => {
      const tenant = await filled();
      const changed = async (step: string) => {
        if (step !== 'stopped') return;
        await world.source.query(change);
        await world.target.query(change);
        await world.source.query(rows);
      };
      expect(await failureOf(world.copy(tenant, { failpoint: changed }))).toMatch(
        /was changed while the copy began/,
      );
      expect(await world.record(tenant)).toMatchObject({ state: 'restart' });
      await world.copy(tenant);
      await world.same(['note', 'aaa', ...(what === 'a new table' ? ['later'] : [])], tenant);
    });
  }
});

describe('settings of the cluster', () => {
  beforeEach(() => start());

  it('that end long statements and idle transactions do not end a copy', async () => {
    const tenant = await filled();
    for (const client of [world.source, world.target]) {
      const { rows } = await client.query('SELECT current_database() AS db');
      await client.query(`ALTER DATABASE "${rows[0].db}" SET idle_in_transaction_session_timeout = '100ms'`);
      await client.query(`ALTER DATABASE "${rows[0].db}" SET statement_timeout = '1s'`);
      await client.query(`ALTER DATABASE "${rows[0].db}" SET lock_timeout = '50ms'`);
    }
    await world.target.query(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NULL; END';
      CREATE TRIGGER slow AFTER INSERT ON note FOR EACH STATEMENT EXECUTE FUNCTION slow(); ALTER TABLE note ENABLE ALWAYS TRIGGER slow`);
    await world.copy(tenant, { chunkRows: 60 });
    await world.same(['note', 'aaa'], tenant);
  });
});

describe('rows whose values nobody has sent', () => {
  beforeEach(() => start());

  it('are read again, and the stream is followed from where the replica was, not from its end', async () => {
    await apply.stop();
    const tenant = await filled();
    const applied = await world.publish();
    let passes = 0;
    apply = world.standIn(async () => {
      if (++passes > 1) return;
      // Apply has met two rows it cannot make, and has come as far as `applied`; the stream goes on.
      await world.target.query('DELETE FROM note WHERE id IN (3, 4)');
      await world.target.query(`UPDATE note SET body = 'as applied' WHERE id = 5`);
      await world.target.query(
        `UPDATE drover.copy SET progress = jsonb_set(progress, '{missed}', $1) WHERE tenant = 'a'`,
        [JSON.stringify([3, 4].map((id) => ({ schema: 'public', table: 'note', key: { tenant: 'a', id } })))],
      );
      await world.target.query('UPDATE drover.tenant SET stream_seq = $1', [applied]);
      for (let i = 0; i < 5; i++) await world.publish();
    });
    let second: unknown;
    let prepared = 0;
    await world.copy(tenant, {
      failpoint: async (step) => {
        if (step === 'prepared' && ++prepared === 2) second = await world.row(tenant);
      },
    });
    expect(passes).toBe(2);
    expect(second).toMatchObject({ feed: 'copying', stream_seq: applied });
    expect(await world.row(tenant)).toMatchObject({ feed: 'live', stream_seq: applied });
    const { rows } = await world.target.query(
      `SELECT count(*)::int AS n, count(*) FILTER (WHERE body = 'as applied')::int AS kept FROM note WHERE tenant = 'a'`,
    );
    expect(rows[0]).toEqual({ n: 100, kept: 1 });
    expect(await world.stateOf(tenant)).toBe('live');
  });

  for (const step of ['noted', 'stopped', 'prepared', 'chunk', 'copied', 'following']) {
    it(`are not forgotten by a copy that dies at ${step} of the further pass`, async () => {
      await apply.stop();
      const tenant = await filled();
      let passes = 0;
      apply = world.standIn(async () => {
        if (++passes > 1) return;
        await world.target.query('DELETE FROM note WHERE id = 3');
        await world.target.query(
          `UPDATE drover.copy SET progress = jsonb_set(progress, '{missed}', $1) WHERE tenant = 'a'`,
          [JSON.stringify([{ schema: 'public', table: 'note', key: { tenant: 'a', id: 3 } }])],
        );
      });
      let further = false;
      await expect(
        world.copy(tenant, {
          failpoint: async (reached) => {
            if (reached === 'noted') further = true;
            if (further && reached === step) throw new Error('killed');
          },
        }),
      ).rejects.toThrow('killed');
      await world.copy(tenant);
      await world.same(['note', 'aaa'], tenant);
      expect(await world.stateOf(tenant)).toBe('live');
    });
  }
});

describe('a stream that has lost its past', () => {
  beforeEach(() => start());

  it('while the replica caught up begins the copy anew', async () => {
    await apply.stop();
    const tenant = await filled();
    let parked = false;
    apply = world.standIn(async () => {
      if (parked) return;
      parked = true;
      // Whoever sees the row parked sees the entry, too.
      await world.target.query(
        `INSERT INTO drover.ledger (tenant, source, kind, reason) VALUES ('a', 'east', 'resync', 'bus.truncated: messages were lost')`,
      );
      await world.target.query(
        `UPDATE drover.tenant SET feed = 'parked', reason = 'bus.truncated: messages were lost'`,
      );
    });
    await expect(world.copy(tenant)).rejects.toMatchObject({
      code: 'copy.failed',
      message: expect.stringContaining('bus.truncated'),
    });
    await world.copy(tenant);
    await world.same(['note'], tenant);
    expect(await world.record(tenant)).toMatchObject({ attempt: 2, state: 'done' });
  });

  it('as its reason alone says begins the copy anew: no retry brings it back', async () => {
    await apply.stop();
    const tenant = await filled();
    let parked = false;
    apply = world.standIn(async () => {
      if (parked) return;
      parked = true;
      await world.target.query(
        `UPDATE drover.tenant SET feed = 'parked', reason = 'bus.truncated: part 1 of a transaction is not there'`,
      );
    });
    await expect(world.copy(tenant)).rejects.toThrow('the copy begins anew');
    await world.copy(tenant);
    expect(await world.record(tenant)).toMatchObject({ attempt: 2, state: 'done' });
  });

  it.each([
    [
      'a source that was promoted',
      `UPDATE drover.copy SET snapshot = snapshot || '{"timeline": "00000000"}'`,
    ],
    ['a record of an older version', `UPDATE drover.copy SET snapshot = snapshot - 'timeline'`],
    [
      'a table that is another one',
      `UPDATE drover.copy SET progress = jsonb_set(progress, '{public.note,oid}', '1')`,
    ],
    [
      'a key that is another one',
      `UPDATE drover.copy SET progress = jsonb_set(progress, '{public.note,key}', '["body"]')`,
    ],
    [
      'a table that is not there',
      `UPDATE drover.copy SET progress = progress || '{"public.gone": {"oid": 1, "key": ["id"], "rows": 1, "cursor": ["1"], "done": false}}'`,
    ],
  ])('between two attempts, by %s, begins the copy anew', async (_, change) => {
    const tenant = await filled();
    await expect(world.copy(tenant, { failpoint: failing('chunk', 3) })).rejects.toThrow('killed');
    await world.target.query(change);
    await world.copy(tenant);
    expect(await world.record(tenant)).toMatchObject({ attempt: 2, state: 'done' });
    await world.same(['note', 'aaa'], tenant);
  });

  it('is found out at the end as well: a source that was promoted while it was copied', async () => {
    const tenant = await filled();
    const promoted = world.copy(tenant, {
      failpoint: async (step) => {
        if (step === 'following')
          await world.target.query(
            `UPDATE drover.copy SET snapshot = snapshot || '{"timeline": "00000000"}'`,
          );
      },
    });
    await expect(promoted).rejects.toThrow('was promoted meanwhile');
    await world.copy(tenant);
    expect(await world.record(tenant)).toMatchObject({ attempt: 2, state: 'done' });
  });

  it('by being made anew between two attempts begins the copy anew: its old position means nothing', async () => {
    for (let i = 0; i < 9; i++) await world.publish();
    const tenant = await filled();
    await expect(world.copy(tenant, { failpoint: failing('chunk', 3) })).rejects.toThrow('killed');
    const { config } = await world.bus.jsm.streams.info(streamName(EAST, 0));
    await world.bus.jsm.streams.delete(config.name);
    await world.bus.jsm.streams.add(config);
    await world.copy(tenant);
    expect(await world.row(tenant)).toMatchObject({ feed: 'live', stream_seq: 0 });
    expect(await world.record(tenant)).toMatchObject({ attempt: 2, state: 'done' });
    await world.same(['note', 'aaa'], tenant);
  });

  it('a poison change parks it and is told; a retry of the change lets the copy go on', async () => {
    await apply.stop();
    const tenant = await filled();
    let poison = true;
    apply = world.standIn(async () => {
      if (poison)
        await world.target.query(`UPDATE drover.tenant SET feed = 'parked', reason = 'value too long'`);
    });
    await expect(world.copy(tenant)).rejects.toMatchObject({
      code: 'copy.failed',
      message: expect.stringContaining('value too long'),
      hint: expect.stringContaining('drover ledger'),
    });
    poison = false;
    await world.target.query(`UPDATE drover.tenant SET feed = 'catchup', reason = NULL`);
    let rows = 0;
    await world.copy(tenant, {
      onRows: (more) => {
        rows += more;
      },
    });
    expect(rows).toBe(0);
    expect(await world.record(tenant)).toMatchObject({ attempt: 1, state: 'done' });
  });
});
