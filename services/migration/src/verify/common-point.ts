/**
 * Two snapshots of a tenant, at its primary and at a replica, at exactly one point of its history, while both are live. The tenant's writers
 * are shut out for the moment in which a snapshot is taken and a barrier written; the replica's apply worker stops behind that barrier just
 * long enough for a snapshot there. The pause ends by itself, so a verification that dies leaves nothing behind.
 */
import { type ClusterId, DroverError, type Lsn, type TenantId, until } from '@drover/core';
import { emitBarrier, type PgPool, readTenantRow, type TenantRow } from '@drover/pg';
import { withTenantShutOut } from '../copy/snapshot.ts';
import { beginSnapshot, openSession, type Session, type SessionClient } from '../sessions.ts';

export interface Sides {
  /** Pools as drover_admin. */
  readonly source: PgPool;
  readonly replica: PgPool;
  readonly target: ClusterId;
  /** Tells the apply worker of the target to look at the tenant's row at once. */
  readonly nudge: () => Promise<void>;
  /** For a person: how far that worker is with the tenant, whose row says this. Never throws. */
  readonly whereabouts: (row: TenantRow) => Promise<string>;
  readonly barrierTimeoutMs: number;
  readonly signal: AbortSignal;
}

/** Longest pause of the replica. */
const PAUSE_MS = 10_000;
const LOOK_EVERY_MS = 20;
const APPLICATION = 'drover verify';
/** A replica that went on before it could be read is stopped again so often. */
const TRIES = 3;

type Compare<T> = (left: SessionClient, right: SessionClient) => Promise<T>;

/** The replica has passed the barrier, and nobody has seen it stand there. */
class WentOn extends DroverError {}

/** The barrier is not applied. */
class NotArrived extends Error {}

/** Runs `compare` on the two snapshots. @throws DroverError `verify.failed` when they could not be had */
export async function atCommonPoint<T>(sides: Sides, tenant: TenantId, compare: Compare<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await atBarrier(sides, tenant, compare);
    } catch (error) {
      if (!(error instanceof WentOn) || attempt === TRIES) throw error;
    }
  }
}

async function atBarrier<T>(sides: Sides, tenant: TenantId, compare: Compare<T>): Promise<T> {
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
      // Behind the barrier, and moves the replica's checkpoint: who is beyond it has passed the barrier, whoever else commits meanwhile.
      const behind = await emitBarrier(sides.source, { tenant, id: `behind-${id}` });
      await arrival(sides, tenant, { id, behind });
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

interface Barrier {
  readonly id: string;
  /** Whatever commits beyond it comes after the barrier. */
  readonly behind: Lsn;
}

async function arrival(sides: Sides, tenant: TenantId, barrier: Barrier): Promise<void> {
  const { target, barrierTimeoutMs } = sides;
  let row = null as TenantRow | null; // assigned in a closure
  try {
    await until(
      async () => {
        row = await readTenantRow(sides.replica, tenant);
        return isThere(row, tenant, target, barrier) || undefined;
      },
      {
        everyMs: LOOK_EVERY_MS,
        timeoutMs: barrierTimeoutMs,
        signal: sides.signal,
        onTimeout: () => new NotArrived(),
      },
    );
  } catch (error) {
    if (!(error instanceof NotArrived)) throw error;
    const where = row === null ? '' : `; ${await sides.whereabouts(row)}`;
    throw new DroverError(
      'verify.failed',
      `the barrier did not arrive at ${target} within ${barrierTimeoutMs / 1000} s${where}`,
      {
        hint: `do cdc of the primary and apply of ${target} run, and do they keep up? \`drover lag\` shows how far ${target} is`,
      },
    );
  }
}

/** Does the replica stand at the barrier? @throws DroverError `verify.failed` when it will not */
function isThere(
  row: TenantRow | null,
  tenant: TenantId,
  target: ClusterId,
  { id, behind }: Barrier,
): boolean {
  if (row?.role !== 'replica')
    throw new DroverError('verify.failed', `${target} does not follow ${tenant} any more`);
  if (row.feed === 'parked') {
    throw new DroverError(
      'verify.failed',
      `the replica of ${tenant} at ${target} is parked: ${row.reason ?? 'no reason on record'}`,
      { hint: '`drover ledger list` shows the change' },
    );
  }
  if (row.feed === 'held' && row.reason === pauseReason(id)) return true;
  if (row.commitLsn !== null && row.commitLsn > behind) throw wentOn(target);
  return false;
}

function wentOn(target: ClusterId): WentOn {
  return new WentOn(
    'verify.failed',
    `${target} went on before it could be read: its pause of ${PAUSE_MS / 1000} s was over, or was ended by others`,
    { hint: 'is another verification of the tenant running?' },
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
  throw wentOn(target);
}
