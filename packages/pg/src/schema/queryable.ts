/**
 * Small helpers over a connection. Names are always schema-qualified, because Drover's connections have no search_path to
 * speak of.
 */
import type { QueryResultRow } from 'pg';
import type { Queryable } from '../connect.ts';

export type { Queryable };

/** Runs `work` in one transaction of `client` (a single connection, never a pool) and commits, or rolls back and rethrows. */
export async function inTransaction<T>(client: Queryable, work: () => Promise<T>): Promise<T> {
  await client.query('BEGIN');
  try {
    const result = await work();
    await client.query('COMMIT');
    return result;
  } catch (error) {
    // A failed rollback means a broken connection: the server rolls back by itself, the first error is the news.
    await client.query('ROLLBACK').catch(() => {});
    throw error;
  }
}

export async function queryRows<R extends QueryResultRow>(
  client: Queryable,
  text: string,
  values: unknown[] = [],
): Promise<R[]> {
  return (await client.query<R>(text, values)).rows;
}

export async function queryOne<R extends QueryResultRow>(
  client: Queryable,
  text: string,
  values: unknown[] = [],
): Promise<R | null> {
  return (await client.query<R>(text, values)).rows[0] ?? null;
}
