/**
 * WAL positions. An LSN alone never orders anything across a restart of the source's history: a
 * {@link Position} also carries the system identifier and the slot's generation.
 */
import { DroverError } from './errors.ts';

declare const brand: unique symbol;
/** A byte position in one cluster's WAL, 64 bits unsigned. Compare with `<`, `>`: bigint order is WAL order. */
export type Lsn = bigint & { readonly [brand]: 'Lsn' };

export const LSN_ZERO = 0n as Lsn;
export const LSN_MAX = 0xffff_ffff_ffff_ffffn as Lsn;

/** Parses PostgreSQL's `X/Y` form (manual, 8.20 pg_lsn Type). @throws DroverError `internal.assertion` */
export function parseLsn(text: string): Lsn {
  const m = /^([0-9A-Fa-f]{1,8})\/([0-9A-Fa-f]{1,8})$/.exec(text);
  if (m?.[1] === undefined || m[2] === undefined) {
    throw new DroverError('internal.assertion', `not an LSN: ${text.slice(0, 40)}`);
  }
  return ((BigInt(`0x${m[1]}`) << 32n) | BigInt(`0x${m[2]}`)) as Lsn;
}

export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
}

export function lsn(value: bigint): Lsn {
  if (value < 0n || value > LSN_MAX)
    throw new DroverError('internal.assertion', `LSN out of range: ${value}`);
  return value as Lsn;
}

export function maxLsn(a: Lsn, b: Lsn): Lsn {
  return a > b ? a : b;
}

/** Where a change stands: comparable only within one (systemId, generation). */
export interface Position {
  /** pg_control's system identifier, decimal text. */
  readonly systemId: string;
  /** Grows each time the capture slot is created anew. */
  readonly generation: number;
  readonly commitLsn: Lsn;
  /** Part within the transaction, from 0, when it spans several blocks. */
  readonly ordinal: number;
}

/** PostgreSQL counts microseconds from 2000-01-01; Unix from 1970-01-01. */
export const PG_EPOCH_UNIX_MS = 946_684_800_000;

export function pgMicrosToUnixMs(us: bigint): number {
  return Number(us / 1000n) + PG_EPOCH_UNIX_MS;
}

export function unixMsToPgMicros(ms: number): bigint {
  return BigInt(Math.round(ms - PG_EPOCH_UNIX_MS)) * 1000n;
}
