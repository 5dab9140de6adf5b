/** What leaves a lane: messages of a flush group, and how they are called. */
import type { ClusterId, Lsn, TenantId } from '@drover/core';
import { tenantToken } from '@drover/core';

/** One message of a flush group; the same shape as the bus's OutMessage. */
export interface Outgoing {
  readonly token: string;
  readonly block: Buffer;
  readonly id: string;
  readonly firstLsn: Lsn;
  readonly lastLsn: Lsn;
  readonly part: number;
  readonly complete: boolean;
  /** Of what has not committed: it says nothing about how far its token has come. */
  readonly unmarked?: boolean;
  readonly onSeq?: (seq: number) => void;
}

/** What all blocks of a lane have in common. */
export interface LaneIdentity {
  readonly source: ClusterId;
  readonly database: string;
  readonly systemId: string;
  readonly generation: number;
}

/** Of a block; the bus makes its messages' ids of it. */
export function idOf(of: LaneIdentity, token: string, firstLsn: Lsn, part: number): string {
  const database = tenantToken(of.database as TenantId); // spelled like a tenant, for the same reasons
  return `${of.systemId}.${of.generation}.${token}.${firstLsn.toString(16)}.${part}.${database}`;
}
