/**
 * What row-level security on a captured table should look like (I6, and through its policies the write fence, I4), and the
 * statements that lead there. Pure.
 *
 * For `drover_tenant` one permissive policy admits everything and four restrictive ones take back what is not the
 * tenant's: whatever permissive policies the application brings along (`TO PUBLIC`), they can only narrow what a tenant sees.
 * The comparison is with an init plan, evaluated once a statement.
 *
 * Others who use the table go on as before, by a permissive pass-through policy. FORCE is set unless the owner is an ordinary role that goes on
 * as before: the pass-through would make FORCE void, while PostgreSQL would refuse the owner's COPY FROM and pg_dump
 * ("not supported with row-level security").
 */
import { quoteIdent, quoteLiteral, quoteTable } from '../quote.ts';
import { ROLES } from '../schema/roles.ts';

/** How a table's rows name their tenant. */
export type TenantTag =
  | { readonly column: string /** Type of the column as format_type prints it. */; readonly type: string }
  /** The whole table is one tenant's. */
  | { readonly tenant: string };

export type ProtectedTable = { readonly schema: string; readonly table: string } & TenantTag;

/** Families of types whose text form is the tenant's name; null: the type cannot name tenants. */
export function tenantColumnKind(type: string): 'text' | 'integer' | 'uuid' | null {
  if (/^(text|character varying(\(\d+\))?)$/.test(type)) return 'text';
  if (/^(smallint|integer|bigint)$/.test(type)) return 'integer';
  return type === 'uuid' ? 'uuid' : null;
}

export interface PolicyState {
  readonly name: string;
  readonly permissive: boolean;
  /** As in pg_policy.polcmd: r select, a insert, w update, d delete, * all. */
  readonly command: 'r' | 'a' | 'w' | 'd' | '*';
  /** `public` for PUBLIC. */
  readonly roles: readonly string[];
  /** Expressions as pg_get_expr prints them. */
  readonly using: string | null;
  readonly check: string | null;
  /** Where Drover notes which rule it made the policy from. */
  readonly comment: string | null;
}

export interface SecurityState {
  readonly enabled: boolean;
  readonly forced: boolean;
  readonly owner: string;
  /** The owner is a superuser or has BYPASSRLS: FORCE changes nothing for it. */
  readonly ownerBypasses: boolean;
  /** Roles other than the owner and Drover's that have rights on the table; `public` for PUBLIC. */
  readonly grantees: readonly string[];
  readonly policies: readonly PolicyState[];
}

interface WantedPolicy {
  readonly name: string;
  readonly permissive: boolean;
  readonly command: PolicyState['command'];
  readonly roles: readonly string[];
  /** SQL, or null. */
  readonly using: string | null;
  readonly check: string | null;
  readonly comment: string;
}

const PREFIX = 'drover_';
const PASSTHROUGH = 'drover_passthrough';

/** Whose access goes on: everybody's; the owner's (others had row security before); nobody's (even the owner had). */
type GoesOn = 'all' | 'owner' | 'none';

/** From what is there to what should be; empty when all is well. @throws RangeError for a column type that cannot name tenants */
export function protectStatements(table: ProtectedTable, state: SecurityState): string[] {
  const name = quoteTable(table.schema, table.table);
  const goesOn = whoGoesOn(state);
  const wanted = [...tenantPolicies(table), passThrough(state, goesOn)];
  const intact = new Set(
    wanted.filter((w) => state.policies.some((p) => isIntact(p, w))).map((policy) => policy.name),
  );
  const statements = state.policies
    .filter((p) => p.name.startsWith(PREFIX) && !intact.has(p.name))
    .map((p) => `DROP POLICY ${quoteIdent(p.name)} ON ${name}`);
  for (const policy of wanted) {
    if (!intact.has(policy.name)) statements.push(createPolicy(policy, name), commentPolicy(policy, name));
  }
  // Last, and in one transaction with the policies: nobody who goes on is shut out for a moment.
  if (!state.enabled) statements.push(`ALTER TABLE ${name} ENABLE ROW LEVEL SECURITY`);
  if (!state.forced && (goesOn === 'none' || state.ownerBypasses)) {
    statements.push(`ALTER TABLE ${name} FORCE ROW LEVEL SECURITY`);
  }
  return statements;
}

/** The five policies of drover_tenant. */
export function tenantPolicies(table: ProtectedTable): WantedPolicy[] {
  const reads = comparison(table, 'tenant');
  const writes = comparison(table, 'writer');
  const rule = (
    name: string,
    command: PolicyState['command'],
    using: string | null,
    check: string | null,
  ): WantedPolicy => ({
    name,
    permissive: false,
    command,
    roles: [ROLES.tenant],
    using,
    check,
    comment: `drover: ${using ?? '-'} / ${check ?? '-'}`,
  });
  return [
    { ...rule('drover_base', '*', 'true', 'true'), permissive: true },
    rule('drover_select', 'r', reads, null),
    rule('drover_insert', 'a', null, writes),
    rule('drover_update', 'w', reads, writes),
    rule('drover_delete', 'd', writes, null),
  ];
}

function comparison(table: ProtectedTable, fn: 'tenant' | 'writer'): string {
  if ('tenant' in table)
    return `${quoteLiteral(table.tenant)} OPERATOR(pg_catalog.=) (SELECT drover.${fn}())`;
  const column = quoteIdent(table.column);
  switch (tenantColumnKind(table.type)) {
    case 'text':
      return `${column} OPERATOR(pg_catalog.=) (SELECT drover.${fn}())`;
    case 'integer':
      return `${column} OPERATOR(pg_catalog.=) (SELECT drover.${fn}_bigint())`;
    case 'uuid':
      return `${column} OPERATOR(pg_catalog.=) (SELECT drover.${fn}_uuid())`;
    case null:
      throw new RangeError(`a column of type ${table.type} cannot name tenants`);
  }
}

/** Decided when a table is first protected, and read from the pass-through's comment ever after. */
function whoGoesOn(state: SecurityState): GoesOn {
  const noted = /goes on: (all|owner|none)$/.exec(
    state.policies.find((p) => p.name === PASSTHROUGH)?.comment ?? '',
  )?.[1];
  if (noted === 'all' || noted === 'owner' || noted === 'none') return noted;
  if (!state.enabled) return 'all';
  return state.forced ? 'none' : 'owner';
}

/** drover_cdc has no BYPASSRLS but reads all WAL anyway. TO PUBLIC is harmless: drover_tenant is held by restrictive policies. */
function passThrough(state: SecurityState, goesOn: GoesOn): WantedPolicy {
  const roles = new Set<string>([ROLES.cdc]);
  if (goesOn !== 'none') roles.add(state.owner);
  if (goesOn === 'all') for (const grantee of state.grantees) roles.add(grantee);
  // Made online, with the table (schema/ddl-adopt.sql.ts): for whoever will be granted rights.
  if (state.policies.some((p) => p.name === PASSTHROUGH && p.roles.join() === 'public')) roles.add('public');
  return {
    name: PASSTHROUGH,
    permissive: true,
    command: '*',
    // PUBLIC stands for everybody; PostgreSQL drops the other names.
    roles: roles.has('public') ? ['public'] : [...roles].sort(),
    using: 'true',
    check: 'true',
    comment: `drover: goes on: ${goesOn}`,
  };
}

/** The printed expression is only searched for its function: its form differs between versions and search paths. */
function isIntact(there: PolicyState, wanted: WantedPolicy): boolean {
  const holds = (printed: string | null, sql: string | null): boolean => {
    if (printed === null || sql === null) return printed === sql;
    const call = /drover\.\w+\(\)/.exec(sql)?.[0];
    return call === undefined
      ? printed === sql
      : printed.includes(call) && !/ or /i.test(printed.replace(/'[^']*'/g, ''));
  };
  return (
    there.name === wanted.name &&
    there.permissive === wanted.permissive &&
    there.command === wanted.command &&
    [...there.roles].sort().join() === [...wanted.roles].sort().join() &&
    there.comment === wanted.comment &&
    holds(there.using, wanted.using) &&
    holds(there.check, wanted.check)
  );
}

const COMMAND_WORDS = { r: 'SELECT', a: 'INSERT', w: 'UPDATE', d: 'DELETE', '*': 'ALL' } as const;

function createPolicy(policy: WantedPolicy, table: string): string {
  const words = [
    `CREATE POLICY ${quoteIdent(policy.name)} ON ${table}`,
    policy.permissive ? '' : 'AS RESTRICTIVE',
    `FOR ${COMMAND_WORDS[policy.command]}`,
    `TO ${policy.roles.map((role) => (role === 'public' ? 'PUBLIC' : quoteIdent(role))).join(', ')}`,
    policy.using === null ? '' : `USING (${policy.using})`,
    policy.check === null ? '' : `WITH CHECK (${policy.check})`,
  ];
  return words.filter((word) => word !== '').join(' ');
}

function commentPolicy(policy: WantedPolicy, table: string): string {
  return `COMMENT ON POLICY ${quoteIdent(policy.name)} ON ${table} IS ${quoteLiteral(policy.comment)}`;
}
