/** Asks a cluster one cheap question on a connection of its own and reports only whether the answer came in time. */
import type { Closeable } from '@drover/core';
import { type ConnectOptions, connectPg } from '@drover/pg';
import type pg from 'pg';

const PATIENCE_MS = 1000;

export class QueryProbe implements Closeable {
  readonly #connect: ConnectOptions;
  #client: pg.Client | null = null;

  constructor(connect: ConnectOptions) {
    this.#connect = { ...connect, applicationName: 'drover cdc probe', connectTimeoutMs: PATIENCE_MS };
  }

  async ask(signal: AbortSignal): Promise<boolean> {
    try {
      this.#client ??= await connectPg(this.#connect);
      const client = this.#client;
      await within(client.query('SELECT 1'), signal);
      return true;
    } catch {
      const client = this.#client;
      this.#client = null;
      // A connection that is stuck is cut, not asked to end politely; either way nobody waits for it.
      void client?.end().catch(() => {});
      return false;
    }
  }

  async close(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    await client?.end().catch(() => {});
  }
}

async function within(work: Promise<unknown>, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
  const cut = Promise.withResolvers<never>();
  const onAbort = () => cut.reject(new Error('no answer in time'));
  limit.addEventListener('abort', onAbort, { once: true });
  try {
    await Promise.race([work, cut.promise]);
  } finally {
    limit.removeEventListener('abort', onAbort);
    work.catch(() => {}); // late, and told already
  }
}
