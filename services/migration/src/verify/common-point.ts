/**
 * Two snapshots of a tenant, at its primary and at a replica, at exactly one point of its history, while both are live. The tenant's writers
 * are shut out for the moment in which a snapshot is taken and a barrier written; the replica's apply worker stops behind that barrier just
 * long enough for a snapshot there. The pause ends by itself, so a verification that dies leaves nothing behind.
 */
import { type ClusterId, DroverError, type TenantId, until } from '@drover/core';
import { emitBarrier, type PgPool, readTenantRow } from '@drover/pg';
import { withTenantShutOut } from '../copy/snapshot.ts';
import { beginSnapshot, openSession, type Session, type SessionClient } from '../sessions.ts';

export interface Sides {
  /** Pools as drover_admin. */
  readonly source: PgPool;
  readonly replica: PgPool;
  readonly target: ClusterId;
  /** Tells the apply worker of the target to look at the tenant's row at once. */
  readonly nudge: () => Promise<void>;
  readonly barrierTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** Longest pause of the replica. */
const PAUSE_MS = 10_000;
const LOOK_EVERY_MS = 20;
const APPLICATION = 'drover verify';

/** Runs `compare` on the two snapshots. @throws DroverError `verify.failed` when they could not be had */
export async function atCommonPoint<T>(
  sides: Sides,
  tenant: TenantId,
  compare: (left: SessionClient, right: SessionClient) => Promise<T>,
): Promise<T> {
  const left = await openSession(sides.source.options, APPLICATION, sides.signal);
  let right: Session | undefined;
  try {
    right = await openSession(sides.replica.options, APPLICATION, sides.signal);
    const id = `verify-${crypto.randomUUID()}`;
    await withTenantShutOut(sides.source, tenant, async () => {
      await beginSnapshot(left.client);
      await emitBarrier(sides.source, { tenant, id, pauseFor: { target: sides.target, ms: PAUSE_MS } });
    });
    try {
      await arrival(sides, tenant, id);
      await beginSnapshot(right.client);
    } finally {
      await release(sides, tenant, id);
    }
    await requireHeld(right.client, tenant, id, sides.target);
    return await compare(left.client, right.client);
  } finally {
    await left.close();
    await right?.close();
  }
}

const pauseReason = (id: string): string => `pause:${id}`;

async function arrival(sides: Sides, tenant: TenantId, id: string): Promise<void> {
  const { target, barrierTimeoutMs } = sides;
  await until(
    async () => {
      const row = await readTenantRow(sides.replica, tenant);
      if (row?.role !== 'replica')
        throw new DroverError('verify.failed', `${target} does not follow ${tenant} any more`);
      if (row.feed === 'parked') {
        throw new DroverError(
          'verify.failed',
          `the replica of ${tenant} at ${target} is parked: ${row.reason ?? 'no reason on record'}`,
          { hint: '`drover ledger list` shows the change' },
        );
      }
      return row.feed === 'held' && row.reason === pauseReason(id) ? true : undefined;
    },
    {
      everyMs: LOOK_EVERY_MS,
      timeoutMs: barrierTimeoutMs,
      signal: sides.signal,
      onTimeout: () =>
        new DroverError(
          'verify.failed',
          `the barrier did not arrive at ${target} within ${barrierTimeoutMs / 1000} s`,
          {
            hint: `do cdc of the primary and apply of ${target} run, and do they keep up? \`drover lag\` shows how far ${target} is`,
          },
        ),
    },
  );
}

/** Not what another verification holds. A replica that is not let go here goes on when the pause is over. */
async function release(sides: Sides, tenant: TenantId, id: string): Promise<void> {
  const freed = await sides.replica
    .query(
      `UPDATE drover.tenant SET feed = 'catchup', reason = NULL, updated_at = pg_catalog.clock_timestamp()
       WHERE tenant = $1 AND role = 'replica' AND feed = 'held' AND reason = $2`,
      [tenant, pauseReason(id)],
    )
    .catch(() => null);
  if (freed?.rowCount === 1) await sides.nudge();
}

/** Exact: what the snapshot itself says of the tenant. */
async function requireHeld(
  right: SessionClient,
  tenant: TenantId,
  id: string,
  target: ClusterId,
): Promise<void> {
  const row = await readTenantRow(right, tenant);
  if (row?.feed === 'held' && row.reason === pauseReason(id)) return;
  throw new DroverError(
    'verify.failed',
    `${target} went on before it could be read: the pause of ${PAUSE_MS / 1000} s was over`,
  );
}
