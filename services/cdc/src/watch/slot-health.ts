/**
 * What a look at a slot says about how long it will live, and when that is worth a warning. PostgreSQL keeps the WAL a slot needs until
 * `max_slot_wal_keep_size` is used up, then invalidates the slot at the next checkpoint: everything is then to be copied anew. Pure.
 */
import type { Lsn } from '@drover/core';

/** One row of pg_replication_slots, and where the WAL ended at that moment. */
export interface SlotLook {
  readonly atMs: number;
  readonly walLsn: Lsn;
  /** Null: there is no such slot. */
  readonly slot: {
    readonly walStatus: string | null;
    /** `wal_removed`, `rows_removed`, `wal_level_insufficient`, `idle_timeout`. */
    readonly invalidationReason: string | null;
    /** Since when nobody reads it, Unix ms (PostgreSQL 17 and newer); null: it is read, or not known. */
    readonly inactiveSinceMs: number | null;
    readonly active: boolean;
    readonly restartLsn: Lsn | null;
    readonly confirmedLsn: Lsn | null;
    /** Bytes; null: no limit is set. */
    readonly safeWalBytes: number | null;
  } | null;
}

export interface SlotHealth {
  readonly slot: string;
  /** `missing`: there is none. */
  readonly walStatus: string | null;
  readonly invalidationReason: string | null;
  readonly inactiveSinceMs: number | null;
  /** WAL the slot keeps from being removed. */
  readonly retainedBytes: number;
  readonly confirmedLagBytes: number;
  /** Before the slot may be invalidated; null: no limit is set. */
  readonly safeWalBytes: number | null;
  /** At which the source writes WAL, over the last minute or so. */
  readonly walBytesPerSecond: number;
  /** Until the slot may be invalidated if it is not confirmed meanwhile; null: no limit, or no WAL is written. */
  readonly secondsLeft: number | null;
  readonly warnings: readonly string[];
}

export interface SlotBounds {
  readonly warnRetained: number;
  readonly warnSafeWal: number;
  readonly warnTimeLeftMs: number;
}

/** The rate forgets with this time constant. */
const MEMORY_MS = 60_000;
/** A slot that a reader has just left, or that one is about to take, is nothing to speak of. */
const INACTIVE_MS = 60_000;

/** Looks in, health out: remembers the rate. */
export class SlotJudge {
  readonly #name: string;
  readonly #bounds: SlotBounds;
  #last: { readonly atMs: number; readonly walLsn: Lsn } | null = null;
  #rate: number | null = null;

  constructor(name: string, bounds: SlotBounds) {
    this.#name = name;
    this.#bounds = bounds;
  }

  /** `heldBy`: who keeps the reader from confirming what is in the stream already. */
  judge(look: SlotLook, heldBy: string | null = null): SlotHealth {
    this.#count(look);
    const { slot, walLsn } = look;
    const behind = (lsn: Lsn | null | undefined) => (lsn == null ? 0 : Math.max(0, Number(walLsn - lsn)));
    const rate = this.#rate ?? 0;
    const safe = slot?.safeWalBytes ?? null;
    const health = {
      slot: this.#name,
      walStatus: slot === null ? 'missing' : slot.walStatus,
      invalidationReason: slot?.invalidationReason ?? null,
      inactiveSinceMs: slot?.inactiveSinceMs ?? null,
      retainedBytes: behind(slot?.restartLsn),
      confirmedLagBytes: behind(slot?.confirmedLsn),
      safeWalBytes: safe,
      walBytesPerSecond: rate,
      secondsLeft: safe === null || rate <= 0 ? null : Math.max(0, safe) / rate,
    };
    return { ...health, warnings: this.#warnings(health, look, heldBy) };
  }

  #count({ atMs, walLsn }: SlotLook): void {
    const last = this.#last;
    this.#last = { atMs, walLsn };
    if (last === null || atMs <= last.atMs || walLsn < last.walLsn) return;
    const elapsedMs = atMs - last.atMs;
    const rate = (Number(walLsn - last.walLsn) * 1000) / elapsedMs;
    const weight = 1 - Math.exp(-elapsedMs / MEMORY_MS);
    this.#rate = this.#rate === null ? rate : this.#rate + (rate - this.#rate) * weight;
  }

  #warnings(
    health: Omit<SlotHealth, 'warnings'>,
    { atMs, slot }: SlotLook,
    heldBy: string | null,
  ): readonly string[] {
    const { warnRetained, warnSafeWal, warnTimeLeftMs } = this.#bounds;
    const { retainedBytes, safeWalBytes, secondsLeft, inactiveSinceMs } = health;
    if (slot === null) return [`slot ${this.#name} does not exist`];
    if (slot.walStatus === 'lost' || slot.invalidationReason !== null)
      return [
        `slot ${this.#name} was invalidated (${slot.invalidationReason ?? 'wal_removed'}): ${remedyOf(slot.invalidationReason)}`,
      ];
    const warnings: string[] = [];
    const held = heldBy === null ? '' : `, held back by ${heldBy}`;
    if (retainedBytes > warnRetained)
      warnings.push(`slot ${this.#name} keeps ${size(retainedBytes)} of WAL${held}`);
    if (slot.walStatus === 'unreserved')
      warnings.push(`slot ${this.#name} will be invalidated at the next checkpoint unless it is confirmed`);
    else if (safeWalBytes !== null) {
      const left = secondsLeft === null ? '' : `, ${time(secondsLeft)} at the rate of now`;
      const soon = secondsLeft !== null && secondsLeft * 1000 <= warnTimeLeftMs;
      // Only when something piles up: a small bound with a reader that keeps up is no news.
      if ((safeWalBytes <= warnSafeWal || soon) && retainedBytes > safeWalBytes / 2)
        warnings.push(
          `slot ${this.#name} is invalidated when ${size(safeWalBytes)} more WAL are written (max_slot_wal_keep_size)${left}${held}`,
        );
    }
    if (!slot.active && inactiveSinceMs !== null && atMs - inactiveSinceMs > INACTIVE_MS)
      warnings.push(
        `slot ${this.#name} has not been read for ${time((atMs - inactiveSinceMs) / 1000)} (idle_replication_slot_timeout would invalidate it)`,
      );
    return warnings;
  }
}

/** What keeps it from happening again. */
export function remedyOf(reason: string | null): string {
  switch (reason) {
    case 'idle_timeout':
      return 'nobody read it for idle_replication_slot_timeout; raise that setting or switch it off (0)';
    case 'rows_removed':
      return 'catalog rows it needs were removed while it was a standby; set hot_standby_feedback there';
    case 'wal_level_insufficient':
      return 'wal_level was lowered; it must be logical';
    default:
      return 'the WAL it needs was removed; raise max_slot_wal_keep_size';
  }
}

export function size(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let n = Math.max(0, bytes);
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++) n /= 1024;
  return `${n >= 10 || unit === 0 ? n.toFixed(0) : n.toFixed(1)} ${units[unit]}`;
}

function time(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
