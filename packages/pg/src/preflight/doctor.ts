/**
 * Everything that stands in the way of replicating this database, tenant by tenant: each with its object and the SQL that
 * mends it. Reads only.
 */
import {
  readDefinerFunctions,
  readForeignKeys,
  readTableRights,
  readViews,
} from '../catalog/read-exposure.ts';
import { readServer } from '../catalog/read-server.ts';
import { readTables } from '../catalog/read-tables.ts';
import { slotName } from '../names.ts';
import type { Queryable } from '../schema/queryable.ts';
import { ROLE_NAMES, ROLES } from '../schema/roles.ts';
import { classifyTables, isCaptured } from '../setup/captured.ts';
import { readSlotState } from '../setup/slot.ts';
import type { Tagging } from '../tagging.ts';
import { checkDdl } from './ddl.ts';
import {
  checkDefinerFunctions,
  checkForeignKeys,
  checkRights,
  checkViews,
  tenantTables,
} from './exposure.ts';
import { type Finding, ok } from './finding.ts';
import { checkIdentity } from './identity.ts';
import { checkProtection, checkPublication, checkRoles, checkSchema, checkSlot } from './installation.ts';
import { checkSequences } from './sequences.ts';
import { checkServer } from './server.ts';
import { checkShape } from './shape.ts';

export interface DoctorOptions {
  readonly cluster: string;
  readonly tagging: Tagging;
  /** `replica`: the cluster never is a primary, so nothing is captured from it. Default `both`. */
  readonly role?: 'both' | 'replica';
  /** `[capture] ddl`; default true. */
  readonly ddl?: boolean;
  /** Replication origins in use at a time on this cluster: sources times partitions. */
  readonly origins?: number;
}

/** Run as the setup user. Errors first, in the order in which they are best mended. */
export async function doctor(client: Queryable, options: DoctorOptions): Promise<Finding[]> {
  const captures = options.role !== 'replica';
  const server = await readServer(client);
  const slot = captures ? await readSlotState(client, slotName(server.database)) : null;
  const findings = checkServer(server, {
    slots: captures && slot === null ? 1 : 0,
    walSenders: captures && slot?.active !== true ? 1 : 0,
    origins: options.origins ?? 0,
  });
  // Older servers lack catalog columns that what follows reads.
  if (server.majorVersion < 16) return findings;

  const classified = classifyTables(await readTables(client), options.tagging, server.database);
  const tenants = tenantTables(classified);
  for (const c of classified) {
    findings.push(...checkShape(c));
    if (isCaptured(c) && c.table.persistence === 'permanent') findings.push(...checkIdentity(c));
  }
  findings.push(...checkForeignKeys(await readForeignKeys(client), tenants));
  findings.push(...checkViews(await readViews(client), tenants));
  findings.push(...checkDefinerFunctions(await readDefinerFunctions(client, ROLES.tenant)));
  findings.push(...checkRights(await readTableRights(client, ROLE_NAMES), tenants));
  const captured = classified.filter(isCaptured);
  if (captured.length > 0 && !findings.some((f) => f.severity === 'error' && f.object.startsWith('table '))) {
    findings.push(ok('tables', `database ${server.database}`, `${captured.length} tables can be replicated`));
  }

  const roles = await checkRoles(client);
  const schema = await checkSchema(client, options.cluster);
  findings.push(...roles.findings, ...schema.findings);
  if (captures)
    findings.push(
      ...(await checkPublication(client, classified)),
      ...(await checkSlot(client, server.database)),
    );
  if (roles.complete && schema.installed) {
    findings.push(...(await checkProtection(client, classified)));
    findings.push(...(await checkSequences(client)));
    findings.push(...(await checkDdl(client, { enabled: options.ddl ?? true, tagging: options.tagging })));
  }
  return sortFindings(findings);
}

const RANK = { error: 0, warning: 1, ok: 2 } as const;

/** Stable: within a severity the order of the checks stays. */
export function sortFindings(findings: readonly Finding[]): Finding[] {
  return [...findings].sort((a, b) => RANK[a.severity] - RANK[b.severity]);
}
