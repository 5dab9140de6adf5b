/** Between domain types and protobuf messages; enums are mapped exhaustively at this edge. */
import type { Isolation, Placement, Replica } from '@drover/catalog';
import { DroverError } from '@drover/core';
import type { LedgerRow } from '@drover/pg';
import { formatLsn } from '@drover/core';
import { Isolation as IsolationPb, ReplicaState as ReplicaStatePb } from '@drover/rpc';

const ISOLATION: Readonly<Record<Isolation, IsolationPb>> = {
  column: IsolationPb.COLUMN,
  schema: IsolationPb.SCHEMA,
  database: IsolationPb.DATABASE,
};
const REPLICA_STATE: Readonly<Record<Replica['state'], ReplicaStatePb>> = {
  copying: ReplicaStatePb.COPYING,
  live: ReplicaStatePb.LIVE,
  returning: ReplicaStatePb.RETURNING,
};

/** Not given means column. @throws DroverError `rpc.invalid` */
export function isolationOf(value: IsolationPb): Isolation {
  if (value === IsolationPb.UNSPECIFIED) return 'column';
  for (const [name, number] of Object.entries(ISOLATION)) if (number === value) return name as Isolation;
  throw new DroverError('rpc.invalid', `isolation ${value} is not known`);
}

export function tenantMessage(placement: Placement, isolation: Isolation = 'column') {
  const { move, lastMove } = placement;
  return {
    tenant: placement.tenant,
    isolation: ISOLATION[isolation],
    tier: placement.tier,
    epoch: BigInt(placement.epoch),
    primary: placement.primary,
    database: placement.database,
    replicas: Object.entries(placement.replicas).map(([cluster, replica]) => ({
      cluster,
      state: REPLICA_STATE[replica.state],
      since: replica.since,
    })),
    moving: placement.state === 'moving',
    moveStep: move?.step ?? '',
    moveTo: move?.to ?? '',
    lastError: lastMove?.outcome === 'aborted' ? (lastMove.error ?? 'called off') : '',
    lastHoldMs: BigInt(lastMove?.holdMs ?? 0),
  };
}

export function ledgerMessage(cluster: string, row: LedgerRow) {
  return {
    cluster,
    id: BigInt(row.id),
    tenant: row.tenant,
    source: row.source,
    epoch: BigInt(row.epoch ?? 0),
    commitLsn: row.commitLsn === null ? '' : formatLsn(row.commitLsn),
    kind: row.kind,
    reason: row.reason,
    detail: JSON.stringify(row.detail),
    status: row.status,
    createdAt: row.createdAt.toISOString(),
  };
}
