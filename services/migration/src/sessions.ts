/**
 * Connections for long work: settings of the cluster that end long statements do not end them, and they are cut at once when the
 * work is called off, also when the server has fallen silent.
 */
import { cancelled } from '@drover/core';
import { type ConnectOptions, connectPg, discard, quoteTable } from '@drover/pg';

export type SessionClient = Awaited<ReturnType<typeof connectPg>>;

export interface Session {
  readonly client: SessionClient;
  /** Never waits for the server; what was not committed is rolled back by it. */
  close(): Promise<void>;
}

/** Seconds to minutes of copying or reading are our business; waiting for somebody's lock has a bound. Not every version has all of them. */
const UNBOUNDED = `SELECT pg_catalog.set_config(s.name, CASE s.name WHEN 'lock_timeout' THEN '60s' ELSE '0' END, false)
  FROM pg_catalog.pg_settings s WHERE s.name IN
  ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'lock_timeout')`;

/** @throws DroverError `internal.cancelled`, and as connectPg */
export async function openSession(
  options: ConnectOptions,
  applicationName: string,
  signal: AbortSignal,
): Promise<Session> {
  if (signal.aborted) throw cancelled();
  const client = await connectPg({ ...options, applicationName });
  const cut = () => void discard(client);
  signal.addEventListener('abort', cut, { once: true });
  const session: Session = {
    client,
    close: async () => {
      signal.removeEventListener('abort', cut);
      await discard(client);
    },
  };
  try {
    if (signal.aborted) throw cancelled();
    await client.query(UNBOUNDED);
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** One snapshot for all that is read until the session is closed. */
export async function beginSnapshot(client: SessionClient): Promise<void> {
  await beginReading(client, []);
  await takeSnapshot(client);
}

/**
 * A transaction in which nobody changes the tables any more. A snapshot that is older than a rewrite of a table (ALTER TABLE) sees no rows in it
 * (manual, 13.6 "Caveats"), so they are locked before: LOCK TABLE takes none. Ended by closing the session.
 */
export async function beginReading(
  client: SessionClient,
  tables: readonly { readonly schema: string; readonly name: string }[],
): Promise<void> {
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
  if (tables.length === 0) return;
  const names = tables.map(({ schema, name }) => quoteTable(schema, name)).join(', ');
  await client.query(`LOCK TABLE ${names} IN ACCESS SHARE MODE`);
}

/** Of a transaction that has begun: the snapshot is taken by the first query, not by BEGIN. */
export async function takeSnapshot(client: SessionClient): Promise<void> {
  await client.query('SELECT pg_catalog.pg_current_snapshot()');
}
