/** How a stream stays alive, moves the slot on, and ends. The server's patience is four seconds. */
import { LSN_MAX, type Lsn, parseLsn, sleep } from '@drover/core';
import { ownPostgres, type TestPostgres, testPostgres } from '@drover/testkit';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { readSlot } from './slot.ts';
import { type Captured, captured, eventually, reading } from './stream-fixture.ts';
import type { ReplicationStream } from './types.ts';

const SETTINGS = { wal_sender_timeout: '4s' };

let server: TestPostgres;
let source: Captured;
const open: ReplicationStream[] = [];
const start = async (options: Parameters<Captured['open']>[0] = {}) => {
  const stream = await source.open(options);
  open.push(stream);
  return stream;
};
const walsender = async () => (await readSlot(source.client, source.slot)).activePid;

beforeAll(async () => {
  server = await testPostgres({ settings: SETTINGS });
});
beforeEach(async () => {
  source = await captured(server);
});
afterEach(async () => {
  for (const stream of open.splice(0)) await stream.close();
  await source.end();
});

describe('back-pressure', () => {
  test('a pause of three times wal_sender_timeout keeps the connection, with 40 MB waiting', async () => {
    const stream = await start();
    const seen = reading(stream);
    await source.client.query(`INSERT INTO public.item VALUES (0, '')`);
    await eventually('the first row arrives', () => seen.commits.length === 1);
    const pid = await walsender();
    stream.pause();
    await source.client.query(
      `INSERT INTO public.item SELECT i, repeat('x', 20000) FROM generate_series(1, 2000) i`,
    );
    await sleep(12_500);
    expect(seen.commits).toHaveLength(1);
    expect(seen.count('insert')).toBeLessThan(100); // no more than what had been read already
    expect(await walsender()).toBe(pid);
    stream.resume();
    await eventually('all rows arrive', () => seen.commits.length === 2);
    expect(seen.ids()).toEqual(Array.from({ length: 2001 }, (_, i) => i));
    expect(await walsender()).toBe(pid);
  });

  test('confirming goes on while paused', async () => {
    const stream = await start();
    const seen = reading(stream);
    await source.client.query(`INSERT INTO public.item VALUES (1, '')`);
    await eventually('the row arrives', () => seen.commits.length === 1);
    stream.pause();
    stream.confirm(seen.commits[0] as Lsn);
    await eventually('the slot moves', async () => (await source.confirmedFlush()) === seen.commits[0]);
  });
});

describe('the slot', () => {
  test('stays where it is until somebody confirms, however long', async () => {
    const before = await source.confirmedFlush();
    const seen = reading(await start());
    await source.client.query(`INSERT INTO public.item VALUES (1, '')`);
    await eventually('the row arrives', () => seen.commits.length === 1);
    await sleep(3_000); // several status reports
    expect(await source.confirmedFlush()).toBe(before);
  });

  test('moves on over what is not captured, when keepalives are confirmed', async () => {
    const stream = await start();
    reading(stream, (walEnd) => stream.confirm(walEnd));
    await source.client.query(
      `INSERT INTO public.noise SELECT repeat('x', 1000) FROM generate_series(1, 5000)`,
    );
    const { rows } = await source.client.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn');
    const end = parseLsn(rows[0]?.lsn ?? '');
    await eventually('confirmed_flush passes the noise', async () => (await source.confirmedFlush()) >= end);
  });

  test('is never confirmed beyond what was received', async () => {
    const stream = await start();
    expect(() => stream.confirm(LSN_MAX)).toThrow(expect.objectContaining({ code: 'internal.assertion' }));
    expect(stream.confirmed).toBe(0n);
  });
});

describe('an idle stream', () => {
  test('hears of the server though nobody writes, and stays up', async () => {
    const seen = reading(await start());
    const pid = await walsender();
    await eventually('it is heard of', () => seen.keepalives.length >= 4);
    expect(await walsender()).toBe(pid);
  });
});

describe('refused', () => {
  test('slot missing', async () => {
    await expect(source.open({ slot: 'nowhere' })).rejects.toMatchObject({ code: 'pg.slot_missing' });
  });

  test('slot active, with the holder', async () => {
    await start();
    const pid = await walsender();
    expect(pid).toBeGreaterThan(0);
    await expect(source.open()).rejects.toMatchObject({ code: 'pg.slot_active', facts: { pid } });
  });

  test('slot of another plugin, of another database', async () => {
    const { client, slot } = source;
    await client.query(`SELECT pg_create_logical_replication_slot('${slot}_x', 'test_decoding')`);
    const wrong = source.open({ slot: `${slot}_x` });
    await expect(wrong).rejects.toMatchObject({ code: 'pg.not_set_up' });
    await client.query(`SELECT pg_drop_replication_slot('${slot}_x')`);
    const elsewhere = source.open({ connect: server.connection('postgres') });
    await expect(elsewhere).rejects.toMatchObject({ code: 'pg.not_set_up' });
  });

  test('wrong password; a role that may not replicate; one that may', async () => {
    const user = await server.createUser();
    const connect = server.connection(source.database, user);
    await expect(source.open({ connect: { ...connect, password: 'x' } })).rejects.toMatchObject({
      code: 'pg.auth',
    });
    await expect(source.open({ connect })).rejects.toMatchObject({ code: 'pg.auth' });
    await source.client.query(`ALTER ROLE ${user} REPLICATION`);
    await start({ connect });
    expect(await walsender()).toBeGreaterThan(0);
  });

  test('no publication: said when the first change is decoded', async () => {
    const own = await ownPostgres({ major: 17 }); // 18 only warns and sends nothing
    const other = await captured(own);
    await other.client.query('DROP PUBLICATION drover');
    const stream = await other.open();
    const seen = reading(stream);
    await other.client.query(`INSERT INTO public.item VALUES (1, '')`);
    await expect(seen.done).rejects.toMatchObject({ code: 'pg.not_set_up' });
    await own.stop();
  });
});

describe.each([16, 17, 18] as const)('a slot that lost its WAL (PostgreSQL %i)', (major) => {
  test('is pg.slot_lost, with the reason', async () => {
    const own = await ownPostgres({
      major,
      settings: { max_slot_wal_keep_size: '1MB', min_wal_size: '32MB' },
    });
    const lost = await captured(own);
    for (let i = 0; i < 3; i++) {
      await lost.client.query(
        `INSERT INTO public.noise SELECT repeat('x', 1000) FROM generate_series(1, 20000)`,
      );
      await lost.client.query('SELECT pg_switch_wal()');
    }
    await lost.client.query('CHECKPOINT');
    const slot = await readSlot(lost.client, lost.slot);
    expect(slot).toMatchObject({ walStatus: 'lost', invalidationReason: 'wal_removed' });
    await expect(lost.open()).rejects.toMatchObject({
      code: 'pg.slot_lost',
      facts: { reason: 'wal_removed' },
    });
    await own.stop();
  });
});

describe('the end', () => {
  test('close leaves the slot free and the read resolved', async () => {
    const stream = await start();
    const seen = reading(stream);
    await source.client.query(
      `INSERT INTO public.item SELECT i, repeat('x', 5000) FROM generate_series(1, 5000) i`,
    );
    stream.pause(); // with megabytes unread
    await stream.close();
    await seen.done;
    expect((await readSlot(source.client, source.slot)).active).toBe(false);
    await stream.close(); // again: nothing
  });

  test('a signal closes it; an aborted one refuses', async () => {
    const controller = new AbortController();
    const seen = reading(await start({ signal: controller.signal }));
    controller.abort();
    await seen.done;
    await expect(source.open({ signal: controller.signal })).rejects.toMatchObject({
      code: 'internal.cancelled',
    });
  });

  test('a killed walsender is pg.unreachable', async () => {
    const seen = reading(await start());
    await source.client.query('SELECT pg_terminate_backend($1)', [await walsender()]);
    await expect(seen.done).rejects.toMatchObject({ code: 'pg.unreachable' });
  });

  test('a killed walsender is noticed while paused', async () => {
    const stream = await start();
    const seen = reading(stream);
    stream.pause();
    await source.client.query('SELECT pg_terminate_backend($1)', [await walsender()]);
    await expect(seen.done).rejects.toMatchObject({ code: 'pg.unreachable' });
  });

  test('what the handler throws rejects the read and frees the slot', async () => {
    const stream = await start();
    const bug = new Error('bug');
    const done = stream.read({
      data: () => {
        throw bug;
      },
      keepalive: () => {},
      batchEnd: () => {},
    });
    done.catch(() => {});
    await source.client.query(`INSERT INTO public.item VALUES (1, '')`);
    await expect(done).rejects.toBe(bug);
    await eventually('the slot is free', async () => !(await readSlot(source.client, source.slot)).active);
  });

  test('a server that shuts down is not held up once all is confirmed, and ends the stream', async () => {
    const own = await ownPostgres({ settings: SETTINGS });
    const other = await captured(own);
    const stream = await other.open();
    const seen = reading(stream, (walEnd) => stream.confirm(walEnd));
    await other.client.query(`INSERT INTO public.noise VALUES ('x')`);
    await other.client.end();
    const before = performance.now();
    await own.server.stop('fast');
    expect(performance.now() - before).toBeLessThan(30_000); // it would wait for as long as the stream lives
    await expect(seen.done).rejects.toMatchObject({ code: 'pg.unreachable' });
  });
});
