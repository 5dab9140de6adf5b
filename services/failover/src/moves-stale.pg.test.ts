/** Leaders that slept and wake up as stale ones, and several at once: what one is about to do is refused when another has gone on (I4, I10). */
import type { Placement } from '@drover/catalog';
import { codeOf } from '@drover/testkit';
import { describe, expect, it } from 'vitest';
import { rejoinTenant } from './moves/rejoin.ts';
import { runSwitchover } from './moves/switchover.ts';
import { FAILPOINTS, makeMoves } from './moves.testing.ts';
import { EAST, type Name, WEST } from './world.testing.ts';

const moves = makeMoves();

describe('a stale leader wakes up', () => {
  it.each(FAILPOINTS.switchover)('at %s, after the move was carried through: refused', async (failpoint) => {
    await moves.ask();
    const stale = moves.stoppedAt(failpoint);
    const old = codeOf(moves.go(stale.leader));
    await stale.there;
    await moves.go(moves.leader());
    stale.release();
    expect(await old).toBe('placement.conflict');
    await moves.heal();
    await moves.expectServedBy('west', 2);
  });

  it.each(FAILPOINTS.switchover)(
    'at %s, after the tenant has moved on and back: refused',
    async (failpoint) => {
      await moves.ask();
      const stale = moves.stoppedAt(failpoint);
      const old = codeOf(moves.go(stale.leader));
      await stale.there;
      await moves.go(moves.leader());
      await moves.ask(EAST);
      await moves.go(moves.leader());
      stale.release();
      expect(await old).toBe('placement.conflict');
      await moves.heal();
      await moves.expectServedBy('east', 3);
    },
  );

  it.each([...FAILPOINTS.switchover.slice(0, 4), ...FAILPOINTS.abort])(
    'at %s, after the move was called off, while another one drains: refused',
    async (failpoint) => {
      const first = await moves.ask();
      const aborts = FAILPOINTS.abort.includes(failpoint);
      const blocked = { drainTimeoutMs: 150 };
      if (aborts) await moves.stopReplicating();
      const stale = moves.stoppedAt(failpoint, aborts ? blocked : {});
      const old = codeOf(moves.go(stale.leader));
      await stale.there;
      if (!aborts) {
        await moves.stopReplicating();
        await moves.sql('west', 'UPDATE drover.tenant SET commit_lsn = NULL WHERE tenant = $1');
      }
      await moves.go(moves.leader(undefined, blocked));
      expect((await moves.placement()).lastMove).toMatchObject({
        id: first.move?.id,
        outcome: 'aborted',
      });
      const next = await moves.ask();
      const second = moves.stoppedAt('switchover.closed');
      const newer = moves.go(second.leader);
      await second.there; // closed for the second move, whose drain has not ended
      stale.release();
      expect(await old).toBe('placement.conflict');
      await moves.heal();
      expect((await moves.row('east'))?.reason).toBe(`move:${next.move?.id}`);
      expect(await moves.world.writable(moves.tenant)).toEqual([]); // nobody took the second move's close back
      moves.replicate();
      second.release();
      await newer;
      await moves.expectServedBy('west', 2);
    },
  );

  it.each([
    ['held', 'closed'],
    ['closing', 'drained'],
    ['closed', 'drained'],
    ['drained', 'opened'],
  ])('at %s, while another is at %s of the same move: nothing is called off', async (behind, ahead) => {
    await moves.ask();
    const stale = moves.stoppedAt(`switchover.${behind}`);
    const old = codeOf(moves.go(stale.leader));
    await stale.there;
    const other = moves.stoppedAt(`switchover.${ahead}`);
    const going = moves.go(other.leader);
    await other.there;
    stale.release();
    expect(await old).toBe('placement.conflict');
    other.release();
    await going;
    await moves.expectServedBy('west', 2);
  });

  it.each(FAILPOINTS.promote)('at %s of a failover: refused', async (failpoint) => {
    await moves.sql('east', 'SELECT drover.close_tenant($1, 1)');
    await moves.askFailover();
    const stale = moves.stoppedAt(failpoint);
    const old = codeOf(moves.promote(stale.leader));
    await stale.there;
    await moves.promote(moves.leader());
    stale.release();
    expect(await old).toBe('placement.conflict');
    await moves.expectServedBy('west', 2);
  });

  it.each(FAILPOINTS.rejoin)('at %s of a rejoin, after the tenant came home: refused', async (failpoint) => {
    await moves.failOver();
    await moves.publishedUpTo(async () => {
      const stale = moves.stoppedAt(failpoint);
      const old = codeOf(moves.rejoin(stale.leader));
      await stale.there;
      await moves.rejoin(moves.leader());
      await moves.ask(EAST);
      await moves.go(moves.leader());
      await moves.expectServedBy('east', 3);
      stale.release();
      await old;
    });
    await moves.expectServedBy('east', 3);
    expect((await moves.placement()).replicas).toMatchObject({ west: { state: 'live' } });
  });

  it('never closes a serving primary for a rejoin that an old view asks for', async () => {
    const old: Placement = {
      ...(await moves.placement()),
      primary: WEST,
      replicas: { east: { state: 'returning', since: '' } },
    };
    expect(await rejoinTenant(moves.leader().context, old, EAST)).toBe('over');
    await moves.expectServedBy('east', 1);
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
    const began = performance.now();
    const goesOn = (): boolean => {
      const ms = performance.now() - began;
      return ms < 12_000 || (carried <= 5 && ms < 200_000);
    };
    let carried = 0;
    const controller = async (): Promise<void> => {
      while (goesOn()) {
        const leader = moves.leader(
          async (_, self) => {
            if (roll(6) === 0) self.kill();
            await new Promise((resolve) => setTimeout(resolve, roll(4) === 0 ? roll(300) : 0));
          },
          { drainTimeoutMs: 20 + roll(400) },
        );
        const now = await moves.placement();
        if (now.state === 'active') {
          const to = now.primary === EAST ? WEST : EAST;
          await moves.ask(to).catch(() => undefined);
        }
        const asked = await moves.placement();
        if (asked.state === 'active') continue;
        const done = await codeOf(runSwitchover(leader.context, asked));
        if (done === 'done') carried++;
        else expect(['internal.cancelled', 'placement.conflict', 'placement.stale_epoch']).toContain(done);
      }
    };
    await Promise.all([controller(), controller(), controller()]);
    while ((await moves.placement()).state === 'moving') await codeOf(moves.go(moves.leader()));
    await moves.heal();
    const last = await moves.placement();
    await moves.expectServedBy(last.primary as unknown as Name, last.epoch);
    expect(carried).toBeGreaterThan(5);
  });
});
