/**
 * Logical messages steer Drover: `drover.epoch` says under which epoch a tenant's changes are, `drover.barrier` that all before it has
 * arrived. PostgreSQL lets everybody write them (pg_logical_emit_message is granted to PUBLIC), so a tenant's SQL could
 * forge them (I4): the right is taken from PUBLIC and given to the roles that need it.
 */
import { quoteIdent } from '../quote.ts';
import { type Queryable, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { type Action, runWherePossible } from './actions.ts';

const WRITERS = [ROLES.admin, ROLES.cdc];

/** Needs a superuser; what the setup user may not do comes back as refused. Idempotent. */
export async function guardMessages(client: Queryable): Promise<Action[]> {
  return runWherePossible(client, 'logical messages', await planMessageGuard(client));
}

/** The statements that {@link guardMessages} would run. */
export async function planMessageGuard(client: Queryable): Promise<string[]> {
  const rows = await queryRows<{ signature: string; open: boolean; lacking: string[] }>(
    client,
    `SELECT 'pg_catalog.' || p.oid::regprocedure::text AS signature,
       coalesce((SELECT bool_or(a.grantee = 0) FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a), false) AS open,
       ARRAY(SELECT r FROM unnest($1::text[]) r WHERE NOT EXISTS (
         SELECT 1 FROM pg_catalog.aclexplode(p.proacl) a JOIN pg_catalog.pg_roles g ON g.oid = a.grantee WHERE g.rolname = r)) AS lacking
     FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname = 'pg_logical_emit_message' ORDER BY 1`,
    [WRITERS],
  );
  return rows.flatMap((row) => [
    ...row.lacking.map((role) => `GRANT EXECUTE ON FUNCTION ${row.signature} TO ${quoteIdent(role)}`),
    ...(row.open ? [`REVOKE EXECUTE ON FUNCTION ${row.signature} FROM PUBLIC`] : []),
  ]);
}
