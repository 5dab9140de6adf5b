/** Leaders that die: whatever one was about to do, the next one carries on, and the tenant ends writable at one cluster, the one its placement names (I4, I10). */
import { codeOf } from '@drover/testkit';
import { describe, expect, it } from 'vitest';
import { FAILPOINTS, makeMoves } from './moves.testing.ts';
import { killedAt } from './world.testing.ts';

const moves = makeMoves();

describe('a leader is killed', () => {
  it.each(FAILPOINTS.switchover)('at %s: the next one carries the switch-over through', async (failpoint) => {
    await moves.ask();
    expect(await codeOf(moves.go(moves.leader(killedAt(failpoint))))).toBe('internal.cancelled');
    expect((await moves.placement()).state).toBe('moving');
    await moves.go(moves.leader());
    await moves.expectServedBy('west', 2);
    expect(await moves.row('east')).toMatchObject({
      role: 'replica',
      source: 'west',
      epoch: 2,
    });
    expect((await moves.placement()).replicas).toMatchObject({ east: { state: 'live' } });
  });

  it.each(FAILPOINTS.abort)('at %s: the next one ends the call-off', async (failpoint) => {
    await moves.ask();
    await moves.stopReplicating();
    const killed = moves.leader(killedAt(failpoint), { drainTimeoutMs: 200 });
    expect(await codeOf(moves.go(killed))).toBe('internal.cancelled');
    await moves.go(moves.leader());
    await moves.expectServedBy('east', 1);
    expect((await moves.placement()).lastMove).toMatchObject({
      outcome: 'aborted',
      error: expect.stringContaining('did not reach') as string,
    });
  });

  it.each(FAILPOINTS.promote)('at %s: the next one carries the failover through', async (failpoint) => {
    await moves.sql('east', 'SELECT drover.close_tenant($1, 1)'); // the dead cluster accepts nothing
    await moves.askFailover();
    expect(await codeOf(moves.promote(moves.leader(killedAt(failpoint))))).toBe('internal.cancelled');
    await moves.promote(moves.leader());
    await moves.expectServedBy('west', 2);
    expect((await moves.placement()).replicas).toMatchObject({ east: { state: 'returning' } });
  });

  it.each(FAILPOINTS.rejoin)('at %s: the next one brings the cluster back', async (failpoint) => {
    await moves.failOver();
    await moves.publishedUpTo(async () => {
      expect(await codeOf(moves.rejoin(moves.leader(killedAt(failpoint))))).toBe('internal.cancelled');
      expect(await moves.rejoin(moves.leader())).toBe('follows');
    });
    await moves.expectServedBy('west', 2);
    expect(await moves.row('east')).toMatchObject({
      role: 'replica',
      source: 'west',
      epoch: 2,
    });
    expect((await moves.placement()).replicas).toMatchObject({ east: { state: 'live' } });
  });
});
