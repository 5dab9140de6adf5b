/** Rights of Drover's roles on captured tables: what the table in docs/architecture.md says and nothing beyond. */
import { quoteIdent, quoteTable } from '../quote.ts';
import { inTransaction, type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { type DroverRole, ROLES } from '../schema/roles.ts';
import { type Action, runActions } from './actions.ts';

/**
 * tenant: rows belong to tenants; reference: shared, tenants only read; hidden: tenants have no rights of their own on it, because it is
 * a partition, reached through its root, or because it cannot be protected.
 */
export type TableUse = 'tenant' | 'reference' | 'hidden';

const DML = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'] as const;

export function wantedRights(use: TableUse): Readonly<Record<DroverRole, readonly string[]>> {
  return {
    drover_admin: ['SELECT'],
    drover_cdc: ['SELECT'],
    drover_apply: [...DML, 'TRUNCATE'],
    drover_tenant: use === 'tenant' ? DML : use === 'reference' ? ['SELECT'] : [],
  };
}

/** Tenants draw from the sequences of their tables; apply sets them at a cut-over. */
function wantedSequenceRights(use: TableUse): Readonly<Record<DroverRole, readonly string[]>> {
  return {
    drover_admin: ['SELECT'],
    drover_cdc: ['SELECT'],
    drover_apply: ['SELECT', 'UPDATE'],
    drover_tenant: use === 'tenant' ? ['USAGE'] : [],
  };
}

export interface TableGrant {
  readonly schema: string;
  readonly table: string;
  readonly use: TableUse;
}

/** Rights held, by role. */
type Held = Readonly<Record<string, readonly string[]>>;

/** GRANTs for what is missing and REVOKEs for what is too much, role by role. Pure. */
export function grantStatements(object: string, wanted: Held, held: Held): string[] {
  const statements: string[] = [];
  for (const [role, rights] of Object.entries(wanted)) {
    const has = held[role] ?? [];
    const extra = has.filter((right) => !rights.includes(right));
    const missing = rights.filter((right) => !has.includes(right));
    if (extra.length > 0) statements.push(`REVOKE ${extra.join(', ')} ON ${object} FROM ${quoteIdent(role)}`);
    if (missing.length > 0)
      statements.push(`GRANT ${missing.join(', ')} ON ${object} TO ${quoteIdent(role)}`);
  }
  return statements;
}

/** The statements that grantTable() would run. */
export async function planGrants(client: Queryable, table: TableGrant): Promise<string[]> {
  const name = quoteTable(table.schema, table.table);
  const statements: string[] = [];
  const missing = await queryRows<{ role: string }>(
    client,
    `SELECT r AS role FROM pg_catalog.unnest($1::text[]) r WHERE NOT pg_catalog.has_schema_privilege(r, $2, 'USAGE')`,
    [Object.values(ROLES), table.schema],
  );
  if (missing.length > 0) {
    const roles = missing.map((row) => quoteIdent(row.role)).join(', ');
    statements.push(`GRANT USAGE ON SCHEMA ${quoteIdent(table.schema)} TO ${roles}`);
  }
  const held = await queryOne<{ held: Record<string, string[]> }>(client, HELD, [
    table.schema,
    table.table,
    Object.values(ROLES),
  ]);
  if (held === null) return statements;
  statements.push(...grantStatements(`TABLE ${name}`, wantedRights(table.use), held.held));
  const sequences = await queryRows<{ schema: string; name: string; held: Record<string, string[]> }>(
    client,
    SEQUENCES,
    [table.schema, table.table, Object.values(ROLES)],
  );
  for (const sequence of sequences) {
    const object = `SEQUENCE ${quoteTable(sequence.schema, sequence.name)}`;
    statements.push(...grantStatements(object, wantedSequenceRights(table.use), sequence.held));
  }
  return statements;
}

/** Run by the table's owner or a superuser. */
export async function grantTable(client: Queryable, table: TableGrant): Promise<Action[]> {
  return inTransaction(client, async () =>
    runActions(client, `table ${table.schema}.${table.table}`, await planGrants(client, table)),
  );
}

const HELD_OF_C = `(SELECT coalesce(pg_catalog.json_object_agg(h.role, h.rights), '{}'::json) FROM (
    SELECT r.rolname AS role, pg_catalog.json_agg(x.privilege_type ORDER BY x.privilege_type) AS rights
    FROM pg_catalog.aclexplode(c.relacl) x JOIN pg_catalog.pg_roles r ON r.oid = x.grantee
    WHERE r.rolname = ANY ($3::text[]) AND r.oid <> c.relowner GROUP BY 1) h)`;

const HELD = `
SELECT ${HELD_OF_C} AS held FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`;

/** Sequences the table owns (serial, identity) or draws from in a default. */
const SEQUENCES = `
SELECT DISTINCT ON (c.oid) sn.nspname::text AS schema, c.relname::text AS name, ${HELD_OF_C} AS held
FROM pg_catalog.pg_class t JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::regclass AND d.refobjid = t.oid AND d.deptype IN ('a', 'i')
    AND d.refclassid = 'pg_catalog.pg_class'::regclass
  OR d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
    AND d.objid IN (SELECT ad.oid FROM pg_catalog.pg_attrdef ad WHERE ad.adrelid = t.oid)
JOIN pg_catalog.pg_class c ON c.relkind = 'S'
  AND c.oid = CASE WHEN d.classid = 'pg_catalog.pg_class'::regclass THEN d.objid ELSE d.refobjid END
JOIN pg_catalog.pg_namespace sn ON sn.oid = c.relnamespace
WHERE n.nspname = $1 AND t.relname = $2`;

/** CONNECT on the database, where PUBLIC has lost it. */
export async function grantConnect(client: Queryable): Promise<Action[]> {
  const rows = await queryRows<{ role: string; database: string }>(
    client,
    `SELECT r AS role, current_database()::text AS database FROM pg_catalog.unnest($1::text[]) r
     WHERE NOT pg_catalog.has_database_privilege(r, current_database(), 'CONNECT')`,
    [Object.values(ROLES)],
  );
  return runActions(
    client,
    'database',
    rows.map((row) => `GRANT CONNECT ON DATABASE ${quoteIdent(row.database)} TO ${quoteIdent(row.role)}`),
  );
}
