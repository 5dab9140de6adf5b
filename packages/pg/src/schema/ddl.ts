/**
 * Installing the capture of schema changes, or taking it away. Event triggers need a superuser: what the setup user may not do
 * comes back as refused, and doctor says that schema changes are not captured.
 */
import { createHash } from 'node:crypto';
import { quoteIdent, quoteLiteral } from '../quote.ts';
import type { Action } from '../setup/actions.ts';
import type { Tagging } from '../tagging.ts';
import { DDL_FUNCTION_NAMES, DDL_FUNCTIONS, DDL_TRIGGERS } from './ddl-triggers.sql.ts';
import { inTransaction, type Queryable, queryOne, queryRows } from './queryable.ts';
import { ROLES } from './roles.ts';

export interface DdlOptions {
  /** `[capture] ddl`. */
  readonly enabled: boolean;
  readonly tagging: Tagging;
}

const OBJECT = 'schema changes';
const TRIGGER_FINGERPRINT = createHash('sha256')
  .update(JSON.stringify([DDL_FUNCTIONS, DDL_TRIGGERS]))
  .digest('hex')
  .slice(0, 16);

/** What {@link ensureDdlCapture} would run; empty when all is as it should be. The schema is installed. */
export async function planDdlCapture(client: Queryable, options: DdlOptions): Promise<string[]> {
  const capture = await queryOne<{ ddl: boolean; tagging: unknown; fingerprint: string }>(
    client,
    'SELECT ddl, tagging, fingerprint FROM drover.capture',
  );
  const present = await queryRows<{ name: string; enabled: string }>(
    client,
    `SELECT evtname::text AS name, evtenabled AS enabled FROM pg_catalog.pg_event_trigger WHERE evtname = ANY ($1::text[])`,
    [DDL_TRIGGERS.map((trigger) => trigger.name)],
  );
  const statements: string[] = [];
  const current = capture?.fingerprint === TRIGGER_FINGERPRINT;
  if (options.enabled) {
    const complete = DDL_TRIGGERS.every((t) => present.some((p) => p.name === t.name && p.enabled === 'A'));
    if (!current || !complete) {
      statements.push(...DDL_FUNCTIONS, ...DDL_FUNCTION_NAMES.flatMap(functionRights));
      for (const trigger of DDL_TRIGGERS) {
        if (present.some((p) => p.name === trigger.name))
          statements.push(`DROP EVENT TRIGGER ${quoteIdent(trigger.name)}`);
        const tags =
          trigger.tags.length === 0 ? '' : ` WHEN TAG IN (${trigger.tags.map(quoteLiteral).join(', ')})`;
        statements.push(
          `CREATE EVENT TRIGGER ${quoteIdent(trigger.name)} ON ${trigger.event}${tags} EXECUTE FUNCTION ${trigger.fn}()`,
          // Also where session_replication_role is replica: tables that apply makes are made fit like all others.
          `ALTER EVENT TRIGGER ${quoteIdent(trigger.name)} ENABLE ALWAYS`,
        );
      }
    }
  } else {
    for (const { name } of present) statements.push(`DROP EVENT TRIGGER ${quoteIdent(name)}`);
  }
  statements.push(...(await planOwners(client, options.enabled)));
  if (capture?.ddl !== options.enabled || !current || stable(capture.tagging) !== stable(options.tagging)) {
    statements.push(
      `INSERT INTO drover.capture (ddl, tagging, fingerprint) VALUES (${options.enabled}, ${quoteLiteral(stable(options.tagging))}, ${quoteLiteral(TRIGGER_FINGERPRINT)})
ON CONFLICT (only_row) DO UPDATE SET ddl = excluded.ddl, tagging = excluded.tagging, fingerprint = excluded.fingerprint, updated_at = pg_catalog.now()`,
    );
    // In one transaction with the triggers: what is changed from then on is told against this.
    if (options.enabled) statements.push('SELECT drover.ddl_sync(false)');
  }
  return statements;
}

/** Brings the triggers up to date: all of it or nothing. Run by a superuser. */
export async function ensureDdlCapture(client: Queryable, options: DdlOptions): Promise<Action[]> {
  const plan = await planDdlCapture(client, options);
  if (plan.length === 0) return [];
  try {
    await inTransaction(client, async () => {
      for (const sql of plan) await client.query(sql);
    });
    return plan.map((sql) => ({ object: OBJECT, sql: brief(sql) }));
  } catch (error) {
    const privilege = error instanceof Error && 'code' in error && error.code === '42501';
    if (!privilege) throw error;
    return plan.map((sql) => ({ object: OBJECT, sql, refused: (error as Error).message }));
  }
}

/**
 * Tells the replicas what is captured: everything after the slot was made, otherwise what nobody has been told. Run behind the slot's
 * making, so that it is in its WAL.
 */
export async function tellShapes(client: Queryable, anew: boolean): Promise<Action[]> {
  const there = await queryOne<{ ddl: boolean }>(
    client,
    `SELECT c.ddl FROM drover.capture c WHERE pg_catalog.to_regprocedure('drover.ddl_sync(boolean)') IS NOT NULL`,
  );
  if (there?.ddl !== true) return [];
  const row = await queryOne<{ n: number }>(client, 'SELECT drover.ddl_sync($1) AS n', [anew]);
  const n = row?.n ?? 0;
  return n === 0 ? [] : [{ object: OBJECT, sql: `SELECT drover.ddl_sync(${anew}) -- ${n} tables and types` }];
}

/** Roles whose tables apply changes: it does so as them, and must be allowed to. */
async function planOwners(client: Queryable, enabled: boolean): Promise<string[]> {
  if (!enabled) return [];
  const rows = await queryRows<{ role: string }>(
    client,
    `SELECT DISTINCT r.rolname::text AS role FROM pg_catalog.pg_roles r
     WHERE r.rolname !~ '^pg_' AND r.rolname <> ALL ($1::text[])
       -- Who has made drover_apply is a member of it, and membership makes no circles.
       AND NOT (NOT r.rolsuper AND pg_catalog.pg_has_role(r.oid, $2, 'MEMBER')) AND NOT EXISTS (
         SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = r.oid AND m.set_option
           AND m.member = (SELECT a.oid FROM pg_catalog.pg_roles a WHERE a.rolname = $2))
       AND (r.oid = (SELECT d.datdba FROM pg_catalog.pg_database d WHERE d.datname = current_database())
         OR r.oid IN (SELECT c.relowner FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover'))
         OR r.oid IN (SELECT n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')))
     ORDER BY 1`,
    [Object.values(ROLES), ROLES.apply],
  );
  return rows.map(
    ({ role }) => `GRANT ${quoteIdent(role)} TO ${quoteIdent(ROLES.apply)} WITH INHERIT FALSE, SET TRUE`,
  );
}

/** drover_admin owns the schema and revokes rights on everything in it, which needs some right of its own. */
const functionRights = (name: string): string[] => [
  `REVOKE ALL ON FUNCTION ${name} FROM PUBLIC`,
  `GRANT EXECUTE ON FUNCTION ${name} TO ${quoteIdent(ROLES.admin)}`,
];

/** jsonb sorts keys by length, then bytes: both sides are compared in one order. */
function stable(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).sort(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}

const brief = (sql: string): string =>
  /^\s*(CREATE OR REPLACE FUNCTION [\w.]+)/.exec(sql)?.[1] ?? sql.replace(/\s+/g, ' ').slice(0, 200);
