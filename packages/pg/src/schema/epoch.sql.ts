/** drover.epoch: the epochs opened on this cluster. An epoch in here is never opened a second time. */
import type { Lsn } from '@drover/core';

export const EPOCH_TABLE = `
CREATE TABLE IF NOT EXISTS drover.epoch (
  tenant     text COLLATE "C" NOT NULL,
  epoch      bigint NOT NULL,
  opened_lsn pg_lsn NOT NULL,
  opened_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant, epoch)
)`;

export interface EpochRow {
  readonly tenant: string;
  readonly epoch: number;
  /** LSN of the `drover.epoch` message; changes that commit beyond it carry this epoch. */
  readonly openedLsn: Lsn;
  readonly openedAt: Date;
}
