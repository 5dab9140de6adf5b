/**
 * drover.node: one row per database, saying what this database is to Drover. The two pads are the context key XORed
 * with HMAC's inner and outer constants (RFC 2104), stored so that SQL needs only sha256(). Whoever reads them can
 * sign contexts: only `drover_admin` may.
 */
export const NODE_TABLE = `
CREATE TABLE IF NOT EXISTS drover.node (
  only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  cluster     text NOT NULL,
  system_id   text NOT NULL,
  generation  integer NOT NULL DEFAULT 0,
  pad_inner   bytea NOT NULL CHECK (length(pad_inner) = 64),
  pad_outer   bytea NOT NULL CHECK (length(pad_outer) = 64),
  version     integer NOT NULL,
  fingerprint text NOT NULL,
  updated_at  timestamptz NOT NULL DEFAULT now()
)`;

/**
 * Where the capture slot stood when it was created. A slot that has been confirmed beyond it has fed every stream of
 * its cluster: an empty stream has then lost what it held.
 */
export const NODE_SLOT_COLUMN = 'ALTER TABLE drover.node ADD COLUMN IF NOT EXISTS slot_lsn pg_lsn';

/** The row without its secrets. */
export interface NodeRow {
  readonly cluster: string;
  /** pg_control's system identifier when the schema was installed, decimal. */
  readonly systemId: string;
  /** How many times the capture slot of this database was created; 0: never. Part of every position. */
  readonly generation: number;
  readonly version: number;
  readonly fingerprint: string;
}
