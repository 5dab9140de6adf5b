/** drover.stream_position: the newest message of each (source, partition) stream that this replica has dealt with. */
export const STREAM_POSITION_TABLE = `
CREATE TABLE IF NOT EXISTS drover.stream_position (
  source         text NOT NULL,
  partition      integer NOT NULL CHECK (partition >= 0),
  stream_created text NOT NULL,
  stream_seq     bigint NOT NULL,
  commit_time    timestamptz,
  updated_at     timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, partition)
) WITH (fillfactor = 50)`;

/** Of the slot that the newest message came from; its generation changes when the slot is made anew. */
export const STREAM_POSITION_LINEAGE_COLUMNS = `
ALTER TABLE drover.stream_position ADD COLUMN IF NOT EXISTS system_id text, ADD COLUMN IF NOT EXISTS generation integer`;

/**
 * `message_ms`: when the bus stored the newest message, by which it is known again. `applied_lsn`: every source transaction that committed at or
 * before it is applied here for all replicas of the partition, durably; `applied_seq`: the message up to which that takes.
 */
export const STREAM_POSITION_APPLIED_COLUMNS = `
ALTER TABLE drover.stream_position ADD COLUMN IF NOT EXISTS message_ms bigint, ADD COLUMN IF NOT EXISTS applied_lsn pg_lsn,
  ADD COLUMN IF NOT EXISTS applied_seq bigint`;

export interface StreamPositionRow {
  readonly source: string;
  readonly partition: number;
  /** ISO time of the stream's creation: its identity. Sequences of another stream mean nothing. */
  readonly streamCreated: string;
  readonly streamSeq: number;
  /** Source commit time of the newest change or heartbeat. */
  readonly commitTime: Date | null;
}
