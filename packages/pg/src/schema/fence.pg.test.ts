/**
 * The fence under concurrency (I4): writers in every isolation level loop while another session closes and opens. The WAL is the
 * witness: what the capture slot brings out must never hold a change of an epoch behind that epoch's barrier.
 */
import { formatLsn, type Lsn } from '@drover/core';
import { testPostgres } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { slotName } from '../names.ts';
import { type Fixture, fixture } from '../setup/fixture.testing.ts';
import { closeTenant, openTenant } from './moves.ts';

const TABLES =
  'CREATE TABLE public.orders (tenant text NOT NULL, id bigint, epoch bigint NOT NULL, how text, PRIMARY KEY (tenant, id))';
const ROUNDS = 250;
const ROUNDS_MAX = 2500;

type Event =
  | { kind: 'insert'; epoch: number; how: string; commitLsn: bigint }
  | { kind: 'barrier'; epoch: number }
  | { kind: 'epoch'; epoch: number };

describe.each([16, 17, 18] as const)('the write fence on PostgreSQL %i', (major) => {
  let f: Fixture;
  beforeAll(async () => {
    f = await fixture(await testPostgres({ major, settings: { max_prepared_transactions: 20 } }), {
      sql: TABLES,
    });
  });
  afterAll(() => f.close());

  it(`lets no row commit behind its epoch's barrier, in ${ROUNDS} rounds`, { timeout: 300_000 }, async () => {
    let epoch = 1;
    let stop = false;
    let nextId = 0;
    const tally: Record<string, { written: number; refused: number }> = {};
    const barriers = new Map<number, Lsn>();
    await openTenant(f.admin, { tenant: 'acme', epoch });

    const writer = async (
      how: string,
      begin: string,
      body: (insert: () => Promise<unknown>) => Promise<unknown>,
      end = 'COMMIT',
    ) => {
      const s = await f.tenant();
      const count = { written: 0, refused: 0 };
      tally[how] = count;
      while (!stop) {
        const mine = epoch;
        await s.become('acme', mine);
        try {
          await s.client.query(begin);
          await body(() =>
            s.client.query('INSERT INTO public.orders VALUES ($1, $2, $3, $4)', [
              'acme',
              ++nextId,
              mine,
              how,
            ]),
          );
          await s.client.query(end.replace('$', `${f.database}_${how}`));
          if (end.startsWith('PREPARE')) await s.client.query(`COMMIT PREPARED '${f.database}_${how}'`);
          count.written++;
        } catch (error) {
          const code = (error as { code?: string }).code;
          if (code !== 'DR001' && code !== '40001') throw error;
          await s.client.query('ROLLBACK');
          count.refused++;
        }
      }
      await s.client.end();
    };
    const look = `SELECT count(*) FROM pg_catalog.pg_class`;
    const peek = async (s: () => Promise<unknown>, n: number) => {
      for (let i = 0; i < n; i++) await s();
    };
    const writers = [
      writer('rc', 'BEGIN', (insert) => insert()),
      writer('rc3', 'BEGIN', (insert) => peek(insert, 3)),
      writer('rr', 'BEGIN ISOLATION LEVEL REPEATABLE READ', (insert) => insert()),
      // The snapshot is taken long before the write.
      writer('rr_old', `BEGIN ISOLATION LEVEL REPEATABLE READ; ${look}; SELECT pg_sleep(0.002)`, (insert) =>
        insert(),
      ),
      writer('ser_old', `BEGIN ISOLATION LEVEL SERIALIZABLE; ${look}; SELECT pg_sleep(0.002)`, (insert) =>
        insert(),
      ),
      writer(
        'save',
        'BEGIN; SAVEPOINT a',
        async (insert) => {
          await insert();
        },
        'RELEASE a; COMMIT',
      ),
      writer('2pc', 'BEGIN', (insert) => insert(), "PREPARE TRANSACTION '$'"),
    ];
    const ended = Promise.all(writers);
    ended.catch(() => {
      stop = true; // seen when awaited below
    });
    // Every way of writing gets through and meets a closed fence: otherwise the test has shown nothing about it.
    const shown = () => Object.values(tally).every(({ written, refused }) => written > 10 && refused > 10);
    const more = (round: number) => round < ROUNDS || (round < ROUNDS_MAX && !shown());
    for (let round = 0; more(round) && !stop; round++) {
      // Varies where in the writers' transactions the close falls.
      await f.root.query('SELECT pg_sleep($1)', [(round % 11 === 0 ? 16 : round % 7) / 2000]);
      barriers.set(epoch, await closeTenant(f.admin, { tenant: 'acme', epoch, lockTimeoutMs: 20_000 }));
      if (round % 3 === 0) await f.root.query('SELECT pg_sleep(0.001)');
      await openTenant(f.admin, { tenant: 'acme', epoch: epoch + 1 });
      epoch++;
    }
    stop = true;
    await ended;

    const events = await decode(f);
    const inserts = events.filter((e) => e.kind === 'insert');
    let open: number | null = null;
    const wrong: string[] = [];
    for (const e of events) {
      if (e.kind === 'epoch') open = e.epoch;
      else if (e.kind === 'barrier') open = null;
      else {
        if (e.epoch !== open) wrong.push(`${e.how} of epoch ${e.epoch} while ${open ?? 'closed'}`);
        const barrier = barriers.get(e.epoch);
        if (barrier !== undefined && e.commitLsn >= barrier)
          wrong.push(`${e.how} commits at ${formatLsn(e.commitLsn as Lsn)}`);
      }
    }
    expect(wrong).toEqual([]);
    expect(events.filter((e) => e.kind === 'barrier')).toHaveLength(barriers.size);
    expect(inserts.length).toBeGreaterThan(ROUNDS);
    for (const [how, { written, refused }] of Object.entries(tally)) {
      expect(written, how).toBeGreaterThan(10);
      expect(refused, how).toBeGreaterThan(10);
    }
  });
});

/** What the capture slot brings out, in commit order (pgoutput, protocol 1, text). */
async function decode(f: Fixture): Promise<Event[]> {
  const { rows } = await f.root.query<{ data: Buffer }>(
    `SELECT data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, 'proto_version', '1', 'publication_names', 'drover', 'messages', 'true')`,
    [slotName(f.database)],
  );
  const events: Event[] = [];
  let commitLsn = 0n;
  for (const { data } of rows) {
    const kind = String.fromCharCode(data[0]!);
    if (kind === 'B') commitLsn = data.readBigUInt64BE(1);
    else if (kind === 'M') {
      const end = data.indexOf(0, 10);
      const prefix = data.toString('utf8', 10, end);
      const content = JSON.parse(data.toString('utf8', end + 5)) as { epoch?: number; id?: string };
      if (prefix === 'drover.epoch') events.push({ kind: 'epoch', epoch: content.epoch! });
      if (prefix === 'drover.barrier')
        events.push({ kind: 'barrier', epoch: Number(content.id!.split('.')[1]) });
    } else if (kind === 'I') {
      const columns: string[] = [];
      let at = 8;
      for (let i = 0; i < data.readInt16BE(6); i++) {
        const length = data.readInt32BE(at + 1);
        columns.push(data.toString('utf8', at + 5, at + 5 + length));
        at += 5 + length;
      }
      events.push({ kind: 'insert', epoch: Number(columns[2]), how: columns[3]!, commitLsn });
    }
  }
  return events;
}
