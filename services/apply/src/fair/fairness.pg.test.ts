import { randomBytes } from 'node:crypto';
import { openCatalog } from '@drover/catalog';
import { tenantId } from '@drover/core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeWorld, type World } from '../world.testing.ts';

/** `[apply] batch_bytes`: the queue holds twice as much. */
const BATCH_BYTES = 256 * 1024;
const ROW_BYTES = 8 * 1024;
const STREAM = 'DROVER_CDC_east_0';

const SCHEMA = `
CREATE TABLE t (tenant text NOT NULL, id bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (tenant, id));
ALTER TABLE t ALTER data SET STORAGE EXTERNAL;
`;
/** At the target: who wrote which row, in the order in which it was written. */
const NOTE = `
CREATE TABLE written (n bigserial, tenant text, by_lane boolean);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO public.written (tenant, by_lane) VALUES (NEW.tenant, pg_catalog.current_setting('application_name') ~ '_lane$|streamed');
  RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE t ENABLE ALWAYS TRIGGER note;`;
/** No codec makes it smaller. */
const DATA = randomBytes(ROW_BYTES);
const LARGE = randomBytes(4 * ROW_BYTES);

let w: World;
let next = 1;

beforeEach(async () => {
  next = 1;
  w = await makeWorld(SCHEMA, { partitions: 1, batchBytes: BATCH_BYTES });
  await w.target.query(NOTE);
});

afterEach(() => w.close());

async function write(tenant: string, rows: number, data = DATA): Promise<void> {
  for (let i = 0; i < rows; i++)
    await w.source.query('INSERT INTO t VALUES ($1, $2, $3)', [tenant, next++, data]);
}

const isThere = async (tenant: string): Promise<boolean> =>
  (await w.target.query('SELECT FROM t WHERE tenant = $1 LIMIT 1', [tenant])).rowCount === 1;

/** The connection of apply whose transaction stands still. */
async function idleWriter(): Promise<number> {
  const { rows } = await w.target.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'drover apply%' AND datname = current_database()
     AND state = 'idle in transaction' AND backend_xid IS NOT NULL`,
  );
  expect(rows).toHaveLength(1);
  return rows[0]?.pid ?? 0;
}

/** Sessions that wait for a lock that this one holds. */
async function blockedBy(pid: number): Promise<number> {
  const { rows } = await w.target.query<{ n: number }>(
    'SELECT count(*)::int AS n FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid))',
    [pid],
  );
  return rows[0]?.n ?? 0;
}

/** Consumers of single tenants, or of the main lane: the server has sent them everything up to `seq`. */
async function readBy(whom: 'tenants' | 'main lane', seq: number): Promise<number> {
  let count = 0;
  for await (const { config, delivered, num_pending } of w.bus.jsm.consumers.list(STREAM)) {
    const subjects = config.filter_subjects ?? [config.filter_subject ?? '>'];
    const single = subjects.every((subject) => /[^*>]$/.test(subject));
    if (single !== (whom === 'tenants')) continue;
    if (delivered.stream_seq >= seq || num_pending === 0) count++;
  }
  return count;
}

const lastSeq = async () => (await w.bus.jsm.streams.info(STREAM)).state.last_seq;

describe('a tenant with a backlog', () => {
  it('leaves the main lane to those behind it, after a bounded number of bytes', async () => {
    for (const tenant of ['busy', 'other']) await w.tenant(tenant);
    const rows = 256; // 2 MiB
    await write('busy', rows);
    await write('other', 1);
    await w.capture({ single: true });
    // So many that more than a batch waits behind the first one.
    const seen = (await lastSeq()) - rows + 2.25 * (BATCH_BYTES / ROW_BYTES);
    let begun = false;
    await w.start({
      failpoint: async (step) => {
        if (step !== 'written' || begun) return;
        begun = true;
        await w.waitFor('the backlog is seen', async () => (await readBy('main lane', seen)) === 1);
      },
    });
    await w.settled();
    const { rows: found } = await w.target.query(
      `SELECT count(*) FILTER (WHERE NOT by_lane)::int AS main, count(*) FILTER (WHERE by_lane)::int AS lane FROM written WHERE tenant = 'busy'`,
    );
    const { main, lane } = found[0] as { main: number; lane: number };
    expect(main + lane).toBe(rows);
    // A batch on its way, and one that was taken before there was anything to see.
    expect(main * ROW_BYTES).toBeLessThanOrEqual(2 * BATCH_BYTES);
    expect(await w.row('busy')).toMatchObject({ feed: 'live', reason: null });
    await w.same(['t']);
  });

  it('stays where it is when it is alone in its partition', async () => {
    await w.tenant('busy');
    await write('busy', 256);
    await w.capture({ single: true });
    await w.start();
    await w.settled();
    const { rows } = await w.target.query('SELECT count(*)::int AS n FROM written WHERE by_lane');
    expect(rows[0].n).toBe(0);
  });
});

describe('a large transaction in a lane', () => {
  it('holds up neither later rows of the partition, though it holds its tenant’s row, nor other lanes', async () => {
    for (const tenant of ['large', 'other']) await w.tenant(tenant);
    await w.tenant('late', 'catchup');
    await w.source.query('BEGIN');
    await write('large', 8);
    await w.source.query('COMMIT');
    await w.capture({ partBytes: 2 * ROW_BYTES });
    const go = Promise.withResolvers<void>();
    let parts = 0;
    await w.start({
      failpoint: async (step) => {
        if (step === 'part-written' && ++parts === 2) await go.promise;
      },
    });
    try {
      await w.waitFor('the large one is being written', async () => parts === 2);
      const large = await idleWriter();
      await write('large', 1);
      await write('late', 1);
      await write('other', 1);
      await w.capture({ single: true });
      await w.waitFor('the row behind it', async () => {
        expect(await blockedBy(large)).toBe(0);
        return isThere('other');
      });
      await w.waitFor('the row in another lane', () => isThere('late'));
      expect(await isThere('large')).toBe(false);
    } finally {
      go.resolve();
    }
    await w.settled();
    await w.same(['t']);
    expect(await w.ledger()).toEqual([]);
  });
});

describe('lanes', () => {
  it('share by the weights of tiers, in bytes', async () => {
    const catalog = await openCatalog(w.bus, { replicas: 1 });
    for (const [name, tier] of [
      ['gold', 'gold'],
      ['plain', 'standard'],
    ] as const) {
      await w.tenant(name, 'copying');
      const entry = { isolation: 'column', tier, users: {}, state: 'active', createdAt: '' } as const;
      await catalog.tenants.create(name, { tenant: tenantId(name), ...entry });
      await write(name, 32, LARGE); // 1 MiB, all of it on its way to a lane at once
    }
    await w.capture({ single: true });
    const all = await lastSeq();
    let begun = true;
    await w.start({
      failpoint: async (step) => {
        if (step !== 'written' || begun) return;
        begun = true;
        await w.waitFor('both lanes read', async () => (await readBy('tenants', all)) === 2);
      },
    });
    // All of it is due, to both at once: lanes follow the main lane.
    await w.waitFor('the main lane is at the end', async () => {
      const { state } = await w.bus.jsm.streams.info(STREAM);
      const { rows } = await w.target.query(`SELECT stream_seq::int AS seq FROM drover.stream_position`);
      return rows[0]?.seq === state.last_seq;
    });
    begun = false;
    await w.target.query(`UPDATE drover.tenant SET feed = 'catchup'`);
    await w.settled();
    await catalog.close();
    const { rows } = await w.target.query<{ tenant: string }>('SELECT tenant FROM written ORDER BY n');
    const order = rows.map(({ tenant }) => tenant);
    const plain = order.slice(0, order.lastIndexOf('gold')).filter((tenant) => tenant === 'plain').length;
    // A quarter, give or take what a turn of each is.
    expect(plain * LARGE.length).toBeGreaterThanOrEqual(0.5 * BATCH_BYTES);
    expect(plain * LARGE.length).toBeLessThanOrEqual(2 * BATCH_BYTES);
    await w.same(['t']);
  });
});
