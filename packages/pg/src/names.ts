/**
 * Names Drover gives to objects of PostgreSQL. They are part of the contract with operators: a slot is found by
 * them in `pg_replication_slots`, an origin in `pg_replication_origin`.
 */
import { createHash } from 'node:crypto';

/** The one publication of every captured database. */
export const PUBLICATION = 'drover';

const SLOT_PREFIX = 'drover_';
/** NAMEDATALEN - 1 of a stock build. */
const NAME_BYTES_MAX = 63;

/**
 * The capture slot of a database. Slots are cluster-wide and allow only `[a-z0-9_]` (manual, 9.28.6), so a name
 * that had to be changed carries a hash of the original: `app-1` and `app_1` never share a slot.
 */
export function slotName(database: string): string {
  const plain = database.replace(/[^a-z0-9_]/g, '_');
  if (plain === database && SLOT_PREFIX.length + plain.length <= NAME_BYTES_MAX) return SLOT_PREFIX + plain;
  const hash = createHash('sha256').update(database).digest('hex').slice(0, 8);
  return `${SLOT_PREFIX}${plain.slice(0, NAME_BYTES_MAX - SLOT_PREFIX.length - 9)}_${hash}`;
}

/** The replication origin under which apply writes what `source` published in `partition`. */
export function originName(source: string, partition: number): string {
  return `drover_${source}_${partition}`;
}

/** Transactions in progress that apply keeps open at a target at once; each writes under an origin of its own. */
export const STREAMED_ORIGINS = 8;

export function streamedOriginName(slot: number): string {
  return `drover__streamed_${slot}`;
}
