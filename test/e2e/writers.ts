/** Clients that write through the proxy and keep book of every outcome, so that nothing can be lost or doubled unseen. */
import { describeError, sleep } from '@drover/core';
import pg from 'pg';

export interface Outcome {
  readonly seq: number;
  readonly startedMs: number;
  readonly endedMs: number;
  /** unknown: the connection was lost when the statement may have been executed. */
  readonly result: 'ok' | 'unknown' | 'refused';
  readonly error?: string;
}

export interface Book {
  readonly tenant: string;
  readonly outcomes: Outcome[];
}

export interface Writers {
  readonly books: readonly Book[];
  stop(): Promise<void>;
}

const PAUSE_MS = 10;

/** One client for each tenant; each write is one row of `activity` with a growing number. */
export function startWriters(proxy: string, tenants: readonly string[]): Writers {
  const stop = new AbortController();
  const books = tenants.map((tenant): Book => ({ tenant, outcomes: [] }));
  const running = books.map((book) => write(proxy, book, stop.signal));
  return {
    books,
    stop: async () => {
      stop.abort();
      await Promise.all(running);
    },
  };
}

async function write(proxy: string, book: Book, signal: AbortSignal): Promise<void> {
  const url = new URL(proxy);
  url.username = `${book.tenant}.app`;
  let client: pg.Client | undefined;
  for (let seq = 1; !signal.aborted; seq++) {
    const startedMs = performance.now();
    let sent = false;
    try {
      if (client === undefined) {
        client = new pg.Client({ connectionString: url.href, connectionTimeoutMillis: 30_000 });
        client.on('error', () => undefined);
        await client.connect();
      }
      sent = true;
      await client.query(`INSERT INTO activity (tenant_id, kind, body) VALUES ($1, 'e2e', $2)`, [
        book.tenant,
        String(seq),
      ]);
      book.outcomes.push({ seq, startedMs, endedMs: performance.now(), result: 'ok' });
    } catch (error) {
      const result = sent ? 'unknown' : 'refused';
      book.outcomes.push({ seq, startedMs, endedMs: performance.now(), result, error: describeError(error) });
      client?.end().catch(() => undefined);
      client = undefined;
      await sleep(50, signal);
    }
    await sleep(PAUSE_MS, signal);
  }
  await client?.end().catch(() => undefined);
}

/** Longest time between two successes of a tenant, ms. */
export function longestGap(book: Book): number {
  const ok = book.outcomes.filter((o) => o.result === 'ok');
  let longest = 0;
  for (let i = 1; i < ok.length; i++)
    longest = Math.max(longest, (ok[i]?.endedMs ?? 0) - (ok[i - 1]?.endedMs ?? 0));
  return Math.round(longest);
}

export function percentile(values: readonly number[], p: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor((p / 100) * sorted.length))] ?? 0;
}
