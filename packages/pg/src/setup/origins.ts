/**
 * Replication origins: apply writes under them, so that a cluster's own capture (origin none) never sees what was applied to it.
 */

import { quoteIdent } from '../quote.ts';
import { type Queryable, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { type Action, runWherePossible } from './actions.ts';

/** Creates the origins that are missing; run once a cluster. Names come from `originName()`. */
export async function ensureOrigins(client: Queryable, names: readonly string[]): Promise<Action[]> {
  const rows = await queryRows<{ name: string }>(
    client,
    'SELECT roname AS name FROM pg_catalog.pg_replication_origin WHERE roname = ANY($1::text[])',
    [names],
  );
  const present = new Set(rows.map((row) => row.name));
  const done: Action[] = [];
  for (const name of names) {
    if (present.has(name)) continue;
    await client.query('SELECT pg_catalog.pg_replication_origin_create($1)', [name]);
    done.push({ object: `origin ${name}`, sql: `SELECT pg_replication_origin_create('${name}')` });
  }
  return done;
}

/** Lets drover_apply use origins in this database: the functions are for superusers unless granted (system_functions.sql). */
export async function grantOrigins(client: Queryable): Promise<Action[]> {
  return runWherePossible(client, 'replication origins', await planOriginGrants(client));
}

/** The statements that {@link grantOrigins} would run. */
export async function planOriginGrants(client: Queryable): Promise<string[]> {
  const rows = await queryRows<{ signature: string }>(
    client,
    `SELECT 'pg_catalog.' || p.oid::regprocedure::text AS signature FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace
       AND (p.proname LIKE 'pg\\_replication\\_origin\\_%' OR p.proname = 'pg_show_replication_origin_status')
       AND NOT pg_catalog.has_function_privilege($1, p.oid, 'EXECUTE') ORDER BY 1`,
    [ROLES.apply],
  );
  return rows.map((row) => `GRANT EXECUTE ON FUNCTION ${row.signature} TO ${quoteIdent(ROLES.apply)}`);
}
