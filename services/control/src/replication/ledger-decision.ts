/**
 * What retrying or skipping a ledger entry means, from the entry and the tenant's row as read in one transaction. Pure.
 *
 * A `poison` entry has stopped its tenant: the row is parked in front of its transaction. Retrying lets the feed go on and meet it again;
 * skipping tells it to pass that one transaction over. Everything else was passed over already: it can only be closed.
 */
import { dispositionOf } from '@drover/core';
import type { LedgerRow, TenantRow } from '@drover/pg';

export type LedgerAction = 'retry' | 'skip';

export type LedgerDecision =
  /** It was decided so before. */
  | { readonly kind: 'already' }
  | { readonly kind: 'refuse'; readonly why: string; readonly hint: string }
  /** Only the entry changes. */
  | { readonly kind: 'close' }
  /** The entry changes and the feed goes on; `skip`: passing this transaction over. */
  | { readonly kind: 'resume'; readonly skip: LedgerRow['commitLsn'] };

export function decideLedger(entry: LedgerRow, row: TenantRow | null, action: LedgerAction): LedgerDecision {
  const wanted = action === 'retry' ? 'retried' : 'skipped';
  if (entry.status === wanted) return { kind: 'already' };
  if (entry.status !== 'open') {
    return {
      kind: 'refuse',
      why: `entry ${entry.id} is ${entry.status} already`,
      hint: '`drover ledger list` shows the open ones',
    };
  }
  const stopped = entry.kind === 'poison' && row?.role === 'replica' && row.feed === 'parked';
  if (!stopped) {
    if (action === 'skip') return { kind: 'close' };
    if (entry.kind === 'resync') return copyAnew(entry);
    return entry.kind === 'poison'
      ? {
          kind: 'refuse',
          why: `${entry.tenant} is not stopped by entry ${entry.id} any more`,
          hint: 'skip it to close it',
        }
      : {
          kind: 'refuse',
          why: `an entry of kind ${entry.kind} was not applied and cannot be, its epoch is over`,
          hint: 'write what is still wanted through the application, then skip the entry to close it',
        };
  }
  // Positions mean nothing any more: going on would pass changes over silently (I1).
  if (dispositionOf(row.reason) === 'resync') return copyAnew(entry);
  if (action === 'retry') return { kind: 'resume', skip: null };
  if (entry.commitLsn === null || entry.commitLsn === 0n) {
    return {
      kind: 'refuse',
      why: `entry ${entry.id} does not name its transaction (${entry.reason}), so it cannot be passed over`,
      hint: `copy the replica anew: \`drover tenant replicate ${entry.tenant}\` with --anew`,
    };
  }
  return { kind: 'resume', skip: entry.commitLsn };
}

function copyAnew(entry: LedgerRow): LedgerDecision {
  return {
    kind: 'refuse',
    why: `entry ${entry.id} cannot be applied: the stream does not hold what comes next (${entry.reason})`,
    hint: `copy the replica anew, which closes the entry: \`drover tenant replicate ${entry.tenant} --to <cluster> --anew\``,
  };
}
