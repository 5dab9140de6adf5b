/**
 * The right to move sequences on at a switch-over, without which a tenant's next number could be one that it has already. It lies in a function of the
 * setup user's (see `schema/sequences.sql.ts`), who must be a superuser or the owner of the sequences.
 */
import { quoteIdent, quoteTable } from '../quote.ts';
import { type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { CARRY_SEQUENCE_FUNCTION, CARRY_SEQUENCES_PROCEDURE } from '../schema/sequences.sql.ts';
import { type Action, runWherePossible } from './actions.ts';

const ROUTINES = [
  { kind: 'FUNCTION', signature: 'drover.carry_sequence(oid, bigint)', sql: CARRY_SEQUENCE_FUNCTION },
  {
    kind: 'PROCEDURE',
    signature: 'drover.carry_sequences(oid[], bigint[], oid[])',
    sql: CARRY_SEQUENCES_PROCEDURE,
  },
] as const;

/** Idempotent; the schema is installed. What the setup user may not do comes back as refused. */
export async function ensureSequenceCarriers(client: Queryable): Promise<Action[]> {
  const plan = await planSequenceCarriers(client);
  const done = await runWherePossible(client, 'sequences', plan);
  return done.map((action) => ({
    ...action,
    sql: action.refused === undefined ? brief(action.sql) : action.sql,
  }));
}

/** The statements that {@link ensureSequenceCarriers} would run. */
export async function planSequenceCarriers(client: Queryable): Promise<string[]> {
  const statements: string[] = [];
  for (const { kind, signature, sql } of ROUTINES) {
    const have = await queryOne<{ body: string; admin: boolean; others: boolean }>(
      client,
      `SELECT p.prosrc AS body,
         coalesce((SELECT bool_or(a.grantee = r.oid) FROM pg_catalog.aclexplode(p.proacl) a), false) AS admin,
         coalesce((SELECT bool_or(a.grantee NOT IN (r.oid, p.proowner)) FROM pg_catalog.aclexplode(p.proacl) a), true) AS others
       FROM pg_catalog.pg_proc p, pg_catalog.pg_roles r WHERE p.oid = pg_catalog.to_regprocedure($1) AND r.rolname = $2`,
      [signature, ROLES.admin],
    );
    if (have === null || !sql.includes(`$$${have.body}$$`)) statements.push(sql);
    if (have?.others !== false) statements.push(`REVOKE ALL ON ${kind} ${signature} FROM PUBLIC`);
    if (have?.admin !== true)
      statements.push(`GRANT EXECUTE ON ${kind} ${signature} TO ${quoteIdent(ROLES.admin)}`);
  }
  if (statements.length === 0 && (await isSuperuser(client)) && (await immovableSequences(client)).length > 0)
    statements.push(`ALTER FUNCTION ${ROUTINES[0].signature} OWNER TO CURRENT_USER`);
  return statements;
}

async function isSuperuser(client: Queryable): Promise<boolean> {
  const row = await queryOne<{ is: boolean }>(
    client,
    'SELECT r.rolsuper AS is FROM pg_catalog.pg_roles r WHERE r.rolname = current_user',
  );
  return row?.is === true;
}

export interface ImmovableSequence {
  readonly name: string;
  /** Of the sequence; `by` is whom the function belongs to. */
  readonly owner: string;
  readonly by: string;
  /** Makes whom the function belongs to a member of the sequence's owner. */
  readonly sql: string;
}

/** Sequences that feed columns and that the function may not move; empty also when it is not there. */
export async function immovableSequences(client: Queryable): Promise<ImmovableSequence[]> {
  const rows = await queryRows<{ schema: string; name: string; owner: string; by: string }>(
    client,
    `SELECT DISTINCT n.nspname::text AS schema, s.relname::text AS name, o.rolname::text AS owner, f.rolname::text AS by
     FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace JOIN pg_catalog.pg_roles o ON o.oid = s.relowner
     JOIN pg_catalog.pg_proc p ON p.oid = pg_catalog.to_regprocedure('drover.carry_sequence(oid, bigint)')
     JOIN pg_catalog.pg_roles f ON f.oid = p.proowner
     WHERE s.relkind = 'S' AND s.relpersistence <> 't' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
       AND NOT pg_catalog.pg_has_role(f.oid, s.relowner, 'USAGE')
       AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE
         d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = s.oid AND d.deptype IN ('a', 'i')
         OR d.classid = 'pg_catalog.pg_attrdef'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = s.oid)
     ORDER BY 1, 2`,
  );
  return rows.map((row) => ({
    name: quoteTable(row.schema, row.name),
    owner: row.owner,
    by: row.by,
    sql: `GRANT ${quoteIdent(row.owner)} TO ${quoteIdent(row.by)} WITH INHERIT TRUE`,
  }));
}

const brief = (sql: string): string =>
  /^\s*(CREATE OR REPLACE (?:FUNCTION|PROCEDURE) [\w.]+)/.exec(sql)?.[1] ?? sql;
