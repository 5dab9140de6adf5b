/**
 * drover.reader: what the capture reader of this database leaned on when it last confirmed its slot. A reader that starts compares: a stream
 * that ends before what it had acknowledged has lost something, a slot that begins behind the WAL of then was made by other hands. Not in the
 * publication, one row, written once a heartbeat.
 */
export const READER_TABLE = `
CREATE TABLE IF NOT EXISTS drover.reader (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  generation  integer NOT NULL,
  system_id   text NOT NULL,
  timeline    integer NOT NULL,
  wal_lsn     pg_lsn NOT NULL,
  streams     jsonb NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 20)`;

/** In which form values were read: services/cdc, reader/form.ts. */
export const READER_FORM_COLUMN = 'ALTER TABLE drover.reader ADD COLUMN IF NOT EXISTS form text';

/** Tables that have been under rules of [[transform]], by OID: services/cdc, capture/ruled-memory.ts. */
export const READER_RULED_COLUMN = 'ALTER TABLE drover.reader ADD COLUMN IF NOT EXISTS ruled jsonb';
