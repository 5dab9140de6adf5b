/** What happened, kept for a week: the stream `DROVER_EVENTS` over `drover.events.>`. */
import type { Bus } from '@drover/bus';
import { isRecord } from './moves/is-record.ts';

const STREAM = 'DROVER_EVENTS';
const SUBJECT = 'drover.events.';
const WEEK_NS = 7 * 24 * 3600 * 1_000_000_000;
const LIMIT_DEFAULT = 100;
const LIMIT_MAX = 1000;
const BATCH = 500;
const BATCH_MS = 2000;

export interface HistoryEvent {
  readonly at: string;
  readonly kind: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export async function ensureHistory(bus: Bus, replicas: number): Promise<void> {
  const wanted = {
    name: STREAM,
    subjects: [`${SUBJECT}>`],
    max_age: WEEK_NS,
    max_bytes: 64 * 1024 * 1024,
    num_replicas: replicas,
  };
  try {
    await bus.jsm.streams.info(STREAM);
  } catch {
    await bus.jsm.streams.add({ ...wanted, storage: 'file', retention: 'limits', discard: 'old' });
  }
}

/** The newest failover events, oldest first; `tenant` narrows, `limit` (1 to 1000) bounds. */
export async function readHistory(
  bus: Bus,
  request: Readonly<Record<string, unknown>>,
): Promise<HistoryEvent[]> {
  const limit = limitOf(request['limit']);
  const { tenant } = request;
  // The server sorts out what is not asked for: progress of copies, for one, is most of the stream.
  const consumer = await bus.js.consumers.get(STREAM, { filter_subjects: [`${SUBJECT}failover.>`] });
  const out: HistoryEvent[] = [];
  let pending = (await consumer.info()).num_pending;
  while (pending > 0) {
    // Not more than there are: a batch that is not full waits for the rest.
    const batch = await consumer.fetch({ max_messages: Math.min(BATCH, pending), expires: BATCH_MS });
    pending = 0;
    for await (const message of batch) {
      pending = message.info.pending;
      const fields = parse(message.data);
      if (fields === undefined || (typeof tenant === 'string' && fields['tenant'] !== tenant)) continue;
      out.push({ at: message.time.toISOString(), kind: message.subject.slice(SUBJECT.length), fields });
      if (out.length > limit) out.shift();
    }
  }
  return out;
}

function limitOf(value: unknown): number {
  const asked = Number(value ?? LIMIT_DEFAULT);
  return Number.isFinite(asked) ? Math.min(LIMIT_MAX, Math.max(1, Math.floor(asked))) : LIMIT_DEFAULT;
}

function parse(data: Uint8Array): Record<string, unknown> | undefined {
  try {
    const fields: unknown = JSON.parse(new TextDecoder().decode(data));
    return isRecord(fields) ? fields : undefined;
  } catch {
    return undefined;
  }
}
