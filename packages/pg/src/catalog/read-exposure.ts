/** What reaches past row-level security: foreign keys, definer functions, views, materialised views. */
import { type Queryable, queryRows } from '../schema/queryable.ts';

export interface ForeignKeyInfo {
  readonly name: string;
  readonly tableOid: number;
  readonly schema: string;
  readonly table: string;
  readonly columns: readonly string[];
  readonly referencedOid: number;
  readonly referencedSchema: string;
  readonly referencedTable: string;
  readonly referencedColumns: readonly string[];
  /** a no action, r restrict, c cascade, n set null, d set default. */
  readonly onDelete: string;
}

export async function readForeignKeys(client: Queryable): Promise<ForeignKeyInfo[]> {
  return queryRows<ForeignKeyInfo & { [column: string]: unknown }>(
    client,
    `SELECT k.conname::text AS name, c.oid::bigint::float8 AS "tableOid", n.nspname::text AS schema, c.relname::text AS "table",
       r.oid::bigint::float8 AS "referencedOid", rn.nspname::text AS "referencedSchema", r.relname::text AS "referencedTable",
       k.confdeltype::text AS "onDelete",
       (SELECT pg_catalog.json_agg(a.attname ORDER BY p.position) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS p (num, position)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = p.num) AS columns,
       (SELECT pg_catalog.json_agg(a.attname ORDER BY p.position) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS p (num, position)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = p.num) AS "referencedColumns"
     FROM pg_catalog.pg_constraint k
     JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
     WHERE k.contype = 'f' AND k.conparentid = 0 ORDER BY 3, 4, 1`,
  );
}

export interface DefinerFunction {
  /** With argument types, quoted. */
  readonly signature: string;
  readonly owner: string;
}

/** SECURITY DEFINER functions that `role` may call, outside PostgreSQL, Drover and extensions. */
export async function readDefinerFunctions(client: Queryable, role: string): Promise<DefinerFunction[]> {
  return queryRows<DefinerFunction & { [column: string]: unknown }>(
    client,
    `SELECT pg_catalog.format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) AS signature,
       r.rolname::text AS owner
     FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace JOIN pg_catalog.pg_roles r ON r.oid = p.proowner
     WHERE p.prosecdef AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
       AND CASE WHEN EXISTS (SELECT 1 FROM pg_catalog.pg_roles t WHERE t.rolname = $1)
             THEN pg_catalog.has_function_privilege($1, p.oid, 'EXECUTE')
             ELSE EXISTS (SELECT 1 FROM pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) x WHERE x.grantee = 0) END
       AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
     ORDER BY 1`,
    [role],
  );
}

export interface ViewInfo {
  readonly schema: string;
  readonly name: string;
  readonly materialized: boolean;
  readonly owner: string;
  /** It reads its tables with the rights of who asks (15+). */
  readonly securityInvoker: boolean;
  /** OIDs of tables it reads, directly or through other views. */
  readonly tables: readonly number[];
}

export async function readViews(client: Queryable): Promise<ViewInfo[]> {
  return queryRows<ViewInfo & { [column: string]: unknown }>(
    client,
    `WITH RECURSIVE reads (view, oid) AS (
       SELECT w.ev_class, d.refobjid FROM pg_catalog.pg_rewrite w
       JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
         AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> w.ev_class
       UNION SELECT r.view, d.refobjid FROM reads r
       JOIN pg_catalog.pg_rewrite w ON w.ev_class = r.oid
       JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
         AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> r.oid)
     SELECT n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'm' AS materialized, o.rolname::text AS owner,
       coalesce((SELECT x.option_value::boolean FROM pg_catalog.pg_options_to_table(c.reloptions) x
                 WHERE x.option_name = 'security_invoker'), false) AS "securityInvoker",
       (SELECT coalesce(pg_catalog.json_agg(DISTINCT t.oid::bigint), '[]'::json) FROM reads r JOIN pg_catalog.pg_class t ON t.oid = r.oid
        WHERE r.view = c.oid AND t.relkind IN ('r', 'p')) AS tables
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
     WHERE c.relkind IN ('v', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
     ORDER BY 1, 2`,
  );
}

export interface TableRights {
  readonly oid: number;
  /** Rights of PUBLIC. */
  readonly publicRights: readonly string[];
  /** Roles (not Drover's, no superusers) that may write: they do so past the fence. */
  readonly writers: readonly string[];
  /** Those of them that row security applies to: COPY FROM is refused to them. */
  readonly boundWriters: readonly string[];
}

export async function readTableRights(
  client: Queryable,
  droverRoles: readonly string[],
): Promise<TableRights[]> {
  return queryRows<TableRights & { [column: string]: unknown }>(
    client,
    `SELECT c.oid::bigint::float8 AS oid,
       ARRAY(SELECT x.privilege_type FROM pg_catalog.aclexplode(c.relacl) x WHERE x.grantee = 0 ORDER BY 1) AS "publicRights",
       ARRAY(SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper AND r.rolname <> ALL ($1::text[])
         AND (r.oid = c.relowner OR r.oid IN (SELECT x.grantee FROM pg_catalog.aclexplode(c.relacl) x
              WHERE x.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))) ORDER BY 1) AS writers,
       ARRAY(SELECT DISTINCT r.rolname::text FROM pg_catalog.pg_roles r WHERE NOT r.rolsuper AND NOT r.rolbypassrls
         AND r.rolname <> ALL ($1::text[]) AND (r.oid <> c.relowner OR c.relforcerowsecurity)
         AND r.oid IN (SELECT x.grantee FROM pg_catalog.aclexplode(c.relacl) x WHERE x.privilege_type = 'INSERT') ORDER BY 1) AS "boundWriters"
     FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p')`,
    [droverRoles],
  );
}
