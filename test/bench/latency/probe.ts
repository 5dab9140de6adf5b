/** Times probes from the reply to their commit at the source until the replica's notification; one clock, that of this process. */
import { sleep } from '@drover/core';
import type pg from 'pg';
import { tenantName } from '../data/tables.ts';
import { PROBE_CHANNEL } from './tables.ts';

/** Probes leave on schedule, whether those before them have arrived or not. */
const EVERY_MS = 20;
const LOST_MS = 30_000;

let lastId = 0;

export interface ProbeOptions {
  readonly source: pg.Client;
  /** Of its own: it listens. */
  readonly replica: pg.Client;
  /** Number of the tenant that probe `id` is of. */
  readonly tenantOf: (id: number) => number;
  /** Asked before each probe, after so many seconds: is this enough? */
  readonly enough: (seconds: number) => boolean;
  readonly signal: AbortSignal;
}

export interface Probe {
  readonly tenant: number;
  readonly ms: number;
}

/** Each probe, in order. @throws when one does not arrive */
export async function probe(options: ProbeOptions): Promise<Probe[]> {
  const { source, replica, tenantOf, enough, signal } = options;
  const committed = new Map<number, { readonly tenant: number; readonly at: number }>();
  const seen = new Map<number, number>();
  const onNotification = (message: pg.Notification): void => {
    seen.set(Number(message.payload), performance.now());
  };
  replica.on('notification', onNotification);
  await replica.query(`LISTEN ${PROBE_CHANNEL}`);
  try {
    const startedAt = performance.now();
    for (let dueAt = startedAt; !enough((dueAt - startedAt) / 1000); dueAt += EVERY_MS) {
      const waitMs = dueAt - performance.now();
      if (waitMs > 0 && !(await sleep(waitMs, signal))) throw signal.reason;
      const id = ++lastId;
      const tenant = tenantOf(id);
      const values = [tenantName(tenant), id];
      await source.query({ name: 'probe', text: 'INSERT INTO probe VALUES ($1, $2)', values });
      committed.set(id, { tenant, at: performance.now() });
    }
    const patienceAt = performance.now() + LOST_MS;
    while (seen.size < committed.size) {
      if (performance.now() > patienceAt)
        throw new Error(`${committed.size - seen.size} probes did not arrive`);
      if (!(await sleep(5, signal))) throw signal.reason;
    }
    return [...committed].map(([id, { tenant, at }]) => ({ tenant, ms: (seen.get(id) ?? Number.NaN) - at }));
  } finally {
    await replica.query(`UNLISTEN ${PROBE_CHANNEL}`);
    replica.off('notification', onNotification);
  }
}
