/** From domain types to the messages of the contract. Pure. */
import type { Placement, Tenant } from '@drover/catalog';
import { formatLsn } from '@drover/core';
import type { LedgerRow } from '@drover/pg';
import {
  type ClusterVerdictSchema,
  clusterState,
  feed,
  isolation,
  type LedgerEntrySchema,
  ledgerStatus,
  moveKind,
  moveOutcome,
  moveStep,
  replicaState,
  type Sent,
  type TenantLagSchema,
  type TenantSchema,
  timestampFromDate,
} from '@drover/rpc';
import type { TenantFeed, Verdict } from './peers.ts';

type Time = ReturnType<typeof timestampFromDate>;

export function tenantMessage(placement: Placement, entry: Tenant | null): Sent<typeof TenantSchema> {
  const { move, lastMove } = placement;
  return {
    tenant: placement.tenant,
    isolation: isolation.fromText(entry?.isolation),
    tier: placement.tier,
    epoch: BigInt(placement.epoch),
    primary: placement.primary,
    database: placement.database,
    replicas: Object.entries(placement.replicas).map(([cluster, replica]) => ({
      cluster,
      state: replicaState.toProto(replica.state),
      ...time('since', replica.since),
    })),
    ...(move === undefined
      ? {}
      : {
          move: {
            id: move.id,
            kind: moveKind.toProto(move.kind),
            from: move.from,
            to: move.to,
            step: moveStep.toProto(move.step),
            reason: move.reason,
            ...time('startedAt', move.startedAt),
          },
        }),
    ...(lastMove === undefined
      ? {}
      : {
          lastMove: {
            id: lastMove.id,
            kind: moveKind.toProto(lastMove.kind),
            from: lastMove.from,
            to: lastMove.to,
            outcome: moveOutcome.toProto(lastMove.outcome),
            error: lastMove.error ?? '',
            holdMs: BigInt(lastMove.holdMs ?? 0),
            ...time('endedAt', lastMove.endedAt),
          },
        }),
    users: Object.keys(entry?.users ?? {}),
    ...time('createdAt', entry?.createdAt),
  };
}

export function verdictMessage(verdict: Verdict): Sent<typeof ClusterVerdictSchema> {
  return {
    cluster: verdict.cluster,
    state: clusterState.fromText(verdict.state),
    score: verdict.score,
    failing: [...verdict.failing],
    observers: [...verdict.observers],
  };
}

export function lagMessage(target: string, lag: TenantFeed): Sent<typeof TenantLagSchema> {
  return {
    tenant: lag.tenant,
    source: lag.source,
    target,
    feed: feed.fromText(lag.feed),
    commitLsn: lag.commitLsn,
    reason: lag.reason,
    ...(lag.lagSeconds === null ? {} : { lagSeconds: lag.lagSeconds }),
  };
}

/** Larger ones stay where they are: an answer has room for a few of them, bytes. */
const DETAIL_BYTES_MAX = 1024 * 1024;

/** The rows of an entry, as JSON. */
function detailOf({ detail }: LedgerRow): string {
  const text = JSON.stringify(detail);
  const bytes = Buffer.byteLength(text);
  if (bytes <= DETAIL_BYTES_MAX) return text;
  return JSON.stringify({ omitted: `${bytes} bytes: read drover.ledger on the cluster`, bytes });
}

export function ledgerMessage(
  cluster: string,
  database: string,
  row: LedgerRow,
): Sent<typeof LedgerEntrySchema> {
  return {
    cluster,
    database,
    id: BigInt(row.id),
    tenant: row.tenant,
    source: row.source,
    epoch: BigInt(row.epoch ?? 0),
    commitLsn: row.commitLsn === null ? '' : formatLsn(row.commitLsn),
    kind: row.kind,
    reason: row.reason,
    detail: detailOf(row),
    status: ledgerStatus.toProto(row.status),
    createdAt: timestampFromDate(row.createdAt),
    ...(row.resolvedAt === null ? {} : { resolvedAt: timestampFromDate(row.resolvedAt) }),
    resolvedBy: row.resolvedBy ?? '',
  };
}

/** Nothing for a time that is absent or none. */
export function time<K extends string>(key: K, iso: string | undefined): { [P in K]?: Time } {
  const date = new Date(iso ?? Number.NaN);
  return (Number.isNaN(date.getTime()) ? {} : { [key]: timestampFromDate(date) }) as { [P in K]?: Time };
}
