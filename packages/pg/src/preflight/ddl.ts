/** Whether schema changes are captured as the configuration says, and whether changes that came from elsewhere wait or were refused. */
import { type DdlOptions, planDdlCapture } from '../schema/ddl.ts';
import { type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { ROLES } from '../schema/roles.ts';
import { type Finding, finding, ok } from './finding.ts';

const OBJECT = 'schema changes';
const SHOWN_MAX = 5;

/** Roles and schema are installed. */
export async function checkDdl(client: Queryable, options: DdlOptions): Promise<Finding[]> {
  const there = await queryOne<{ there: boolean }>(
    client,
    `SELECT pg_catalog.to_regclass('drover.capture') IS NOT NULL AS there`,
  );
  if (there?.there !== true) return []; // an older schema, which checkSchema names
  const findings: Finding[] = [];
  const plan = await planDdlCapture(client, options);
  if (plan.length > 0) {
    findings.push(
      finding(
        'error',
        'ddl_capture',
        OBJECT,
        options.enabled
          ? 'the event triggers that capture them are missing, switched off, or of another release or configuration; run drover setup with a superuser'
          : '[capture] ddl is off, but the event triggers are still there; run drover setup',
      ),
    );
  } else if (!options.enabled) {
    findings.push(
      finding(
        'warning',
        'ddl_off',
        OBJECT,
        '[capture] ddl is off: migrations must be run on every cluster, replicas first',
      ),
    );
  } else {
    findings.push(ok('ddl_capture', OBJECT, 'captured'));
  }
  findings.push(...(await checkOwners(client)), ...(await checkSteps(client)));
  return findings;
}

/** apply makes a change as the owner of the table, and must be allowed to; where that is a superuser, so is it while it does. */
async function checkOwners(client: Queryable): Promise<Finding[]> {
  const rows = await queryRows<{ role: string; tables: number; superuser: boolean; may: boolean }>(
    client,
    `SELECT r.rolname::text AS role, count(*)::int AS tables, r.rolsuper AS superuser,
       EXISTS (SELECT FROM pg_catalog.pg_auth_members m WHERE m.roleid = r.oid AND m.set_option AND m.member = $1::regrole) AS may
     FROM drover.ddl_shape s JOIN pg_catalog.pg_class c ON c.oid = s.oid::oid
     JOIN pg_catalog.pg_roles r ON r.oid = c.relowner WHERE s.kind = 'table' GROUP BY r.oid, r.rolname, r.rolsuper ORDER BY 1`,
    [ROLES.apply],
  );
  return rows.flatMap(({ role, tables, superuser, may }) => [
    ...(superuser
      ? [
          finding(
            'warning',
            'ddl_superuser_owner',
            `role ${role}`,
            `it owns ${tables} captured tables and is a superuser: replicated schema changes run with its rights; give the tables to an ordinary role`,
          ),
        ]
      : []),
    ...(may
      ? []
      : [
          finding(
            'warning',
            'ddl_owner',
            `role ${role}`,
            `it owns ${tables} captured tables and ${ROLES.apply} may not act as it: their replicated schema changes will be refused here`,
          ),
        ]),
  ]);
}

async function checkSteps(client: Queryable): Promise<Finding[]> {
  const rows = await queryRows<{
    source: string;
    tag: string;
    object: string;
    status: string;
    reason: string | null;
    lsn: string;
  }>(
    client,
    `SELECT source, tag, object, status, reason, lsn::text FROM drover.ddl_step s
     WHERE status = 'pending' OR status = 'refused' AND EXISTS (SELECT FROM drover.ledger l
       WHERE l.source = s.source AND l.commit_lsn = s.lsn AND l.status IN ('open', 'retried'))
     ORDER BY created_at LIMIT ${SHOWN_MAX}`,
  );
  return rows.map((row) =>
    finding(
      'warning',
      row.status === 'pending' ? 'ddl_pending' : 'ddl_refused',
      row.object,
      row.status === 'pending'
        ? `${row.tag} of ${row.source} at ${row.lsn} waits until every partition has passed it${row.reason === null ? '' : `: ${row.reason}`}`
        : `${row.tag} of ${row.source} at ${row.lsn} was not made here: ${row.reason ?? ''}`,
    ),
  );
}
