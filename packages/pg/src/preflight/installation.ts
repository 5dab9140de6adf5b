/** Whether what `drover setup` makes is there, current, and enough. Shell: reads the catalog; the plans it reports are setup's own. */
import { PUBLICATION, slotName } from '../names.ts';
import { quoteIdent } from '../quote.ts';
import { type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { ROLE_NAMES, ROLES } from '../schema/roles.ts';
import { FINGERPRINT, SCHEMA_VERSION } from '../schema/statements.ts';
import { TENANT_FORM_ENABLED, TENANT_FORM_HOLDS } from '../schema/tenant.sql.ts';
import {
  type ClassifiedTable,
  isCaptured,
  isProtectable,
  publishedTables,
  tagOf,
  useOf,
} from '../setup/captured.ts';
import { planGrants } from '../setup/grants.ts';
import { planFunctionGuard } from '../setup/guard-functions.ts';
import { planOriginGrants } from '../setup/origins.ts';
import { planProtect } from '../setup/protect.ts';
import { planPublication } from '../setup/publication.ts';
import { readSlotState } from '../setup/slot.ts';
import { type Finding, finding, ok } from './finding.ts';

const RUN_SETUP = 'run drover setup';

/** Roles first: without them nothing else can be judged. Returns whether all four exist. */
export async function checkRoles(client: Queryable): Promise<{ findings: Finding[]; complete: boolean }> {
  const rows = await queryRows<{
    role: string;
    login: boolean;
    superuser: boolean;
    replication: boolean;
    bypassrls: boolean;
  }>(
    client,
    `SELECT rolname::text AS role, rolcanlogin AS login, rolsuper AS superuser, rolreplication AS replication, rolbypassrls AS bypassrls
     FROM pg_catalog.pg_roles WHERE rolname = ANY ($1::text[])`,
    [ROLE_NAMES],
  );
  const findings: Finding[] = [];
  for (const name of ROLE_NAMES) {
    const role = rows.find((row) => row.role === name);
    if (role === undefined) {
      findings.push(finding('error', 'role_missing', `role ${name}`, `it does not exist; ${RUN_SETUP}`));
      continue;
    }
    const wrong: string[] = [];
    if (!role.login) wrong.push('LOGIN');
    if (role.superuser) wrong.push('NOSUPERUSER');
    if (name === ROLES.cdc && !role.replication) wrong.push('REPLICATION');
    if ((name === ROLES.admin || name === ROLES.apply) && !role.bypassrls) wrong.push('BYPASSRLS');
    if (name === ROLES.tenant && role.bypassrls) wrong.push('NOBYPASSRLS');
    if (name === ROLES.tenant && role.replication) wrong.push('NOREPLICATION');
    if (wrong.length > 0) {
      findings.push(
        finding('error', 'role_attributes', `role ${name}`, `it should be ${wrong.join(', ')}`, [
          `ALTER ROLE ${quoteIdent(name)} ${wrong.join(' ')}`,
        ]),
      );
    }
  }
  const complete = rows.length === ROLE_NAMES.length;
  if (complete) findings.push(...(await checkMemberships(client)), ...(await checkApplyRights(client)));
  return { findings, complete };
}

async function checkMemberships(client: Queryable): Promise<Finding[]> {
  const rows = await queryRows<{ granted: string; member: string }>(
    client,
    `SELECT g.rolname::text AS granted, r.rolname::text AS member FROM pg_catalog.pg_auth_members m
     JOIN pg_catalog.pg_roles r ON r.oid = m.member JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
     WHERE r.rolname IN ('drover_tenant', 'drover_admin')`,
  );
  const findings = rows
    .filter((row) => row.member === ROLES.tenant)
    .map((row) =>
      finding(
        'error',
        'tenant_membership',
        `role ${ROLES.tenant}`,
        `it is a member of ${row.granted}: tenants would have that role's rights`,
        [`REVOKE ${quoteIdent(row.granted)} FROM ${quoteIdent(ROLES.tenant)}`],
      ),
    );
  for (const needed of ['pg_read_all_stats', 'pg_signal_backend']) {
    if (rows.some((row) => row.member === ROLES.admin && row.granted === needed)) continue;
    findings.push(
      finding('error', 'privilege_missing', `role ${ROLES.admin}`, `it is not a member of ${needed}`, [
        `GRANT ${needed} TO ${quoteIdent(ROLES.admin)}`,
      ]),
    );
  }
  return findings;
}

async function checkApplyRights(client: Queryable): Promise<Finding[]> {
  const row = await queryOne<{ may: boolean }>(
    client,
    `SELECT pg_catalog.has_parameter_privilege($1, 'session_replication_role', 'SET') AS may`,
    [ROLES.apply],
  );
  const findings: Finding[] = [];
  const missing = (what: string, statements: string[]) =>
    findings.push(
      finding('error', 'privilege_missing', `role ${ROLES.apply}`, `it may not ${what}`, statements),
    );
  if (row?.may !== true) {
    missing('set session_replication_role', [
      `GRANT SET ON PARAMETER session_replication_role TO ${quoteIdent(ROLES.apply)}`,
    ]);
  }
  const origins = await planOriginGrants(client);
  if (origins.length > 0) missing('use replication origins', origins);
  const messages = await planFunctionGuard(client);
  if (messages.length > 0) {
    findings.push(
      finding(
        'error',
        'privilege_missing',
        'built-in functions',
        'everybody may write the logical messages that steer Drover, or see other sessions’ statements on a shared backend',
        messages,
      ),
    );
  }
  return findings;
}

export async function checkSchema(
  client: Queryable,
  cluster: string,
): Promise<{ findings: Finding[]; installed: boolean }> {
  const object = 'schema drover';
  const row = await queryOne<{ there: boolean; readable: boolean }>(
    client,
    `SELECT pg_catalog.to_regclass('drover.node') IS NOT NULL AS there,
       coalesce(pg_catalog.has_column_privilege(pg_catalog.to_regclass('drover.node'), 'version', 'SELECT'), false) AS readable`,
  );
  if (row?.there !== true) {
    return {
      findings: [finding('error', 'schema_missing', object, `it is not installed; ${RUN_SETUP}`)],
      installed: false,
    };
  }
  if (!row.readable) {
    return {
      findings: [
        finding('warning', 'schema_unreadable', object, 'we may not read it; run doctor as the setup user'),
      ],
      installed: true,
    };
  }
  const node = await queryOne<{
    cluster: string;
    version: number;
    fingerprint: string;
    system_id: string;
    actual_id: string;
    form: boolean;
  }>(
    client,
    `SELECT n.cluster, n.version, n.fingerprint, n.system_id, c.system_identifier::text AS actual_id, ${TENANT_FORM_HOLDS} AS form
     FROM drover.node n, pg_catalog.pg_control_system() c`,
  );
  const findings: Finding[] = [];
  if (node === null)
    findings.push(finding('error', 'schema_missing', object, `it is not complete; ${RUN_SETUP}`));
  else if (node.version > SCHEMA_VERSION) {
    findings.push(
      finding(
        'error',
        'schema_newer',
        object,
        `version ${node.version} is newer than this program's ${SCHEMA_VERSION}; upgrade it`,
      ),
    );
  } else if (node.fingerprint !== FINGERPRINT) {
    findings.push(
      finding(
        'error',
        'schema_outdated',
        object,
        `it is of an older release (version ${node.version}); ${RUN_SETUP}`,
      ),
    );
  } else if (!node.form) {
    findings.push(
      finding('error', 'tenant_form', 'table drover.tenant', 'its triggers do not fire for everybody', [
        TENANT_FORM_ENABLED,
      ]),
    );
  }
  if (node !== null && node.cluster !== cluster) {
    findings.push(
      finding(
        'error',
        'schema_of_other_cluster',
        object,
        `it was installed for cluster "${node.cluster}", not "${cluster}"`,
      ),
    );
  }
  if (node !== null && node.system_id !== node.actual_id) {
    findings.push(
      finding(
        'error',
        'system_changed',
        object,
        `it was installed on system ${node.system_id}, this is ${node.actual_id}: a restored copy?`,
      ),
    );
  }
  if (findings.length === 0) findings.push(ok('schema', object, `installed, version ${SCHEMA_VERSION}`));
  return { findings, installed: true };
}

export async function checkPublication(
  client: Queryable,
  classified: readonly ClassifiedTable[],
): Promise<Finding[]> {
  const object = `publication ${PUBLICATION}`;
  const plan = await planPublication(client, publishedTables(classified));
  if (plan.foreign !== null) return [finding('error', 'publication_foreign', object, plan.foreign)];
  if (!plan.exists)
    return [finding('error', 'publication_missing', object, 'it does not exist', plan.statements)];
  if (plan.statements.length > 0) {
    return [
      finding(
        'error',
        'publication_tables',
        object,
        'it does not publish exactly the captured tables',
        plan.statements,
      ),
    ];
  }
  return [ok('publication', object, `${publishedTables(classified).length} tables`)];
}

export async function checkSlot(client: Queryable, database: string): Promise<Finding[]> {
  const name = slotName(database);
  const object = `slot ${name}`;
  const slot = await readSlotState(client, name);
  if (slot === null) return [finding('error', 'slot_missing', object, `it does not exist; ${RUN_SETUP}`)];
  if (slot.plugin !== 'pgoutput' || slot.database !== database) {
    return [
      finding(
        'error',
        'slot_foreign',
        object,
        `it belongs to ${slot.plugin ?? 'a physical standby'} in database ${slot.database ?? '-'}`,
      ),
    ];
  }
  if (slot.walStatus === 'lost') {
    return [
      finding(
        'error',
        'slot_lost',
        object,
        `PostgreSQL invalidated it (${slot.invalidationReason ?? 'wal_removed'}); run drover setup --resync`,
      ),
    ];
  }
  if (slot.walStatus === 'unreserved') {
    return [
      finding('warning', 'slot_unreserved', object, 'its WAL is about to be removed; is the reader running?'),
    ];
  }
  return [ok('slot', object, slot.active ? 'being read' : 'nobody reads it now')];
}

/** Policies and rights, table by table. */
export async function checkProtection(
  client: Queryable,
  classified: readonly ClassifiedTable[],
): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const c of classified.filter(isCaptured)) {
    const { schema, name } = c.table;
    const tag = tagOf(c);
    if (tag !== null && isProtectable(c)) {
      for (const plan of await planProtect(client, { schema, table: name, ...tag })) {
        if (plan.statements.length === 0) continue;
        findings.push(
          finding(
            'error',
            'not_protected',
            plan.object,
            'its row-level security is not as it should be',
            plan.statements,
          ),
        );
      }
    }
    const grants = await planGrants(client, { schema, table: name, use: useOf(c) });
    if (grants.length === 0) continue;
    findings.push(
      finding(
        'error',
        'privilege_missing',
        `table ${schema}.${name}`,
        "the rights of Drover's roles are not as they should be",
        grants,
      ),
    );
  }
  return findings;
}
