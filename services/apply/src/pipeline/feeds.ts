/**
 * Looks at the tenants of one database of the target every half second, and when it is nudged: starts lanes for those in `catchup`,
 * lets held ones go on when their time has come, and answers how far each of them is.
 */
import { type ClusterId, describeError, isCancelled, partitionOf, type TenantId } from '@drover/core';
import { type ConnectOptions, PgPool } from '@drover/pg';
import type { Logger } from '@drover/telemetry';
import type { Pause } from '../apply/route.ts';
import { mayResume } from '../decide/decide.ts';
import { parseTenantState, TENANT_FIELDS, type TenantState } from '../decide/tenant-state.ts';

const LOOK_MS = 500;
const REOPEN_MS = 2000;
/** A pause whose length is not known (this process was started meanwhile) ends this long after it began. */
const UNKNOWN_PAUSE_MS = 60_000;

export interface FeedsOptions {
  readonly connect: ConnectOptions;
  readonly partitions: number;
  readonly log: Logger;
  /** Asked now and then: lets parked tenants go on whose keys are there again. */
  readonly reopen: (pool: PgPool) => Promise<void>;
  /** A tenant in `catchup`. */
  readonly wantLane: (source: ClusterId, partition: number, tenant: string) => void;
}

interface Row {
  readonly fields: readonly (string | null)[];
  readonly age_ms: number;
  [column: string]: unknown;
}

export class Feeds {
  readonly #options: FeedsOptions;
  readonly #pool: PgPool;
  /** Those of this process, by tenant: `reason` of the row, and when it is over (performance.now()). */
  readonly #pauses = new Map<string, { readonly reason: string; readonly endMs: number }>();
  #nudge: () => void = () => undefined;
  #nudged = false;
  #reopenedMs = Number.NEGATIVE_INFINITY;

  constructor(options: FeedsOptions) {
    this.#options = options;
    this.#pool = new PgPool({ ...options.connect, applicationName: 'drover apply feeds', max: 2 });
  }

  /** Looks at once. */
  nudge(): void {
    this.#nudged = true;
    this.#nudge();
  }

  /** The tenant is held for a snapshot, which is committed; it goes on after `ms`. */
  paused({ tenant, reason, ms }: Pause): void {
    this.#pauses.set(tenant, { reason, endMs: performance.now() + ms });
    this.#nudge();
  }

  /** Every tenant that has a row here, or one of them, by name. */
  async states(tenant?: string): Promise<TenantState[]> {
    const rows =
      tenant === undefined ? await this.#select('true') : await this.#select('tenant = $1', [tenant]);
    return rows.map(({ fields }) => parseTenantState(fields));
  }

  async run(signal: AbortSignal): Promise<void> {
    try {
      while (!signal.aborted) {
        try {
          await this.#look();
        } catch (error) {
          if (!isCancelled(error))
            this.#options.log.debug('the tenants cannot be looked at', { error: describeError(error) });
        }
        await this.#wait(signal);
      }
    } finally {
      await this.#pool.close();
    }
  }

  async #look(): Promise<void> {
    const { partitions, reopen, wantLane } = this.#options;
    if (performance.now() - this.#reopenedMs > REOPEN_MS) {
      this.#reopenedMs = performance.now();
      await reopen(this.#pool);
    }
    const told = [...this.#pauses];
    const rows = await this.#select(`role = 'replica' AND feed IN ('catchup', 'held')`);
    const reasons = new Map<string, string | null>();
    for (const { fields, age_ms } of rows) {
      let state = parseTenantState(fields);
      reasons.set(state.tenant, state.reason);
      if (state.feed === 'held' && (mayResume(state) || this.#pauseIsOver(state, Number(age_ms)))) {
        const changed = await this.#pool.query(
          `UPDATE drover.tenant SET feed = 'catchup', reason = NULL, updated_at = now()
           WHERE tenant = $1 AND feed = 'held' AND role = 'replica' AND reason IS NOT DISTINCT FROM $2`,
          [state.tenant, state.reason],
        );
        if (changed.rowCount === 1) state = { ...state, feed: 'catchup' };
      }
      if (state.feed === 'catchup' && state.source !== null) {
        wantLane(state.source as ClusterId, partitionOf(state.tenant as TenantId, partitions), state.tenant);
      }
    }
    // Let go by others, or just now. Who was held after the look began is not known by it.
    for (const [tenant, pause] of told)
      if (reasons.get(tenant) !== pause.reason && this.#pauses.get(tenant) === pause)
        this.#pauses.delete(tenant);
  }

  /** One that was committed a moment ago may be seen here before its length is told: what is known of an earlier one says nothing. */
  #pauseIsOver(state: TenantState, ageMs: number): boolean {
    if (state.reason?.startsWith('pause:') !== true) return false;
    const pause = this.#pauses.get(state.tenant);
    return pause?.reason === state.reason ? performance.now() >= pause.endMs : ageMs > UNKNOWN_PAUSE_MS;
  }

  async #select(where: string, parameters: readonly unknown[] = []): Promise<readonly Row[]> {
    const { rows } = await this.#pool.query<Row>(
      `SELECT ${TENANT_FIELDS} AS fields, extract(epoch FROM now() - updated_at) * 1000 AS age_ms FROM drover.tenant WHERE ${where}
       ORDER BY tenant`,
      [...parameters],
    );
    return rows;
  }

  #wait(signal: AbortSignal): Promise<void> {
    if (this.#nudged) {
      this.#nudged = false;
      return Promise.resolve();
    }
    const now = performance.now();
    let soonest = LOOK_MS;
    // One that should be over is looked at again as anything else: its row is locked, or the target is away.
    for (const { endMs } of this.#pauses.values()) if (endMs > now) soonest = Math.min(soonest, endMs - now);
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        this.#nudge = () => undefined;
        this.#nudged = false;
        resolve();
      };
      const timer = setTimeout(done, Math.max(5, soonest));
      this.#nudge = done;
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }
}
