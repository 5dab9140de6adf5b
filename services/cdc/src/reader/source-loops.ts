/** What goes on beside the stream on an ordinary connection. */
import { type Lsn, sleep } from '@drover/core';
import { emitHeartbeat, type Queryable } from '@drover/pg';
import { inTime } from './patience.ts';

const PATIENCE_MS = 10_000;

/** Writes a heartbeat into the source's WAL each `everyMs`, and tells where and when. @throws what a statement threw */
export async function beat(
  client: Queryable,
  everyMs: number,
  signal: AbortSignal,
  onBeat: (lsn: Lsn, atMs: number) => Promise<void>,
): Promise<void> {
  const patienceMs = Math.max(PATIENCE_MS, 5 * everyMs);
  while (!signal.aborted) {
    const lsn = await inTime(emitHeartbeat(client), patienceMs);
    await inTime(onBeat(lsn, performance.now()), patienceMs);
    await sleep(everyMs, signal);
  }
}
