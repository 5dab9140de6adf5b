/** What happened, kept for a week: the stream `DROVER_EVENTS` over `drover.events.>`. */
import type { Bus } from '@drover/bus';
import { isRecord } from './moves/steps.ts';

const STREAM = 'DROVER_EVENTS';
const WEEK_NS = 7 * 24 * 3600 * 1_000_000_000;

export interface HistoryEvent {
  readonly at: string;
  readonly kind: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export async function ensureHistory(bus: Bus, replicas: number): Promise<void> {
  const wanted = {
    name: STREAM,
    subjects: ['drover.events.>'],
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
  const limit = Math.min(1000, Math.max(1, Number(request['limit'] ?? 100)));
  const info = await bus.jsm.streams.info(STREAM);
  const out: HistoryEvent[] = [];
  for (let seq = info.state.last_seq; seq >= info.state.first_seq && seq > 0 && out.length < limit; seq--) {
    const message = await bus.jsm.streams.getMessage(STREAM, { seq });
    if (message === null || !message.subject.startsWith('drover.events.failover.')) continue;
    const fields: unknown = message.json();
    if (
      !isRecord(fields) ||
      (typeof request['tenant'] === 'string' && fields['tenant'] !== request['tenant'])
    )
      continue;
    out.push({
      at: message.time.toISOString(),
      kind: message.subject.slice('drover.events.'.length),
      fields,
    });
  }
  return out.reverse();
}
