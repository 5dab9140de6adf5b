/**
 * Built-in functions that PostgreSQL grants to PUBLIC and that a tenant's SQL must not reach.
 *
 * Logical messages steer Drover: `drover.epoch` says under which epoch a tenant's changes are, `drover.barrier` that all before
 * it has arrived; whoever can write them can forge them (I4). `pg_prepared_statement()` and `pg_cursor()` show the statements that other
 * tenants have left on a shared backend (I6). Those are taken from everybody.
 *
 * The others matter because all tenants are one role: it may see its other sessions' statements, cancel and end them, read the large objects
 * it has made, and take the locks of the write fence, whose keys are two integers (a lock with one bigint key is another lock). They are taken
 * from PUBLIC and given to every role there is but `drover_tenant`, so that what does not come through Drover goes on. A role made
 * later gets them from the next setup.
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

/** Kept from tenants only. */
const NOT_FOR_TENANTS: readonly string[] = [
  ...['pg_stat_get_activity', 'pg_stat_get_backend_activity', 'pg_cancel_backend', 'pg_terminate_backend'],
  ...[
    'lo_creat',
    'lo_create',
    'lo_from_bytea',
    'lo_get',
    'lo_put',
    'lo_open',
    'lo_unlink',
    'loread',
    'lowrite',
  ],
  ...['lo_lseek', 'lo_lseek64', 'lo_tell', 'lo_tell64', 'lo_truncate', 'lo_truncate64', 'lo_close'],
];
/** Of these, only what takes two integers. */
const LOCKS: readonly string[] = ['', 'try_'].flatMap((attempt) =>
  ['', 'xact_'].flatMap((span) => ['', '_shared'].map((mode) => `pg_${attempt}advisory_${span}lock${mode}`)),
);

/** Needs a superuser; what the setup user may not do comes back as refused. Idempotent. */
export async function guardFunctions(client: Queryable): Promise<Action[]> {
  return runWherePossible(client, 'built-in functions', await planFunctionGuard(client));
}

/** The statements that {@link guardFunctions} would run. */
export async function planFunctionGuard(client: Queryable): Promise<string[]> {
  const others = await queryRows<{ role: string }>(
    client,
    `SELECT rolname::text AS role FROM pg_catalog.pg_roles WHERE NOT rolsuper AND rolname !~ '^pg_' AND rolname <> $1 ORDER BY 1`,
    [ROLES.tenant],
  );
  const needs = (name: string): readonly string[] => GUARDED[name] ?? others.map((row) => row.role);
  const rows = await queryRows<{ name: string; signature: string; open: boolean; holders: string[] }>(
    client,
    `SELECT p.proname::text AS name, 'pg_catalog.' || p.oid::regprocedure::text AS signature,
       coalesce((SELECT bool_or(a.grantee = 0) FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) a), false) AS open,
       ARRAY(SELECT g.rolname::text FROM pg_catalog.aclexplode(p.proacl) a JOIN pg_catalog.pg_roles g ON g.oid = a.grantee) AS holders
     FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'pg_catalog'::regnamespace AND (p.proname = ANY ($1::text[])
       OR p.proname = ANY ($2::text[]) AND pg_catalog.oidvectortypes(p.proargtypes) = 'integer, integer') ORDER BY 1, 2`,
    [[...Object.keys(GUARDED), ...NOT_FOR_TENANTS], LOCKS],
  );
  return rows.flatMap((row) => {
    const missing = needs(row.name).filter((role) => !row.holders.includes(role));
    const roles = missing.map(quoteIdent).join(', ');
    return [
      ...(missing.length === 0 ? [] : [`GRANT EXECUTE ON FUNCTION ${row.signature} TO ${roles}`]),
      ...(row.open ? [`REVOKE EXECUTE ON FUNCTION ${row.signature} FROM PUBLIC`] : []),
    ];
  });
}
