/**
 * Who may do what in schema drover. The apply worker may move checkpoints but not role, epoch or open: those change through
 * the functions of `moves.sql.ts`, which drover_admin owns. The pads are for drover_admin alone.
 */
const NODE_PUBLIC_COLUMNS =
  '(only_row, cluster, system_id, generation, slot_lsn, version, fingerprint, updated_at)';
const CHECKPOINT_COLUMNS =
  '(feed, system_id, generation, commit_lsn, part, stream, stream_seq, lenient_until, skip_lsn, commit_time, reason, updated_at)';

export const GRANTS: readonly string[] = [
  'REVOKE ALL ON SCHEMA drover FROM PUBLIC',
  'GRANT USAGE ON SCHEMA drover TO drover_cdc, drover_apply, drover_tenant',
  'REVOKE ALL ON ALL TABLES IN SCHEMA drover FROM PUBLIC, drover_cdc, drover_apply, drover_tenant',
  'REVOKE ALL ON ALL SEQUENCES IN SCHEMA drover FROM PUBLIC, drover_cdc, drover_apply, drover_tenant',
  'REVOKE ALL ON ALL FUNCTIONS IN SCHEMA drover FROM PUBLIC, drover_cdc, drover_apply, drover_tenant',
  `GRANT SELECT ${NODE_PUBLIC_COLUMNS} ON drover.node TO drover_cdc, drover_apply`,
  'GRANT SELECT ON drover.tenant, drover.epoch, drover.stream_position, drover.ledger, drover.copy TO drover_cdc, drover_apply',
  `GRANT UPDATE ${CHECKPOINT_COLUMNS} ON drover.tenant TO drover_apply`,
  'GRANT SELECT, INSERT, UPDATE ON drover.reader TO drover_cdc',
  'GRANT INSERT, UPDATE, DELETE ON drover.stream_position TO drover_apply',
  'GRANT INSERT, UPDATE ON drover.ledger TO drover_apply',
  'GRANT INSERT, UPDATE, DELETE ON drover.copy TO drover_apply',
  'GRANT EXECUTE ON FUNCTION drover.lock_class() TO drover_cdc, drover_apply',
  `GRANT EXECUTE ON FUNCTION drover.lock_known(text[], xid[]), drover.met(bigint, bigint), drover.met_by(text, bigint),
     drover.take_turn(int) TO drover_apply`,
  `GRANT EXECUTE ON FUNCTION drover.attach(), drover.tenant(), drover.writer(), drover.tenant_bigint(), drover.writer_bigint(),
     drover.tenant_uuid(), drover.writer_uuid() TO drover_tenant`,
];
