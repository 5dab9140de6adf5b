/**
 * Failover of one tenant away from a dead cluster. What JetStream holds is drained first, so every acknowledged write that
 * had reached it is there (I1); what had not stays in the dead cluster's WAL and reaches the ledger when it returns (I8).
 */
import type { Placement } from '@drover/catalog';
import { advanceMove, finishMove } from '@drover/catalog';
import { assert, DroverError, must } from '@drover/core';
import { quiesce } from './quiesce.ts';
import { lastSequence, waitConsumed, waitReaderEmpty } from './steps.ts';
import { change, type MoveContext, openAtTarget } from './switchover.ts';

export interface PromoteOptions {
  /** A proxy without a sign of life is waited for at most this long: its lease and a margin. */
  readonly leaseMs: number;
}

/** Runs or resumes the failover of `placement` to its end; throws what stopped it, to be tried again. */
export async function runPromotion(
  context: MoveContext,
  placement: Placement,
  options: PromoteOptions,
): Promise<Placement> {
  const move = must(placement.move, 'move of a moving placement');
  const { tenant, database } = placement;
  const started = performance.now();
  const to = context.clusters.pool(move.to, database);
  const at = async (name: string) => context.failpoint?.(`promote.${name}`);
  let current = placement;
  if (current.move?.step === 'fence') {
    const revision = must(await context.catalog.getPlacement(tenant), 'placement').revision;
    const result = await quiesce(context.bus, tenant, revision, {
      live: context.live,
      timeoutMs: options.leaseMs * 2,
      signal: context.signal,
    });
    // I4: a proxy whose lease still runs and which has not let go may yet write on a cluster that is only cut off from us.
    if (!result.quiet) {
      throw new DroverError(
        'placement.conflict',
        `proxies still hold ${tenant}: ${result.missing.join(', ')}`,
      );
    }
    await at('fenced');
    current = await change(context, tenant, move, (p) => advanceMove(p, 'drain'));
  }
  if (current.move?.step === 'drain') {
    await waitReaderEmpty(context, move.from, 2000);
    const seq = await lastSequence(context, move.from, tenant);
    await waitConsumed(context, {
      pool: to,
      tenant,
      source: move.from,
      seq,
      timeoutMs: context.drainTimeoutMs * 6,
    });
    const openSeq = await lastSequence(context, move.to, tenant);
    await at('drained');
    current = await change(context, tenant, move, (p) => advanceMove(p, 'open', { openSeq }));
  }
  assert(current.move?.step === 'open', 'a failover opens after it has drained', { tenant });
  const left = await openAtTarget(context, current);
  await at('opened');
  return change(context, tenant, move, (p) =>
    finishMove(p, { holdMs: Math.round(performance.now() - started), ...left }),
  );
}
