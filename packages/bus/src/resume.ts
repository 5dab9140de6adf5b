/**
 * What a new reader must know about the stream's end. Flush groups of a partition follow one another, so the last message's group
 * tells all: up to its safe LSN everything is in the stream; beyond it, each tenant stands where its messages in the group say.
 */
import { type ClusterId, DroverError, type Lsn } from '@drover/core';
import type { Bus } from './connect.ts';
import {
  type BlockSource,
  H_CHUNK,
  H_GROUP,
  H_ID,
  H_LAST,
  parseChunk,
  parseGroup,
  parseLast,
  parseMessageId,
} from './headers.ts';
import { FENCE_TOKEN, PROFILE_TOKEN, parseSubject, streamName } from './names.ts';
import { readOrdered } from './ordered.ts';
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
  /** Whose group it is, as a token; empty: not named. */
  readonly database: string;
  /** Tenant token to where it stands beyond the safe LSN. A block of which only some chunks arrived does not count. */
  readonly perTenant: ReadonlyMap<string, TenantMark>;
}

/** Without a message for so long, the end of a stream cannot be read. */
const SILENCE_MS = 20_000;

/** The marks, and whose LSNs they are. */
export interface FoundEnd {
  readonly marks: ResumeMarks;
  readonly origin: string;
}

/**
 * Null when the stream holds no block. The end is read from the stream's leader, never from a follower; what stands before it cannot
 * change any more. Marks of another source (system, generation, database) are not comparable and left out.
 * @throws DroverError `bus.unreachable`
 */
export async function readEnd(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
  state: StreamState,
): Promise<FoundEnd | null> {
  const last = await lastOfReader(bus, streamName(cluster, partition), state);
  if (last === null) return null;
  const perTenant = new Map<string, TenantMark>();
  const silent = new AbortController();
  const timer = setTimeout(() => silent.abort(), SILENCE_MS);
  const messages = readOrdered(bus, {
    stream: streamName(cluster, partition),
    start: { seq: Math.max(last.group.firstSeq, state.firstSeq) },
    expectCreated: state.created,
    complete: 'all',
    headersOnly: true,
    signal: silent.signal,
  });
  try {
    for await (const item of messages) {
      timer.refresh();
      if (item.kind !== 'message') continue;
      const { message } = item;
      const header = (name: string) => message.headers?.get(name) ?? '';
      const token = parseSubject(message.subject)?.token;
      const mark = parseLast(header(H_LAST));
      const chunk = parseChunk(header(H_CHUNK));
      const whole = chunk === undefined || chunk.index === chunk.count - 1;
      const ours = parseMessageId(header(H_ID))?.origin === last.source.origin;
      if (token !== undefined && token !== PROFILE_TOKEN && mark !== undefined && whole && ours)
        perTenant.set(token, mark);
      if (message.seq < last.seq) continue;
      const { origin, ...source } = last.source;
      return { origin, marks: { ...last.group, ...source, perTenant } };
    }
  } finally {
    clearTimeout(timer);
  }
  throw new DroverError('bus.unreachable', 'the bus went away while the end of a stream was read');
}

/** As {@link readEnd}, only the marks. */
export async function readResumeMarks(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
  state: StreamState,
): Promise<ResumeMarks | null> {
  return (await readEnd(bus, cluster, partition, state))?.marks ?? null;
}

interface Last {
  readonly seq: number;
  readonly group: { readonly firstSeq: number; readonly safeLsn: Lsn };
  readonly source: BlockSource;
}

/** The newest message of a reader. The stream may end with the fence of one that died before it published, or with what others put there. */
async function lastOfReader(bus: Bus, name: string, state: StreamState): Promise<Last | null> {
  for (let seq = state.lastSeq; seq >= state.firstSeq; seq--) {
    const message = await bus.read(() => bus.jsm.streams.getMessage(name, { seq }));
    if (message === null || parseSubject(message.subject)?.token === FENCE_TOKEN) continue;
    const group = parseGroup(message.header.get(H_GROUP));
    const source = parseMessageId(message.header.get(H_ID));
    if (group !== undefined && source !== undefined) return { seq, group, source };
  }
  return null;
}
