/**
 * Which epoch a tenant's change carries: the newest opened at or before its commit on this cluster, 0 if none (I4).
 * Filled from drover.epoch at start and from `drover.epoch` messages as they come; learning one twice changes nothing.
 */
import { type Epoch, epoch, LSN_MAX, type Lsn } from '@drover/core';

interface Opened {
  readonly epoch: Epoch;
  lsn: Lsn;
}

export interface EpochSpan {
  readonly epoch: Epoch;
  /** From this commit LSN on another epoch holds; LSN_MAX: none known. */
  readonly until: Lsn;
}

export class EpochMap {
  readonly #tenants = new Map<string, Opened[]>();

  /** `lsn`: where the epoch was opened. Of two places for one epoch the earlier holds. */
  learn(tenant: string, opened: Epoch, lsn: Lsn): void {
    const list = this.#tenants.get(tenant) ?? [];
    this.#tenants.set(tenant, list);
    const known = list.find((entry) => entry.epoch === opened);
    if (known === undefined) list.push({ epoch: opened, lsn });
    else if (lsn < known.lsn) known.lsn = lsn;
    list.sort((a, b) => a.epoch - b.epoch);
  }

  at(tenant: string, commitLsn: Lsn): EpochSpan {
    let current = epoch(0);
    let until = LSN_MAX;
    for (const entry of this.#tenants.get(tenant) ?? []) {
      if (entry.lsn <= commitLsn) current = entry.epoch;
      else if (entry.lsn < until) until = entry.lsn;
    }
    return { epoch: current, until };
  }
}
