/** What a move waits for, what calls it off, and how a cluster comes back that was left for dead (I1, I4). */
import { beginFailover } from '@drover/catalog';
import { DroverError } from '@drover/core';
import { codeOf } from '@drover/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import { runSwitchover } from './moves/switchover.ts';
import { makeMoves } from './moves.testing.ts';
import { EAST, WEST } from './world.testing.ts';

const moves = makeMoves();

describe('a switch-over', () => {
  it('whose drain cannot end is called off: the source opens again under its epoch', async () => {
    await moves.stopReplicating();
    await moves.ask();
    await moves.go(moves.leader(undefined, { drainTimeoutMs: 200 }));
    await moves.expectServedBy('east', 1);
    expect((await moves.placement()).lastMove).toMatchObject({ outcome: 'aborted' });
  });

  it.each(['READ COMMITTED', 'REPEATABLE READ'])(
    'whose writers (%s) do not end is called off in time',
    async (level) => {
      const writer = await moves.world.servers.east.connect(moves.world.database);
      await writer.query(`BEGIN ISOLATION LEVEL ${level}`);
      await writer.query(
        `SELECT pg_advisory_xact_lock_shared(drover.lock_class(), hashtext($1))`, // as drover.writer() does
        [moves.tenant],
      );
      if (level !== 'READ COMMITTED')
        await writer.query('SELECT 1 FROM drover.tenant WHERE tenant = $1 FOR SHARE', [moves.tenant]);
      await moves.ask();
      const started = performance.now();
      await moves.go(moves.leader(undefined, { drainTimeoutMs: 300 }));
      expect(performance.now() - started).toBeLessThan(30_000); // they never end
      await writer.query('COMMIT');
      await writer.end();
      await moves.expectServedBy('east', 1);
      expect((await moves.placement()).lastMove?.error).toContain('did not end in time');
    },
  );

  it('to a replica that follows somebody else is called off before anything is closed', async () => {
    await moves.sql('west', `UPDATE drover.tenant SET source = 'north' WHERE tenant = $1`);
    await moves.ask();
    await moves.go(moves.leader());
    await moves.expectServedBy('east', 1);
    expect((await moves.placement()).lastMove?.error).toContain('follows north');
  });

  it('is not held up by the rest of a block that its dead reader never completed', async () => {
    await moves.world.publish(EAST, moves.tenant, 2);
    const { headers } = await import('@nats-io/transport-node');
    const h = headers();
    h.set('Drover-Chunk', '0/3');
    await moves.world.publish(EAST, moves.tenant, 1, { headers: h });
    await moves.stopReplicating();
    await moves.world.passed();
    // The worker stands behind the last whole block: of the rest it gets to see nothing.
    await moves.world.root.west.query(
      `UPDATE drover.stream_position SET stream_seq = stream_seq - 1 WHERE source = 'east' AND stream_seq > 0`,
    );
    await moves.sql('east', 'SELECT drover.close_tenant($1, 1)');
    await moves.askFailover();
    const started = performance.now();
    await moves.promote(moves.leader());
    expect(performance.now() - started).toBeLessThan(60_000); // the patience of a failover is six times a drain's
    await moves.expectServedBy('west', 2);
  });
});

describe('a failover', () => {
  beforeEach(() => moves.sql('east', 'SELECT drover.close_tenant($1, 1)'));

  it('waits while the leases cannot be read: silence is not "no proxies" (I4)', async () => {
    await moves.askFailover();
    const blind = moves.leader(undefined, {
      live: () => Promise.reject(new DroverError('bus.unreachable', 'cut off')),
    });
    expect(await codeOf(moves.promote(blind))).toBe('bus.unreachable');
    expect((await moves.placement()).move).toMatchObject({ step: 'fence' });
    await moves.promote(moves.leader());
    await moves.expectServedBy('west', 2);
  });

  it('waits for a proxy that holds a lease and does not answer', async () => {
    await moves.askFailover();
    let live = new Set(['p-1']);
    const leader = moves.leader(undefined, { live: async () => live });
    expect(await codeOf(moves.promote(leader))).toBe('bus.unreachable');
    live = new Set();
    await moves.promote(leader);
    await moves.expectServedBy('west', 2);
  });

  it('does not open a replica that is parked', async () => {
    await moves.sql('west', `UPDATE drover.tenant SET feed = 'parked', reason = 'poison' WHERE tenant = $1`);
    await moves.askFailover();
    expect(await codeOf(moves.promote(moves.leader()))).toBe('tenant.no_replica');
    expect(await moves.world.writable(moves.tenant)).toEqual([]);
  });
});

describe('a cluster that returns', () => {
  it('is mended when its tail stands in the ledger', async () => {
    await moves.failOver();
    await moves.sql(
      'west',
      `INSERT INTO drover.ledger (tenant, source, epoch, kind, reason, status) VALUES ($1, 'east', 1, 'stale_epoch', 'x', 'open')`,
    );
    await moves.publishedUpTo(async () => expect(await moves.rejoin(moves.leader())).toBe('mending'));
    expect(await moves.row('east')).toMatchObject({ role: 'primary', open: false });
    expect((await moves.placement()).replicas).toMatchObject({ east: { state: 'copying' } });
    await moves.expectServedBy('west', 2);
  });

  it('is mended when it missed a whole epoch', async () => {
    await moves.failOver();
    await moves.sql('west', 'SELECT drover.close_tenant($1, 2)');
    await moves.sql('west', 'SELECT drover.open_tenant($1, 3)');
    await moves.change((p) => ({ ...p, epoch: 3 as never }));
    await moves.publishedUpTo(async () => expect(await moves.rejoin(moves.leader())).toBe('mending'));
  });

  it('is mended when it holds nothing of the tenant any more', async () => {
    await moves.failOver();
    await moves.sql('east', 'DELETE FROM drover.tenant WHERE tenant = $1');
    expect(await moves.rejoin(moves.leader())).toBe('mending');
  });

  it.each([
    ['as far as', 0n, 'follows'],
    ['less than', -1n, 'mending'],
    ['more than', 1n, 'mending'],
  ])('as a replica that has applied %s the new primary', async (_, offset, expected) => {
    await moves.failOver();
    const opened = await moves.row('west');
    const lsn = (opened?.commitLsn ?? 0n) + offset;
    await moves.sql('east', `DELETE FROM drover.tenant WHERE tenant = $1`);
    // A third cluster that stood by for the old primary and was cut off during the failover; here it goes by the name of east.
    await moves.sql('east', `SELECT drover.follow_tenant($1, 1, 'north', 'live', NULL, 0, NULL)`);
    await moves.sql(
      'east',
      `UPDATE drover.tenant SET commit_lsn = $2, system_id = $3, generation = $4 WHERE tenant = $1`,
      `${(lsn >> 32n).toString(16)}/${(lsn & 0xffffffffn).toString(16)}`,
      opened?.systemId,
      opened?.generation,
    );
    await moves.change((p) => ({
      ...p,
      lastMove: { ...p.lastMove!, from: 'north' as never },
    }));
    expect(await moves.rejoin(moves.leader())).toBe(expected);
  });

  it('is mended when the stream it would follow has lost where the new epoch began', async () => {
    await moves.failOver();
    expect((await moves.placement()).epochMark).toBeDefined();
    await moves.change((p) => ({
      ...p,
      epochMark: '2020-01-01T00:00:00Z;1',
    }));
    await moves.publishedUpTo(async () => expect(await moves.rejoin(moves.leader())).toBe('mending'));
    expect((await moves.placement()).replicas).toMatchObject({ east: { state: 'copying' } });
  });

  it('stays a returning one when the tenant moves on before it has rejoined', async () => {
    await moves.failOver();
    await moves.change((p) => ({
      ...p,
      primary: 'north' as never,
      replicas: { ...p.replicas, west: { state: 'live', since: '' } },
    }));
    await moves.sql('west', 'SELECT drover.close_tenant($1, 2)');
    await moves.sql('west', `SELECT drover.follow_tenant($1, 3, 'north', 'live', NULL, 0, NULL)`);
    await moves.change((p) => ({ ...p, epoch: 3 as never }));
    await moves.change((p) => beginFailover(p, { id: crypto.randomUUID(), to: WEST, reason: 'north died' }));
    await moves.promote(moves.leader());
    expect((await moves.placement()).replicas).toMatchObject({
      east: { state: 'returning' },
      north: { state: 'returning' },
    });
    expect(await moves.row('east')).toMatchObject({ role: 'primary', epoch: 1 });
  });
});

it('is drained durably: a replica that crashes before it opens still has what it was drained to (I1)', async () => {
  await moves.stopReplicating();
  await moves.world.root.west.query(`ALTER SYSTEM SET synchronous_commit = 'off'`);
  await moves.world.root.west.query(`ALTER SYSTEM SET wal_writer_delay = '10s'`);
  await moves.world.root.west.query('SELECT pg_reload_conf()');
  try {
    await moves.world.root.west.query('CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public');
    // A page with room: whoever reads a full one prunes it, which is a later change of the page, and flushed by nobody.
    await moves.world.root.west.query('VACUUM drover.tenant');
    // Beyond the change of the tenant's row, so with its commit; what others write meanwhile does not matter.
    const flushed = async () => {
      const { rows } = await moves.world.root.west.query<{ flushed: boolean }>(
        `SELECT pg_current_wal_flush_lsn() > (public.page_header(public.get_raw_page('drover.tenant', (t.ctid::text::point)[0]::bigint))).lsn AS flushed
         FROM drover.tenant t WHERE tenant = $1`,
        [moves.tenant],
      );
      return rows[0]?.flushed === true;
    };
    await moves.ask();
    const leader = moves.leader(async (name) => {
      if (name !== 'switchover.closed') return;
      const { rows } = await moves.world.root.east.query<{ lsn: string }>(
        'SELECT pg_current_wal_insert_lsn()::text AS lsn',
      );
      await moves.sql(
        'west',
        `UPDATE drover.tenant SET commit_lsn = $2, system_id = 'east', generation = 1 WHERE tenant = $1`,
        rows[0]?.lsn,
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
      await moves.placement(),
    );
    expect(durable).toEqual([true, true]);
    await moves.expectServedBy('west', 2);
  } finally {
    await moves.world.root.west.query('ALTER SYSTEM RESET synchronous_commit');
    await moves.world.root.west.query('ALTER SYSTEM RESET wal_writer_delay');
    await moves.world.root.west.query('SELECT pg_reload_conf()');
  }
});
