/** What comes out of a stream, on every major PostgreSQL that is supported. */
import { type TestPostgres, testPostgres } from '@drover/testkit';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { emitBarrier } from '../emit.ts';
import { type Captured, captured, eventually, reading } from './stream-fixture.ts';
import type { ReplicationStream } from './types.ts';

describe.each([16, 17, 18] as const)('PostgreSQL %i', (major) => {
  let server: TestPostgres;
  let source: Captured;
  const open: ReplicationStream[] = [];

  beforeAll(async () => {
    server = await testPostgres({ major });
  });
  beforeEach(async () => {
    source = await captured(server);
  });
  afterEach(async () => {
    for (const stream of open.splice(0)) await stream.close();
    await source.end();
  });
  const start = async () => {
    const stream = await source.open();
    open.push(stream);
    return stream;
  };

  test('10,000 rows in binary, each once and in order', async () => {
    const stream = await start();
    const seen = reading(stream);
    await source.client.query(
      `INSERT INTO public.item SELECT i, 'body ' || i FROM generate_series(1, 10000) i`,
    );
    await eventually('the commit arrives', () => seen.commits.length === 1);
    expect(seen.ids()).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1));
    const last = seen.events.findLast((event) => event[0] === 'insert');
    expect(last?.[2]).toEqual(['b:00002710', `b:${Buffer.from('body 10000').toString('hex')}`]);
    expect(seen.events.map((event) => event[0]).slice(0, 3)).toEqual(['begin', 'relation', 'insert']);
  });

  test('identifies the cluster', async () => {
    const stream = await start();
    const { rows } = await source.client.query(
      'SELECT system_identifier::text AS id, timeline_id AS timeline FROM pg_control_system(), pg_control_checkpoint()',
    );
    expect({ id: stream.systemId, timeline: stream.timeline }).toEqual(rows[0]);
    expect(stream.slot).toMatchObject({ exists: true, plugin: 'pgoutput', database: source.database });
  });

  test('every kind of message', async () => {
    const seen = reading(await start());
    const { client } = source;
    await client.query(
      `CREATE TYPE public.mood AS ENUM ('sad', 'ok'); ALTER TABLE public.item ADD m public.mood`,
    );
    await client.query(`INSERT INTO public.item VALUES (1, repeat('x', 9000), 'ok')`);
    await client.query(`UPDATE public.item SET m = 'sad' WHERE id = 1`);
    await client.query('UPDATE public.item SET id = 2 WHERE id = 1');
    await client.query('DELETE FROM public.item WHERE id = 2');
    await client.query('ALTER TABLE public.item REPLICA IDENTITY FULL');
    await client.query(`INSERT INTO public.item VALUES (3, 'é', NULL)`);
    await client.query('UPDATE public.item SET body = NULL WHERE id = 3');
    await client.query('TRUNCATE public.item RESTART IDENTITY');
    const lsn = await emitBarrier(client, { tenant: 't', id: 'last' });
    await eventually('the barrier arrives', () => seen.count('message') === 1);

    const changes = seen.events.filter((e) => ['insert', 'update', 'delete'].includes(String(e[0])));
    const x = `b:${'78'.repeat(9000)}`;
    expect(changes.map((e) => [e[0], ...e.slice(2)])).toEqual([
      ['insert', ['b:00000001', x, 'b:6f6b']],
      ['update', null, null, ['b:00000001', 'u', 'b:736164']],
      ['update', 'K', ['b:00000001', 'n', 'n'], ['b:00000002', 'u', 'b:736164']],
      ['delete', 'K', ['b:00000002', 'n', 'n']],
      ['insert', ['b:00000003', 'b:c3a9', 'n']],
      ['update', 'O', ['b:00000003', 'b:c3a9', 'n'], ['b:00000003', 'n', 'n']],
    ]);
    const { rows } = await client.query(`SELECT 'public.item'::regclass::oid::int AS oid`);
    expect(seen.events.find((e) => e[0] === 'truncate')).toEqual(['truncate', [rows[0]?.oid], 2]);
    expect(seen.events.find((e) => e[0] === 'type')?.slice(2)).toEqual(['public', 'mood']);
    const identities = seen.events.flatMap((e) =>
      e[0] === 'relation' ? [(e[2] as { identity: string }).identity] : [],
    );
    expect([identities[0], identities.at(-1)]).toEqual(['d', 'f']);
    const hex = lsn.toString(16).toUpperCase();
    const message = seen.events.find((e) => e[0] === 'message');
    expect(message?.slice(1, 4)).toEqual([true, `0/${hex}`, 'drover.barrier']);
  });

  test('what was replicated here from elsewhere does not come out', async () => {
    const seen = reading(await start());
    const { client, slot } = source;
    await client.query(
      `SELECT pg_replication_origin_create('${slot}'), pg_replication_origin_session_setup('${slot}')`,
    );
    await client.query(`INSERT INTO public.item VALUES (1, 'from elsewhere')`);
    await client.query('SELECT pg_replication_origin_session_reset()');
    await client.query(`INSERT INTO public.item VALUES (2, 'from here')`);
    await eventually('the local row arrives', () => seen.count('insert') === 1);
    expect(seen.ids()).toEqual([2]);
    expect(seen.count('origin')).toBe(0);
    await client.query(`SELECT pg_replication_origin_drop('${slot}')`);
  });

  test('transactions come in commit order, though the later one began first', async () => {
    const seen = reading(await start());
    const other = await server.connect(source.database);
    await source.client.query('BEGIN');
    await source.client.query(`INSERT INTO public.item VALUES (1, 'early')`);
    await other.query(`INSERT INTO public.item VALUES (2, 'late')`);
    await source.client.query('COMMIT');
    await other.end();
    await eventually('both arrive', () => seen.commits.length === 2);
    expect(seen.ids()).toEqual([2, 1]);
    expect(seen.commits[1]).toBeGreaterThan(seen.commits[0] ?? 0n);
  });

  test('a row of 5 MB, and small ones around it', async () => {
    const seen = reading(await start());
    await source.client.query(
      `INSERT INTO public.item VALUES (1, 'a'), (2, repeat('0123456789', 524288)), (3, 'c')`,
    );
    await eventually('the commit arrives', () => seen.commits.length === 1);
    const bodies = seen.events.flatMap((e) => (e[0] === 'insert' ? [(e[2] as string[])[1]] : []));
    expect(bodies.map((body) => body?.length)).toEqual([4, 2 + 2 * 5_242_880, 4]);
    expect(bodies[1]).toBe(`b:${'30313233343536373839'.repeat(524_288)}`);
  });

  test('what was confirmed is not sent again, what was not is', async () => {
    const first = await start();
    const seen = reading(first);
    for (const id of [1, 2, 3]) await source.client.query(`INSERT INTO public.item VALUES (${id}, '')`);
    await eventually('all arrive', () => seen.commits.length === 3);
    const [, second] = seen.commits;
    first.confirm(second as never);
    first.confirm(seen.commits[0] as never); // earlier: ignored
    await first.close();
    await seen.done;
    expect(await source.confirmedFlush()).toBe(second);
    const again = reading(await start());
    await eventually('the third arrives again', () => again.commits.length === 1);
    expect(again.ids()).toEqual([3]);
  });

  test('from a position: the transaction that begins where the last one ended is not lost', async () => {
    const seen = reading(await start());
    await source.client.query(`INSERT INTO public.item VALUES (1, '')`);
    await source.client.query(`INSERT INTO public.item VALUES (2, '')`);
    await eventually('both arrive', () => seen.commits.length === 2);
    await open.pop()?.close();
    const stream = await source.open({ startLsn: seen.commits[0] as never });
    open.push(stream);
    const again = reading(stream);
    await eventually('the second arrives', () => again.commits.length === 1);
    expect(again.ids()).toEqual([2]);
  });
});
