/**
 * The marks of one database in a partition's stream, where several databases of a cluster share it: the last flush group
 * that is this database's, found from the stream's end. The message ids name the database.
 */

import { type Bus, PROFILE_TOKEN, parseSubject, streamName } from '@drover/bus';
import { type ClusterId, type Lsn, parseLsn, type TenantId, tenantToken } from '@drover/core';
import type { Mark } from '../capture/marks.ts';
import type { FoundMarks } from '../capture/resume.ts';

/** Heartbeats put every database into every stream each second; further back than this the slot alone decides. */
const LOOK_BACK_MESSAGES = 20_000;

interface Seen {
  readonly token: string;
  readonly firstSeq: number;
  readonly safeLsn: Lsn;
  readonly systemId: string;
  readonly generation: number;
  readonly mark: Mark | null;
}

export async function readDatabaseMarks(
  bus: Bus,
  options: { cluster: ClusterId; partition: number; database: string },
): Promise<FoundMarks | null> {
  const name = streamName(options.cluster, options.partition);
  const { state } = await bus.jsm.streams.info(name);
  const oldest = Math.max(state.first_seq, state.last_seq - LOOK_BACK_MESSAGES);
  let last: Seen | null = null;
  const perTenant = new Map<string, Mark>();
  for (let seq = state.last_seq; seq >= oldest && seq >= 1; seq--) {
    if (last !== null && seq < last.firstSeq) break;
    const message = await bus.jsm.streams.getMessage(name, { seq });
    if (message === null) continue;
    const header = (key: string) => message.header.get(key);
    const seen = parseMessage(message.subject, header, options.database);
    if (seen === null) continue;
    last ??= seen;
    if (seen.mark !== null && !perTenant.has(seen.token)) perTenant.set(seen.token, seen.mark);
  }
  return last === null ? null : { ...last, perTenant };
}

/** Pure. Null: not of this database, or not of a reader. */
export function parseMessage(
  subject: string,
  header: (key: string) => string,
  database: string,
): Seen | null {
  const token = parseSubject(subject)?.token;
  const [systemId, generation, , , , name] = header('Nats-Msg-Id').split('.');
  if (token === undefined || name !== tenantToken(database as TenantId)) return null; // as in outgoing.ts
  const [firstSeq, safe] = header('Drover-Group').split(';');
  const [lastLsn, part, complete] = header('Drover-Last').split(';');
  if (systemId === undefined || safe === undefined || lastLsn === undefined) return null;
  const chunk = /^(\d+)\/(\d+)$/.exec(header('Drover-Chunk'));
  const whole = chunk === null || Number(chunk[1]) === Number(chunk[2]) - 1;
  const marks = whole && token !== PROFILE_TOKEN;
  const mark = marks ? { lastLsn: parseLsn(lastLsn), part: Number(part), complete: complete === '1' } : null;
  return {
    token,
    systemId,
    generation: Number(generation),
    firstSeq: Number(firstSeq),
    safeLsn: parseLsn(safe),
    mark,
  };
}
