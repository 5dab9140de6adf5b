/** The two that are compared: what brings the source's changes to a replica of its own. At most one of them works at a time. */

import { type Closeable, until } from '@drover/core';
import type { LocalNats } from '@drover/local';
import type pg from 'pg';
import type { Groups } from '../lib/cpu.ts';
import { type Service, type ServicePlace, startService } from '../lib/service.ts';

export interface Peer {
  readonly name: 'drover' | 'native';
  /** A superuser's connection to its replica. */
  readonly replica: pg.Client;
  /** Resolves when its walsender has begun. */
  start(signal: AbortSignal): Promise<void>;
  /** While it runs, and its replica has everything up to `lsn`: resolves when its slot has it, too. */
  confirms(lsn: string, signal: AbortSignal): Promise<void>;
  /** WAL from before what its slot has need not be read again at the next start. */
  stop(): Promise<void>;
  /** Every process that works for it now. */
  processes(): Promise<Groups>;
}

const LOOK_MS = 3;
const BEGIN_MS = 60_000;

interface Source {
  readonly source: pg.Client;
  readonly slot: string;
}

async function slotHolder({ source, slot }: Source): Promise<number | null> {
  const { rows } = await source.query<{ pid: number | null }>(
    'SELECT active_pid AS pid FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  );
  return rows[0]?.pid ?? null;
}

function untilSlot(of: Source, held: boolean, signal?: AbortSignal): Promise<true> {
  return until(async () => (((await slotHolder(of)) !== null) === held ? true : undefined), {
    everyMs: LOOK_MS,
    timeoutMs: BEGIN_MS,
    ...(signal === undefined ? {} : { signal }),
    onTimeout: () =>
      new Error(`slot ${of.slot} was not ${held ? 'taken' : 'released'} within ${BEGIN_MS / 1000} s`),
  });
}

/** A slot moves while nothing is changed, too, at a time of its own. */
async function untilConfirmed(of: Source, lsn: string, signal: AbortSignal): Promise<void> {
  await until(
    async () => {
      const { rows } = await of.source.query<{ there: boolean }>(
        'SELECT confirmed_flush_lsn >= $2 AS there FROM pg_replication_slots WHERE slot_name = $1',
        [of.slot, lsn],
      );
      return rows[0]?.there === true ? true : undefined;
    },
    {
      everyMs: LOOK_MS,
      timeoutMs: BEGIN_MS,
      signal,
      onTimeout: () => new Error(`slot ${of.slot} did not confirm up to ${lsn} within ${BEGIN_MS / 1000} s`),
    },
  );
}

/** By itself a slot looks for a later beginning only while it is read. Nobody else's to move further than it has confirmed. */
async function beginLater({ source, slot }: Source): Promise<void> {
  await source.query(
    'SELECT pg_replication_slot_advance(slot_name, confirmed_flush_lsn) FROM pg_replication_slots WHERE slot_name = $1',
    [slot],
  );
}

async function pidsOf(client: pg.Client, condition: string, parameter: string): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>(
    `SELECT pid FROM pg_stat_activity WHERE ${condition}`,
    [parameter],
  );
  return rows.map((row) => row.pid);
}

export interface DroverOptions extends Source {
  readonly replica: pg.Client;
  readonly place: ServicePlace;
  readonly nats: LocalNats;
}

/** `close` ends the services without a look at the source, which may be busy with the load. */
export function droverPeer(options: DroverOptions): Peer & Closeable {
  const { source, replica, place, nats } = options;
  let services: Service[] = [];
  const close = async (): Promise<void> => {
    const stopping = services;
    services = [];
    for (const service of stopping) await service.close();
  };
  return {
    name: 'drover',
    replica,
    close,
    async start(signal) {
      try {
        const apply = await startService(place, 'apply', 'west');
        services = [apply];
        services = [await startService(place, 'cdc', 'east'), apply];
        await untilSlot(options, true, signal);
      } catch (error) {
        await close();
        throw error;
      }
    },
    confirms: (lsn, signal) => untilConfirmed(options, lsn, signal),
    async stop() {
      await close();
      await untilSlot(options, false);
      await beginLater(options);
    },
    async processes() {
      const [walsender, backends] = await Promise.all([
        pidsOf(source, 'usename = $1', 'drover_cdc'),
        pidsOf(replica, 'usename = $1', 'drover_apply'),
      ]);
      const [cdc, apply] = services;
      return {
        walsender,
        cdc: cdc === undefined ? [] : [cdc.pid],
        nats: [nats.pid],
        apply: apply === undefined ? [] : [apply.pid],
        backends,
      };
    },
  };
}

/** The subscription and its slot have this name. */
export const NATIVE = 'native';

export interface NativeOptions {
  readonly source: pg.Client;
  readonly replica: pg.Client;
  /** libpq's words for the way to the source. */
  readonly connection: string;
  readonly tables: readonly string[];
}

/** PostgreSQL's own logical replication, with what makes it fast. */
export async function nativePeer({ source, replica, connection, tables }: NativeOptions): Promise<Peer> {
  const list = tables.map((table) => `public."${table}"`).join(', ');
  await source.query(`CREATE PUBLICATION ${NATIVE} FOR TABLE ${list}`);
  await replica.query(`CREATE SUBSCRIPTION ${NATIVE} CONNECTION '${connection}' PUBLICATION ${NATIVE}
    WITH (binary = true, streaming = parallel, copy_data = false, enabled = false)`);
  const slot = { source, slot: NATIVE };
  return {
    name: 'native',
    replica,
    async start(signal) {
      await replica.query(`ALTER SUBSCRIPTION ${NATIVE} ENABLE`);
      await untilSlot(slot, true, signal);
    },
    async stop() {
      await replica.query(`ALTER SUBSCRIPTION ${NATIVE} DISABLE`);
      await untilSlot(slot, false);
      await beginLater(slot);
    },
    confirms: (lsn, signal) => untilConfirmed(slot, lsn, signal),
    async processes() {
      const [walsender, backends] = await Promise.all([
        pidsOf(source, 'application_name = $1', NATIVE),
        pidsOf(replica, 'backend_type LIKE $1', 'logical replication%worker'),
      ]);
      return { walsender, backends };
    },
  };
}
