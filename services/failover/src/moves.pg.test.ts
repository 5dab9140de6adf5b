/**
 * Moves under dying, stale and concurrent leaders, on real databases (I4, I10). Whatever happens, a tenant ends writable at exactly
 * one cluster, the one its placement names, and at no moment at two.
 */
import { beginFailover, beginSwitchover, type Placement } from '@drover/catalog';
import { DroverError, deferred, type TenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { healOn } from './heal.ts';
import { runPromotion } from './moves/promote.ts';
import { rejoinTenant } from './moves/rejoin.ts';
import { runSwitchover } from './moves/switchover.ts';
import { EAST, killedAt, type Leader, makeWorld, type Name, WEST, type World } from './world.testing.ts';

let world: World;
let tenant: TenantId;
let replicating: AbortController;
let replication: Promise<void>;
let overlaps: string[];
let watching: Promise<void>;
let watch: AbortController;

beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());
beforeEach(async () => {
  tenant = await world.tenant();
  replicating = new AbortController();
  replication = world.replicate(replicating.signal);
  overlaps = [];
  watch = new AbortController();
  watching = watchWriters(tenant, watch.signal);
});
afterEach(async () => {
  replicating.abort();
  watch.abort();
  await Promise.all([replication, watching]);
  expect(overlaps).toEqual([]);
});

/** I4, as long as nobody is dead: open here, open there, still open here under the same epoch: two writers at the moment between. */
async function watchWriters(of: TenantId, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const before = await world.row('east', of);
    const other = await world.row('west', of);
    const after = await world.row('east', of);
    if (before?.open && other?.open && after?.open && before.epoch === after.epoch)
      overlaps.push(`east ${before.epoch}, west ${other.epoch}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const ask = (to = WEST, id: string = crypto.randomUUID()) =>
  world.catalog.changePlacement(tenant, (p) => beginSwitchover(p, { id, to, reason: 'test' }));
const askFailover = (id: string = crypto.randomUUID()) =>
  world.catalog.changePlacement(tenant, (p) => beginFailover(p, { id, to: WEST, reason: 'test' }));
const go = async (leader: Leader) => runSwitchover(leader.context, await world.placement(tenant));
const promote = async (leader: Leader) =>
  runPromotion(leader.context, await world.placement(tenant), { leaseMs: 300 });
const rejoin = async (leader: Leader) => rejoinTenant(leader.context, await world.placement(tenant), EAST);
const outcome = (work: Promise<unknown>) =>
  work.then(
    () => 'done',
    (error: unknown) => (error instanceof DroverError ? error.code : String(error)),
  );

/** Lets a leader go until the failpoint, where it stays until released. */
function stoppedAt(failpoint: string, more: Parameters<World['leader']>[1] = {}) {
  const there = deferred<void>();
  const gate = deferred<void>();
  const leader = world.leader(async (name) => {
    if (name !== failpoint) return;
    there.resolve();
    await gate.promise;
  }, more);
  return { leader, there: there.promise, release: gate.resolve };
}

async function expectServedBy(name: Name, epoch: number): Promise<void> {
  expect(await world.placement(tenant)).toMatchObject({ state: 'active', primary: name, epoch });
  expect(await world.writable(tenant)).toEqual([name]);
  expect(await world.row(name, tenant)).toMatchObject({ role: 'primary', open: true, epoch });
}

/** Close, then look for what stale leaders closed: what the healing leader does every few seconds. */
async function heal(): Promise<void> {
  const { context } = world.leader();
  await healOn(context, EAST, world.database);
  await healOn(context, WEST, world.database);
}

const SWITCHOVER = ['held', 'closing', 'closed', 'drained', 'opened'].map((name) => `switchover.${name}`);
const ABORT = ['aborting', 'reopened'].map((name) => `switchover.${name}`);
const PROMOTE = ['fenced', 'drained', 'opened'].map((name) => `promote.${name}`);
const REJOIN = ['closed', 'tail', 'following'].map((name) => `rejoin.${name}`);

describe('a leader is killed', () => {
  it.each(SWITCHOVER)('at %s: the next one carries the switch-over through', async (failpoint) => {
    await ask();
    expect(await outcome(go(world.leader(killedAt(failpoint))))).toBe('internal.cancelled');
    expect((await world.placement(tenant)).state).toBe('moving');
    await go(world.leader());
    await expectServedBy('west', 2);
    expect(await world.row('east', tenant)).toMatchObject({ role: 'replica', source: 'west', epoch: 2 });
    expect((await world.placement(tenant)).replicas).toMatchObject({ east: { state: 'live' } });
  });

  it.each(ABORT)('at %s: the next one ends the call-off', async (failpoint) => {
    await ask();
    replicating.abort();
    await replication;
    const killed = world.leader(killedAt(failpoint), { drainTimeoutMs: 200 });
    expect(await outcome(go(killed))).toBe('internal.cancelled');
    await go(world.leader());
    await expectServedBy('east', 1);
    expect((await world.placement(tenant)).lastMove).toMatchObject({
      outcome: 'aborted',
      error: expect.stringContaining('did not reach') as string,
    });
  });

  it.each(PROMOTE)('at %s: the next one carries the failover through', async (failpoint) => {
    await world.root.east.query('SELECT drover.close_tenant($1, 1)', [tenant]); // the dead cluster accepts nothing
    await askFailover();
    expect(await outcome(promote(world.leader(killedAt(failpoint))))).toBe('internal.cancelled');
    await promote(world.leader());
    await expectServedBy('west', 2);
    expect((await world.placement(tenant)).replicas).toMatchObject({ east: { state: 'returning' } });
  });

  it.each(REJOIN)('at %s: the next one brings the cluster back', async (failpoint) => {
    await failOver();
    await publishedUpTo(async () => {
      expect(await outcome(rejoin(world.leader(killedAt(failpoint))))).toBe('internal.cancelled');
      expect(await rejoin(world.leader())).toBe('follows');
    });
    await expectServedBy('west', 2);
    expect(await world.row('east', tenant)).toMatchObject({ role: 'replica', source: 'west', epoch: 2 });
    expect((await world.placement(tenant)).replicas).toMatchObject({ east: { state: 'live' } });
  });
});

describe('a stale leader wakes up', () => {
  it.each(SWITCHOVER)('at %s, after the move was carried through: refused', async (failpoint) => {
    await ask();
    const stale = stoppedAt(failpoint);
    const old = outcome(go(stale.leader));
    await stale.there;
    await go(world.leader());
    stale.release();
    expect(await old).toBe('placement.conflict');
    await heal();
    await expectServedBy('west', 2);
  });

  it.each(SWITCHOVER)('at %s, after the tenant has moved on and back: refused', async (failpoint) => {
    await ask();
    const stale = stoppedAt(failpoint);
    const old = outcome(go(stale.leader));
    await stale.there;
    await go(world.leader());
    await ask(EAST);
    await go(world.leader());
    stale.release();
    expect(await old).toBe('placement.conflict');
    await heal();
    await expectServedBy('east', 3);
  });

  it.each([...SWITCHOVER.slice(0, 4), ...ABORT])(
    'at %s, after the move was called off, while another one drains: refused',
    async (failpoint) => {
      const first = await ask();
      const aborts = ABORT.includes(failpoint);
      const blocked = { drainTimeoutMs: 150 };
      if (aborts) {
        replicating.abort();
        await replication;
      }
      const stale = stoppedAt(failpoint, aborts ? blocked : {});
      const old = outcome(go(stale.leader));
      await stale.there;
      if (!aborts) {
        replicating.abort();
        await replication;
        await world.root.west.query('UPDATE drover.tenant SET commit_lsn = NULL WHERE tenant = $1', [tenant]);
      }
      await go(world.leader(undefined, blocked));
      expect((await world.placement(tenant)).lastMove).toMatchObject({
        id: first.move?.id,
        outcome: 'aborted',
      });
      const next = await ask();
      const second = stoppedAt('switchover.closed');
      const newer = go(second.leader);
      await second.there; // closed for the second move, whose drain has not ended
      stale.release();
      expect(await old).toBe('placement.conflict');
      await heal();
      expect((await world.row('east', tenant))?.reason).toBe(`move:${next.move?.id}`);
      expect(await world.writable(tenant)).toEqual([]); // nobody took the second move's close back
      replicating = new AbortController();
      replication = world.replicate(replicating.signal);
      second.release();
      await newer;
      await expectServedBy('west', 2);
    },
  );

  it.each([
    ['held', 'closed'],
    ['closing', 'drained'],
    ['closed', 'drained'],
    ['drained', 'opened'],
  ])('at %s, while another is at %s of the same move: nothing is called off', async (behind, ahead) => {
    await ask();
    const stale = stoppedAt(`switchover.${behind}`);
    const old = outcome(go(stale.leader));
    await stale.there;
    const other = stoppedAt(`switchover.${ahead}`);
    const going = go(other.leader);
    await other.there;
    stale.release();
    expect(await old).toBe('placement.conflict');
    other.release();
    await going;
    await expectServedBy('west', 2);
  });

  it.each(PROMOTE)('at %s of a failover: refused', async (failpoint) => {
    await world.root.east.query('SELECT drover.close_tenant($1, 1)', [tenant]);
    await askFailover();
    const stale = stoppedAt(failpoint);
    const old = outcome(promote(stale.leader));
    await stale.there;
    await promote(world.leader());
    stale.release();
    expect(await old).toBe('placement.conflict');
    await expectServedBy('west', 2);
  });

  it.each(REJOIN)('at %s of a rejoin, after the tenant came home: refused', async (failpoint) => {
    await failOver();
    await publishedUpTo(async () => {
      const stale = stoppedAt(failpoint);
      const old = outcome(rejoin(stale.leader));
      await stale.there;
      await rejoin(world.leader());
      await ask(EAST);
      await go(world.leader());
      await expectServedBy('east', 3);
      stale.release();
      await old;
    });
    await expectServedBy('east', 3);
    expect((await world.placement(tenant)).replicas).toMatchObject({ west: { state: 'live' } });
  });

  it('never closes a serving primary for a rejoin that an old view asks for', async () => {
    const old: Placement = {
      ...(await world.placement(tenant)),
      primary: WEST,
      replicas: { east: { state: 'returning', since: '' } },
    };
    expect(await rejoinTenant(world.leader().context, old, EAST)).toBe('over');
    await expectServedBy('east', 1);
  });
});

describe('a switch-over', () => {
  it('whose drain cannot end is called off: the source opens again under its epoch', async () => {
    replicating.abort();
    await replication;
    await ask();
    await go(world.leader(undefined, { drainTimeoutMs: 200 }));
    await expectServedBy('east', 1);
    expect((await world.placement(tenant)).lastMove).toMatchObject({ outcome: 'aborted' });
  });

  it.each(['READ COMMITTED', 'REPEATABLE READ'])(
    'whose writers (%s) do not end is called off in time',
    async (level) => {
      const writer = await world.servers.east.connect(world.database);
      await writer.query(`BEGIN ISOLATION LEVEL ${level}`);
      await writer.query(
        `SELECT pg_advisory_xact_lock_shared(drover.lock_class(), hashtext($1))`, // as drover.writer() does
        [tenant],
      );
      if (level !== 'READ COMMITTED')
        await writer.query('SELECT 1 FROM drover.tenant WHERE tenant = $1 FOR SHARE', [tenant]);
      await ask();
      const started = performance.now();
      await go(world.leader(undefined, { drainTimeoutMs: 300 }));
      expect(performance.now() - started).toBeLessThan(3000);
      await writer.query('COMMIT');
      await writer.end();
      await expectServedBy('east', 1);
      expect((await world.placement(tenant)).lastMove?.error).toContain('did not end in time');
    },
  );

  it('to a replica that follows somebody else is called off before anything is closed', async () => {
    await world.root.west.query(`UPDATE drover.tenant SET source = 'north' WHERE tenant = $1`, [tenant]);
    await ask();
    await go(world.leader());
    await expectServedBy('east', 1);
    expect((await world.placement(tenant)).lastMove?.error).toContain('follows north');
  });

  it('is not held up by the rest of a block that its dead reader never completed', async () => {
    await world.publish(EAST, tenant, 2);
    const { headers } = await import('@nats-io/transport-node');
    const h = headers();
    h.set('Drover-Chunk', '0/3');
    await world.publish(EAST, tenant, 1, { headers: h });
    replicating.abort();
    await replication;
    // The worker stands behind the last whole block: of the rest it gets to see nothing.
    await world.root.west.query(
      `UPDATE drover.stream_position SET stream_seq = stream_seq - 1 WHERE source = 'east' AND stream_seq > 0`,
    );
    await world.root.east.query('SELECT drover.close_tenant($1, 1)', [tenant]);
    await askFailover();
    const started = performance.now();
    await promote(world.leader());
    expect(performance.now() - started).toBeLessThan(2500);
    await expectServedBy('west', 2);
  });
});

describe('a failover', () => {
  beforeEach(() => world.root.east.query('SELECT drover.close_tenant($1, 1)', [tenant]));

  it('waits while the leases cannot be read: silence is not "no proxies" (I4)', async () => {
    await askFailover();
    const blind = world.leader(undefined, {
      live: () => Promise.reject(new DroverError('bus.unreachable', 'cut off')),
    });
    expect(await outcome(promote(blind))).toBe('bus.unreachable');
    expect((await world.placement(tenant)).move).toMatchObject({ step: 'fence' });
    await promote(world.leader());
    await expectServedBy('west', 2);
  });

  it('waits for a proxy that holds a lease and does not answer', async () => {
    await askFailover();
    let live = new Set(['p-1']);
    const leader = world.leader(undefined, { live: async () => live });
    expect(await outcome(promote(leader))).toBe('bus.unreachable');
    live = new Set();
    await promote(leader);
    await expectServedBy('west', 2);
  });

  it('does not open a replica that is parked', async () => {
    await world.root.west.query(
      `UPDATE drover.tenant SET feed = 'parked', reason = 'poison' WHERE tenant = $1`,
      [tenant],
    );
    await askFailover();
    expect(await outcome(promote(world.leader()))).toBe('tenant.no_replica');
    expect(await world.writable(tenant)).toEqual([]);
  });
});

describe('a cluster that returns', () => {
  it('is mended when its tail stands in the ledger', async () => {
    await failOver();
    await world.root.west.query(
      `INSERT INTO drover.ledger (tenant, source, epoch, kind, reason, status) VALUES ($1, 'east', 1, 'stale_epoch', 'x', 'open')`,
      [tenant],
    );
    await publishedUpTo(async () => expect(await rejoin(world.leader())).toBe('mending'));
    expect(await world.row('east', tenant)).toMatchObject({ role: 'primary', open: false });
    expect((await world.placement(tenant)).replicas).toMatchObject({ east: { state: 'copying' } });
    await expectServedBy('west', 2);
  });

  it('is mended when it missed a whole epoch', async () => {
    await failOver();
    await world.root.west.query('SELECT drover.close_tenant($1, 2)', [tenant]);
    await world.root.west.query('SELECT drover.open_tenant($1, 3)', [tenant]);
    await world.catalog.changePlacement(tenant, (p) => ({ ...p, epoch: 3 as never }));
    await publishedUpTo(async () => expect(await rejoin(world.leader())).toBe('mending'));
  });

  it('is mended when it holds nothing of the tenant any more', async () => {
    await failOver();
    await world.root.east.query('DELETE FROM drover.tenant WHERE tenant = $1', [tenant]);
    expect(await rejoin(world.leader())).toBe('mending');
  });

  it.each([
    ['as far as', 0n, 'follows'],
    ['less than', -1n, 'mending'],
    ['more than', 1n, 'mending'],
  ])('as a replica that has applied %s the new primary', async (_, offset, expected) => {
    await failOver();
    const opened = await world.row('west', tenant);
    const lsn = (opened?.commitLsn ?? 0n) + offset;
    await world.root.east.query(`DELETE FROM drover.tenant WHERE tenant = $1`, [tenant]);
    // A third cluster that stood by for the old primary and was cut off during the failover; here it goes by the name of east.
    await world.root.east.query(`SELECT drover.follow_tenant($1, 1, 'north', 'live', NULL, 0, NULL)`, [
      tenant,
    ]);
    await world.root.east.query(
      `UPDATE drover.tenant SET commit_lsn = $2, system_id = $3, generation = $4 WHERE tenant = $1`,
      [
        tenant,
        `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`,
        opened?.systemId,
        opened?.generation,
      ],
    );
    await world.catalog.changePlacement(tenant, (p) => ({
      ...p,
      lastMove: { ...p.lastMove!, from: 'north' as never },
    }));
    expect(await rejoin(world.leader())).toBe(expected);
  });

  it('is mended when the stream it would follow has lost where the new epoch began', async () => {
    await failOver();
    expect((await world.placement(tenant)).epochMark).toBeDefined();
    await world.catalog.changePlacement(tenant, (p) => ({ ...p, epochMark: '2020-01-01T00:00:00Z;1' }));
    await publishedUpTo(async () => expect(await rejoin(world.leader())).toBe('mending'));
    expect((await world.placement(tenant)).replicas).toMatchObject({ east: { state: 'copying' } });
  });

  it('stays a returning one when the tenant moves on before it has rejoined', async () => {
    await failOver();
    await world.catalog.changePlacement(tenant, (p) => ({
      ...p,
      primary: 'north' as never,
      replicas: { ...p.replicas, west: { state: 'live', since: '' } },
    }));
    await world.root.west.query('SELECT drover.close_tenant($1, 2)', [tenant]);
    await world.root.west.query(`SELECT drover.follow_tenant($1, 3, 'north', 'live', NULL, 0, NULL)`, [
      tenant,
    ]);
    await world.catalog.changePlacement(tenant, (p) => ({ ...p, epoch: 3 as never }));
    await world.catalog.changePlacement(tenant, (p) =>
      beginFailover(p, { id: crypto.randomUUID(), to: WEST, reason: 'north died' }),
    );
    await promote(world.leader());
    expect((await world.placement(tenant)).replicas).toMatchObject({
      east: { state: 'returning' },
      north: { state: 'returning' },
    });
    expect(await world.row('east', tenant)).toMatchObject({ role: 'primary', epoch: 1 });
  });
});

describe('leaders at random', () => {
  const seed = Number(process.env['DROVER_SEED'] ?? Date.now() % 1_000_000);
  it(`three at once, sleeping, dying, moving to and fro (seed ${seed})`, async () => {
    let state = seed;
    const roll = (n: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (state >> 8) % n;
    };
    const end = performance.now() + 12_000;
    let moves = 0;
    const controller = async (): Promise<void> => {
      while (performance.now() < end) {
        const leader = world.leader(
          async (_, self) => {
            if (roll(6) === 0) self.kill();
            await new Promise((resolve) => setTimeout(resolve, roll(4) === 0 ? roll(300) : 0));
          },
          { drainTimeoutMs: 20 + roll(400) },
        );
        const now = await world.placement(tenant);
        if (now.state === 'active') {
          const to = now.primary === EAST ? WEST : EAST;
          await ask(to).catch(() => undefined);
        }
        const asked = await world.placement(tenant);
        if (asked.state === 'active') continue;
        const done = await outcome(runSwitchover(leader.context, asked));
        if (done === 'done') moves++;
        else expect(['internal.cancelled', 'placement.conflict', 'placement.stale_epoch']).toContain(done);
      }
    };
    await Promise.all([controller(), controller(), controller()]);
    while ((await world.placement(tenant)).state === 'moving') await outcome(go(world.leader()));
    await heal();
    const last = await world.placement(tenant);
    await expectServedBy(last.primary as unknown as Name, last.epoch);
    expect(moves).toBeGreaterThan(5);
  });
});

/** East is dead to everybody: its tenants are promoted at west. */
async function failOver(): Promise<void> {
  await world.root.east.query('SELECT drover.close_tenant($1, 1)', [tenant]);
  await askFailover();
  await promote(world.leader());
}

/** While `work` runs, everything of east is confirmed as published. */
async function publishedUpTo(work: () => Promise<unknown>): Promise<void> {
  const stop = new AbortController();
  const confirm = async () => {
    while (!stop.signal.aborted) {
      await world.root.east.query(
        `SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots WHERE database = current_database()`,
      );
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  };
  const confirming = confirm();
  try {
    await work();
  } finally {
    stop.abort();
    await confirming;
  }
}

it('is drained durably: a replica that crashes before it opens still has what it was drained to (I1)', async () => {
  replicating.abort();
  await replication;
  await world.root.west.query(`ALTER SYSTEM SET synchronous_commit = 'off'`);
  await world.root.west.query(`ALTER SYSTEM SET wal_writer_delay = '10s'`);
  await world.root.west.query('SELECT pg_reload_conf()');
  try {
    const flushed = async () =>
      (
        await world.root.west.query<{ behind: boolean }>(
          'SELECT pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn() AS behind',
        )
      ).rows[0]?.behind === false;
    await ask();
    const leader = world.leader(async (name) => {
      if (name !== 'switchover.closed') return;
      const { rows } = await world.root.east.query<{ lsn: string }>(
        'SELECT pg_current_wal_insert_lsn()::text AS lsn',
      );
      await world.root.west.query(
        `UPDATE drover.tenant SET commit_lsn = $2, system_id = 'east', generation = 1 WHERE tenant = $1`,
        [tenant, rows[0]?.lsn],
      );
    });
    const durable: boolean[] = [];
    const before = leader.context.failpoint;
    await runSwitchover(
      {
        ...leader.context,
        failpoint: async (name) => {
          await before?.(name);
          if (name === 'switchover.drained' || name === 'switchover.opened') durable.push(await flushed());
        },
      },
      await world.placement(tenant),
    );
    expect(durable).toEqual([true, true]);
    await expectServedBy('west', 2);
  } finally {
    await world.root.west.query('ALTER SYSTEM RESET synchronous_commit');
    await world.root.west.query('ALTER SYSTEM RESET wal_writer_delay');
    await world.root.west.query('SELECT pg_reload_conf()');
  }
});
