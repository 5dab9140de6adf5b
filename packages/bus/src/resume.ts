/**
 * What a new reader must know about the stream's end. Flush groups of a partition follow one another, so the last message's group
 * tells all: up to its safe LSN everything is in the stream; beyond it, each tenant stands where its messages in the group say.
 */
import type { ClusterId, Lsn } from '@drover/core';
import type { Bus } from './connect.ts';
import { H_CHUNK, H_GROUP, H_LAST, parseChunk, parseGroup, parseLast, parseMessageId } from './headers.ts';
import { parseSubject, streamName } from './names.ts';
import type { StreamState } from './stream.ts';

export interface TenantMark {
  readonly lastLsn: Lsn;
  readonly part: number;
  readonly complete: boolean;
}

export interface ResumeMarks {
  /** First sequence of the last flush group. */
  readonly firstSeq: number;
  readonly safeLsn: Lsn;
  readonly systemId: string;
  readonly generation: number;
  /** Tenant token to where it stands beyond the safe LSN. A block of which only some chunks arrived does not count. */
  readonly perTenant: ReadonlyMap<string, TenantMark>;
}

/** Reads from the stream's leader, never from a follower. Null when the stream holds no message. */
export async function readResumeMarks(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
  state: StreamState,
): Promise<ResumeMarks | null> {
  const name = streamName(cluster, partition);
  const last = state.messages === 0 ? null : await bus.jsm.streams.getMessage(name, { seq: state.lastSeq });
  const group = last === null ? undefined : parseGroup(last.header.get(H_GROUP));
  const source = last === null ? undefined : parseMessageId(last.header.get('Nats-Msg-Id'));
  if (group === undefined || source === undefined) return null;
  const perTenant = new Map<string, TenantMark>();
  for (let seq = Math.max(group.firstSeq, state.firstSeq); seq <= state.lastSeq; seq++) {
    const message = await bus.jsm.streams.getMessage(name, { seq });
    if (message === null) continue;
    const token = parseSubject(message.subject)?.token;
    const mark = parseLast(message.header.get(H_LAST));
    const chunk = parseChunk(message.header.get(H_CHUNK));
    if (token === undefined || mark === undefined) continue;
    if (chunk === undefined || chunk.index === chunk.count - 1) perTenant.set(token, mark);
  }
  return { firstSeq: group.firstSeq, safeLsn: group.safeLsn, ...source, perTenant };
}
