/** Row-level security on captured tables: looking at what is there and running what `protect-plan.ts` says is missing. */
import { inTransaction, type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { type Action, runActions } from './actions.ts';
import { type ProtectedTable, protectStatements, type SecurityState } from './protect-plan.ts';

/** Statements for the table and, since policies of a parent do not hold for rows reached through a child, every partition and child. */
export async function planProtect(
  client: Queryable,
  table: ProtectedTable,
): Promise<{ object: string; statements: string[] }[]> {
  const plans = [];
  for (const each of await familyOf(client, table)) {
    const state = await readSecurity(client, each.schema, each.table);
    if (state === null) continue;
    const statements = protectStatements({ ...table, schema: each.schema, table: each.table }, state);
    plans.push({ object: `table ${each.schema}.${each.table}`, statements });
  }
  return plans;
}

/** Run by the table's owner or a superuser; all or nothing. */
export async function protectTable(client: Queryable, table: ProtectedTable): Promise<Action[]> {
  return inTransaction(client, async () => {
    const done: Action[] = [];
    for (const plan of await planProtect(client, table)) {
      done.push(...(await runActions(client, plan.object, plan.statements)));
    }
    return done;
  });
}

async function familyOf(
  client: Queryable,
  table: ProtectedTable,
): Promise<{ schema: string; table: string }[]> {
  return queryRows<{ schema: string; table: string }>(
    client,
    `WITH RECURSIVE family (oid) AS (
       SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE n.nspname = $1 AND c.relname = $2
       UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON f.oid = i.inhparent)
     SELECT n.nspname::text AS schema, c.relname::text AS "table" FROM family f JOIN pg_catalog.pg_class c ON c.oid = f.oid
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') ORDER BY c.oid`,
    [table.schema, table.table],
  );
}

export async function readSecurity(
  client: Queryable,
  schema: string,
  table: string,
): Promise<SecurityState | null> {
  return queryOne<SecurityState & { [column: string]: unknown }>(
    client,
    `SELECT c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, o.rolname::text AS owner,
       o.rolsuper OR o.rolbypassrls AS "ownerBypasses",
       ARRAY(SELECT DISTINCT coalesce(r.rolname::text, 'public') FROM (
               SELECT x.grantee FROM pg_catalog.aclexplode(c.relacl) x
               UNION SELECT x.grantee FROM pg_catalog.pg_attribute a, pg_catalog.aclexplode(a.attacl) x
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
               -- Their members may read or write every table without a grant.
               UNION SELECT m.roleid FROM pg_catalog.pg_auth_members m
                 WHERE m.roleid IN ('pg_read_all_data'::regrole, 'pg_write_all_data'::regrole)) g
             LEFT JOIN pg_catalog.pg_roles r ON r.oid = g.grantee
             WHERE g.grantee <> c.relowner AND coalesce(r.rolname::text, 'public') <> ALL ($3::text[]) ORDER BY 1) AS grantees,
       (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object('name', p.polname, 'permissive', p.polpermissive,
            'command', p.polcmd, 'roles', (SELECT pg_catalog.json_agg(coalesce(r.rolname::text, 'public') ORDER BY 1)
               FROM pg_catalog.unnest(p.polroles) AS role (oid) LEFT JOIN pg_catalog.pg_roles r ON r.oid = role.oid),
            'using', pg_catalog.pg_get_expr(p.polqual, c.oid), 'check', pg_catalog.pg_get_expr(p.polwithcheck, c.oid),
            'comment', pg_catalog.obj_description(p.oid, 'pg_policy')) ORDER BY p.polname), '[]'::json)
        FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid) AS policies
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
     WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`,
    [schema, table, Object.values(ROLES)],
  );
}
