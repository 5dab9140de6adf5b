/**
 * Making tables of a stranger fit to be captured, where that is safe: the tenant column NOT NULL, a replica identity that holds it,
 * or the whole row where there is no key. Nothing is dropped, no data is changed. Each statement stands alone and waits
 * at most `lockTimeoutMs` for its lock, so that a busy table is not blocked behind it; a run that failed can be repeated.
 */
import { readServer } from '../catalog/read-server.ts';
import { readTables } from '../catalog/read-tables.ts';
import { checkIdentity } from '../preflight/identity.ts';
import type { Queryable } from '../schema/queryable.ts';
import type { Tagging } from '../tagging.ts';
import { type Action, runActions } from './actions.ts';
import { classifyTables, isCaptured } from './captured.ts';

export interface AdoptOptions {
  readonly tagging: Tagging;
  /** Default 5 s. */
  readonly lockTimeoutMs?: number;
  readonly onTable?: (table: string, statements: readonly string[]) => void;
}

/**
 * Run by the owner of the tables or a superuser. @throws what PostgreSQL says, for example 23502 when rows without a tenant
 * stand in the way, or 55P03 when the table is too busy
 */
export async function adoptTables(client: Queryable, options: AdoptOptions): Promise<Action[]> {
  const server = await readServer(client);
  const done: Action[] = [];
  await client.query(`SELECT pg_catalog.set_config('lock_timeout', $1, false)`, [
    String(options.lockTimeoutMs ?? 5000),
  ]);
  try {
    for (const c of classifyTables(await readTables(client), options.tagging, server.database)) {
      if (!isCaptured(c) || c.table.persistence !== 'permanent') continue;
      const statements = checkIdentity(c).flatMap((f) => f.statements ?? []);
      if (statements.length === 0) continue;
      const name = `table ${c.table.schema}.${c.table.name}`;
      options.onTable?.(name, statements);
      done.push(...(await runActions(client, name, statements)));
    }
  } finally {
    await client.query('RESET lock_timeout');
  }
  return done;
}
