/**
 * From a lane of its own back to the main lane, exactly: with the main lane stopped between two transactions at position P, the tenant becomes
 * `live` only when every message of its at or below P has been dealt with. Messages beyond P that its lane has applied already are skipped by the
 * main lane by their sequence.
 */
import { subjectOf } from '@drover/bus';
import { type TenantId, tenantToken } from '@drover/core';
import type { Session } from '../target/session.ts';
import { isPart, type Lane, type LanesOptions } from './lane.ts';

/** How long the main lane may be stopped for one hand-over. */
const HANDOVER_MS = 300;

/** What is asked of who keeps the lanes. */
export interface Handing {
  session(): Promise<Session>;
  isDue(lane: Lane): boolean;
  /** Applies what the lane has, up to a batch; false: the lane has ended by that. */
  apply(lane: Lane): Promise<boolean>;
  close(lane: Lane): void;
}

/** False: not now. True: something was done, and the lane has ended. */
export async function handOver(lane: Lane, options: LanesOptions, by: Handing): Promise<boolean> {
  const { deps, gate, position, signal, stream } = options;
  const subject = subjectOf(deps.source, deps.partition, tenantToken(lane.tenant as TenantId));
  const behind = async (): Promise<boolean> => {
    if (lane.seq >= position()) return false;
    const { head } = lane.queue;
    if (head !== undefined) return head.seq <= position();
    const last = await deps.bus.jsm.streams.getMessage(stream, { last_by_subj: subject });
    return last !== null && last.seq > lane.seq;
  };
  if (await behind()) return false;
  const release = await gate.hold();
  try {
    const deadline = performance.now() + HANDOVER_MS;
    while (await behind()) {
      const left = deadline - performance.now();
      if (left <= 0 || signal.aborted || !(await lane.queue.wait(signal, left))) return false;
      const { head } = lane.queue;
      // A transaction of several parts is not waited for with the main lane stopped.
      if (!by.isDue(lane) || (head !== undefined && isPart(head))) return false;
      if (!(await by.apply(lane))) return true;
    }
    await makeLive(lane, options, await by.session());
    deps.log.info('a tenant is live', { tenant: lane.tenant, seq: lane.seq });
    by.close(lane);
    return true;
  } finally {
    release();
  }
}

async function makeLive(lane: Lane, { deps, stream }: LanesOptions, session: Session): Promise<void> {
  const rows = await session.rows(
    `UPDATE drover.tenant SET feed = 'live', reason = NULL, stream = $3, updated_at = clock_timestamp(),
       stream_seq = CASE WHEN stream = $3 THEN greatest(stream_seq, $4::bigint) ELSE $4::bigint END
     WHERE tenant = $1 AND role = 'replica' AND source = $2 AND feed = 'catchup' RETURNING commit_lsn`,
    [lane.tenant, deps.source, stream, String(lane.seq)],
  );
  if (rows[0]?.[0] == null) return;
  await session.rows(
    `UPDATE drover.ledger SET status = 'resolved', resolved_at = now(), resolved_by = coalesce(resolved_by, 'apply')
     WHERE tenant = $1 AND source = $2 AND status IN ('open', 'retried')
       AND (kind = 'poison' AND commit_lsn <= $3::pg_lsn OR kind = 'resync')`, // live again: it was copied anew
    [lane.tenant, deps.source, rows[0][0]],
  );
}
