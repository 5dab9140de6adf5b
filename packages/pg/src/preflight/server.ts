/** The server's settings. Pure. */
import type { ServerInfo } from '../catalog/read-server.ts';
import { type Finding, finding, ok } from './finding.ts';

/** Oldest minor release of each major with the security fixes of May 2026 and the decoding fix for tables added to a publication in use. */
const PATCH_FLOOR: Readonly<Record<number, number>> = { 16: 160014, 17: 170010, 18: 180004 };

export interface ServerNeeds {
  /** Slots and WAL senders still to be had: 0 when the capture slot exists. */
  readonly slots: number;
  readonly walSenders: number;
  /** Replication origins in use at a time: sources times partitions. */
  readonly origins: number;
}

export function checkServer(server: ServerInfo, needs: ServerNeeds): Finding[] {
  const findings: Finding[] = [];
  const error = (code: string, message: string, statements: string[] = []) =>
    findings.push(finding('error', code, 'server', message, statements));
  if (server.majorVersion < 16) {
    error(
      'server_version',
      `PostgreSQL ${server.version} is older than 16, the first with origin filtering; upgrade it`,
    );
  }
  const floor = PATCH_FLOOR[server.majorVersion];
  if (floor !== undefined && server.versionNum < floor) {
    const wanted = `${Math.floor(floor / 10000)}.${floor % 10000}`;
    findings.push(
      finding(
        'warning',
        'server_patch',
        'server',
        `PostgreSQL ${server.version} lacks fixes that matter here; update to ${wanted}`,
      ),
    );
  }
  if (server.inRecovery) {
    error('server_standby', 'this is a physical standby: name the endpoint that follows the primary');
  }
  if (server.walLevel !== 'logical') {
    error('wal_level', `wal_level is ${server.walLevel}, logical is needed (restart afterwards)`, [
      `ALTER SYSTEM SET wal_level = 'logical'`,
    ]);
  }
  const freeSlots = server.maxSlots - server.usedSlots;
  if (freeSlots < needs.slots) {
    error(
      'replication_slots',
      `${server.usedSlots} of ${server.maxSlots} replication slots are in use, ${needs.slots} more needed (restart afterwards)`,
      [`ALTER SYSTEM SET max_replication_slots = ${server.usedSlots + needs.slots + 5}`],
    );
  }
  if (server.maxWalSenders - server.usedWalSenders < needs.walSenders) {
    error(
      'wal_senders',
      `${server.usedWalSenders} of ${server.maxWalSenders} WAL senders are in use, ${needs.walSenders} more needed (restart afterwards)`,
      [`ALTER SYSTEM SET max_wal_senders = ${server.usedWalSenders + needs.walSenders + 5}`],
    );
  }
  if (server.maxOrigins < needs.origins) {
    error(
      'replication_origins',
      `${server.originsSetting} is ${server.maxOrigins}, but apply uses ${needs.origins} origins at a time (restart afterwards)`,
      [`ALTER SYSTEM SET ${server.originsSetting} = ${needs.origins + 5}`],
    );
  }
  if (server.encoding !== 'UTF8') {
    findings.push(
      finding(
        'warning',
        'encoding',
        `database ${server.database}`,
        `its encoding is ${server.encoding}; Drover is tested with UTF8`,
      ),
    );
  }
  if (server.idleSlotTimeoutMs > 0) {
    findings.push(
      finding(
        'warning',
        'idle_slot_timeout',
        'server',
        'idle_replication_slot_timeout is set: a reader that pauses for longer loses its slot, and tenants must be copied anew',
        ['ALTER SYSTEM RESET idle_replication_slot_timeout', 'SELECT pg_reload_conf()'],
      ),
    );
  }
  if (!findings.some((f) => f.severity === 'error')) {
    findings.push(
      ok('server', 'server', `PostgreSQL ${server.version}, wal_level logical, ${freeSlots} slots free`),
    );
  }
  return findings;
}
