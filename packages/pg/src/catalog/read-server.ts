/** Facts about the server and the role we are connected as. */
import { type Queryable, queryOne } from '../schema/queryable.ts';

export interface ServerInfo {
  /** `18.4` */
  readonly version: string;
  /** As server_version_num: 180004. */
  readonly versionNum: number;
  readonly majorVersion: number;
  readonly systemId: string;
  readonly timeline: number;
  readonly inRecovery: boolean;
  readonly walLevel: string;
  readonly maxSlots: number;
  readonly usedSlots: number;
  readonly maxWalSenders: number;
  readonly usedWalSenders: number;
  /** Origins that can be in use at a time: max_replication_slots before 18, a setting of its own since. */
  readonly maxOrigins: number;
  readonly originsSetting: 'max_replication_slots' | 'max_active_replication_origins';
  readonly maxConnections: number;
  readonly maxPreparedTransactions: number;
  /** idle_replication_slot_timeout (18+); 0: off. */
  readonly idleSlotTimeoutMs: number;
  readonly database: string;
  readonly encoding: string;
  readonly collation: string;
  readonly user: string;
  readonly isSuperuser: boolean;
}

const SERVER = `
SELECT pg_catalog.split_part(pg_catalog.current_setting('server_version'), ' ', 1) AS version,
  pg_catalog.current_setting('server_version_num')::int AS "versionNum",
  pg_catalog.current_setting('server_version_num')::int / 10000 AS "majorVersion",
  (SELECT system_identifier::text FROM pg_catalog.pg_control_system()) AS "systemId",
  CASE WHEN pg_catalog.pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_catalog.pg_control_checkpoint())
    ELSE ('x' || pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8))::bit(32)::int END AS timeline,
  pg_catalog.pg_is_in_recovery() AS "inRecovery",
  pg_catalog.current_setting('wal_level') AS "walLevel",
  pg_catalog.current_setting('max_replication_slots')::int AS "maxSlots",
  (SELECT count(*)::int FROM pg_catalog.pg_replication_slots) AS "usedSlots",
  pg_catalog.current_setting('max_wal_senders')::int AS "maxWalSenders",
  (SELECT count(*)::int FROM pg_catalog.pg_stat_activity WHERE backend_type = 'walsender') AS "usedWalSenders",
  coalesce(pg_catalog.current_setting('max_active_replication_origins', true),
           pg_catalog.current_setting('max_replication_slots'))::int AS "maxOrigins",
  CASE WHEN pg_catalog.current_setting('max_active_replication_origins', true) IS NULL
    THEN 'max_replication_slots' ELSE 'max_active_replication_origins' END AS "originsSetting",
  pg_catalog.current_setting('max_connections')::int AS "maxConnections",
  pg_catalog.current_setting('max_prepared_transactions')::int AS "maxPreparedTransactions",
  coalesce((SELECT s.setting::bigint * CASE s.unit WHEN 's' THEN 1000 WHEN 'min' THEN 60000 ELSE 1 END
    FROM pg_catalog.pg_settings s WHERE s.name = 'idle_replication_slot_timeout'), 0)::float8 AS "idleSlotTimeoutMs",
  d.datname::text AS database, pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS collation,
  current_user::text AS "user", r.rolsuper AS "isSuperuser"
FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
WHERE d.datname = current_database() AND r.rolname = current_user`;

export async function readServer(client: Queryable): Promise<ServerInfo> {
  const row = await queryOne<ServerInfo & { [column: string]: unknown }>(client, SERVER);
  if (row === null) throw new Error('pg_database has no row for the current database');
  return row;
}
