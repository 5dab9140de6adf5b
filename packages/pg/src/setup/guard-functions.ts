/**
 * Built-in functions that PostgreSQL grants to PUBLIC and that a tenant's SQL must not reach.
 *
 * Logical messages steer Drover: `drover.epoch` says under which epoch a tenant's changes are, `drover.barrier` that all before
 * it has arrived; whoever can write them can forge them (I4). `pg_prepared_statement()` and `pg_cursor()` show the statements that other
 * tenants have left on a shared backend (I6).
 */
import { quoteIdent } from '../quote.ts';
import { type Queryable, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { type Action, runWherePossible } from './actions.ts';

/** Function to the roles that need it. */
const GUARDED: Readonly<Record<string, readonly string[]>> = {
  pg_logical_emit_message: [ROLES.admin, ROLES.cdc],
  pg_prepared_statement: [],
  pg_cursor: [],
};

/** Needs a superuser; what the setup user may not do comes back as refused. Idempotent. */
export async function guardFunctions(client: Queryable): Promise<Action[]> {
  return runWherePossible(client, 'built-in functions', await planFunctionGuard(client));
}

/** The statements that {@link guardFunctions} would run. */
export async function planFunctionGuard(client: Queryable): Promise<string[]> {
  const rows = await queryRows<{ name: string; signature: string; open: boolean; holders: string[] }>(
    client,
    `SELECT p.proname::text AS name, 'pg_catalog.' || p.oid::regprocedure::text AS signature,
       coalesce((SELECT bool_or(a.grantee = 0) FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a), false) AS open,
       ARRAY(SELECT g.rolname::text FROM pg_catalog.aclexplode(p.proacl) a JOIN pg_catalog.pg_roles g ON g.oid = a.grantee) AS holders
     FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = ANY ($1::text[]) ORDER BY 1, 2`,
    [Object.keys(GUARDED)],
  );
  return rows.flatMap((row) => [
    ...(GUARDED[row.name] ?? [])
      .filter((role) => !row.holders.includes(role))
      .map((role) => `GRANT EXECUTE ON FUNCTION ${row.signature} TO ${quoteIdent(role)}`),
    ...(row.open ? [`REVOKE EXECUTE ON FUNCTION ${row.signature} FROM PUBLIC`] : []),
  ]);
}
