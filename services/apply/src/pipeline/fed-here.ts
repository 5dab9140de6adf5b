/** Whom a partition of a source feeds at this target, by the rows as they are now: all that a loss of its stream may concern. */
import { partitionOf, type TenantId } from '@drover/core';
import type { Session } from '../target/session.ts';

export interface SourcePartition {
  readonly source: string;
  readonly partition: number;
  readonly partitions: number;
}

export async function fedHere(
  session: Session,
  { source, partition, partitions }: SourcePartition,
): Promise<string[]> {
  const rows = await session.rows(`SELECT tenant FROM drover.tenant WHERE role = 'replica' AND source = $1`, [
    source,
  ]);
  return rows.flatMap(([tenant]) =>
    tenant != null && partitionOf(tenant as TenantId, partitions) === partition ? [tenant] : [],
  );
}
