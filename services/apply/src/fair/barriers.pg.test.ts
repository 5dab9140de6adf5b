/**
 * Whatever befalls a tenant that is fed (it crowds the others out, its lane fails, connections and consumers are lost, it is held, it is made to follow
 * anew), a barrier behind all of that arrives, without a restart. DROVER_SEED repeats a run, DROVER_ROUNDS makes it longer.
 */
import { randomBytes } from 'node:crypto';
import { callRpc } from '@drover/bus';
import { sleep } from '@drover/core';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { makeWorld, type World } from '../world.testing.ts';

const SEED = Number(process.env['DROVER_SEED'] ?? Date.now() % 1_000_000);
const ROUNDS = Number(process.env['DROVER_ROUNDS'] ?? 12);
const STREAM = 'DROVER_CDC_east_0';
const TENANTS = ['t0', 't1', 't2', 't3', 't4'];
const BATCH_BYTES = 256 * 1024;
const ROW_BYTES = 8 * 1024;
/** Of a pause that is ended before, as verifications do; and of one that ends by itself. */
const PAUSE_MS = 1500;
const SHORT_MS = 100;
/** Whoever is held by a commit whose answer was lost, so that nobody knows for how long, is let go after a minute; it is made to pass at once. */
const UNKNOWN_MS = 60_000;
const LIVE_MS = 150_000;
const SCHEMA = `
CREATE TABLE t (tenant text NOT NULL, id bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (tenant, id));
ALTER TABLE t ALTER data SET STORAGE EXTERNAL;`;
const DATA = randomBytes(ROW_BYTES);

let w: World;
let held: Awaited<ReturnType<World['notesHeld']>>;
let next = 1;
let barriers = 0;

beforeEach(async () => {
  w = await makeWorld(SCHEMA, { partitions: 1, batchBytes: BATCH_BYTES });
  for (const tenant of TENANTS) await w.tenant(tenant);
  held = await w.notesHeld();
});
afterEach(() => w.close());

/** Deterministic choice (mulberry32). */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

const write = async (tenant: string, rows: number): Promise<void> => {
  const first = next;
  next += rows;
  await w.source.query('INSERT INTO t SELECT $1, i, $2 FROM generate_series($3::bigint, $4::bigint) i', [
    tenant,
    DATA,
    first,
    next - 1,
  ]);
};
const nudge = (tenant: string) =>
  callRpc(w.bus, 'apply.west.nudge', { tenant }, { timeoutMs: 20_000 }).catch(() => undefined);

async function barrier(tenant: string, ms = PAUSE_MS): Promise<string> {
  const id = `v${barriers++}`;
  const content = JSON.stringify({ tenant, id, pauseFor: { target: 'west', ms } });
  await w.source.query(`SELECT pg_logical_emit_message(true, 'drover.barrier', $1)`, [content]);
  return id;
}

/** As a verification does: it waits until the tenant stands at the barrier, and lets it go. */
async function verified(tenants: readonly string[]): Promise<void> {
  const ids = new Map<string, string>();
  for (const tenant of tenants) ids.set(tenant, await barrier(tenant));
  await w.capture();
  await w.waitFor(`all barriers of ${[...ids].join(' ')}`, async () => {
    const seen = await held();
    return tenants.every((tenant) => seen.has(`${tenant} pause:${ids.get(tenant)}`));
  });
  for (const tenant of tenants) {
    await w.target.query(
      `UPDATE drover.tenant SET feed = 'catchup', reason = NULL WHERE tenant = $1 AND feed = 'held' AND reason = $2`,
      [tenant, `pause:${ids.get(tenant)}`],
    );
    await nudge(tenant);
  }
}

/** Terminates connections of apply: of one kind, or all. */
const cut = (name: string) =>
  w.target.query(
    `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drover_apply' AND datname = current_database()
     AND application_name LIKE $1`,
    [`drover apply ${name}`],
  );

async function losesConsumers(): Promise<void> {
  for await (const { name } of w.bus.jsm.consumers.list(STREAM))
    await w.bus.jsm.consumers.delete(STREAM, name).catch(() => undefined); // gone already
}

/** Everything published is dealt with, and nobody is held, or in a lane. */
const allLive = async () => {
  const begun = performance.now();
  let aged = false;
  const probe = async () => {
    await w.settled();
    if (!aged && performance.now() - begun > PAUSE_MS) {
      aged = true;
      await w.target.query(
        `UPDATE drover.tenant SET updated_at = updated_at - $1 * interval '1 ms' WHERE feed = 'held'`,
        [UNKNOWN_MS],
      );
    }
    return (await w.target.query(`SELECT FROM drover.tenant WHERE feed <> 'live'`)).rowCount === 0;
  };
  await w.waitFor('all are live', probe, LIVE_MS);
};

/** As a copy does at its end, with all rows there already. */
async function followAnew(tenant: string): Promise<void> {
  await allLive();
  await w.target.query(`SELECT drover.follow_tenant($1, 1, 'east', 'copying', NULL, NULL, NULL)`, [tenant]);
  const { state } = await w.bus.jsm.streams.info(STREAM);
  await w.target.query(`SELECT drover.follow_tenant($1, 1, 'east', 'catchup', $2, $3, NULL)`, [
    tenant,
    STREAM,
    state.last_seq,
  ]);
}

/** There are too many bytes for a look at each row. */
const sums = async (client: World['target']): Promise<unknown> =>
  (
    await client.query(
      `SELECT tenant, count(*)::int AS n, sum(hashtextextended(t::text, 0)::numeric)::text AS sum FROM t GROUP BY tenant ORDER BY tenant`,
    )
  ).rows;

it(`arrive, whatever happens (seed ${SEED})`, { timeout: 60_000 + ROUNDS * 45_000 }, async () => {
  const roll = dice(SEED);
  const one = () => TENANTS[roll(TENANTS.length)] ?? 't0';
  let failAt = Number.POSITIVE_INFINITY;
  let steps = 0;
  await w.start({
    failpoint: () => {
      if (++steps < failAt) return;
      failAt = Number.POSITIVE_INFINITY;
      throw new Error('a failpoint');
    },
  });
  const acts: (() => Promise<unknown>)[] = [
    async () => {
      await write(one(), 200);
      await write(one(), 1);
      await w.capture({ single: true });
    },
    async () => {
      const [crowd, other] = [one(), one()];
      for (let i = 0; i < 100; i++) await write(crowd, 2);
      await write(other, 3);
      await w.capture({ single: true });
    },
    async () => {
      await write(one(), 40);
      await w.capture({ partBytes: 4 * ROW_BYTES });
    },
    () => cut('drover_east_0_lane'),
    () => cut('drover_east_0'),
    () => cut('feeds'),
    () => cut('%'),
    losesConsumers,
    async () => {
      failAt = steps + 1 + roll(6);
    },
    () => verified([one()]),
    async () => {
      const tenant = one();
      await barrier(tenant, SHORT_MS);
      await w.capture();
      await allLive();
    },
    () => followAnew(one()),
    () => sleep(roll(400)),
    () => sleep(PAUSE_MS + 100),
  ];
  for (let round = 0; round < ROUNDS; round++) {
    for (let n = 2 + roll(4); n > 0; n--) await acts[roll(acts.length)]?.();
    await verified(TENANTS);
  }
  failAt = Number.POSITIVE_INFINITY;
  await allLive();
  expect(await sums(w.target)).toEqual(await sums(w.source));
  expect(await w.ledger()).toEqual([]);
});
