/** A database with a slot, and a reader that writes down what it sees. For tests. */

import { randomBytes } from 'node:crypto';
import { LSN_ZERO, type Lsn, until } from '@drover/core';
import type pg from 'pg';
import type { ConnectOptions } from '../connect.ts';
import { PUBLICATION } from '../names.ts';
import { parsePgoutput } from '../pgoutput/parse.ts';
import { recorder } from '../pgoutput/recorder.ts';
import type { PgoutputVisitor } from '../pgoutput/types.ts';
import { readSlot } from './slot.ts';
import { startReplication } from './start.ts';
import type { ReplicationOptions, ReplicationStream } from './types.ts';

/** What is used of the testkit's TestPostgres; declared here because only tests import the testkit. */
interface TestServer {
  createDatabase(prefix?: string): Promise<string>;
  connection(database?: string, user?: string): ConnectOptions;
  connect(database?: string): Promise<pg.Client>;
}

export interface Captured {
  readonly database: string;
  readonly slot: string;
  readonly client: pg.Client;
  open(options?: Partial<ReplicationOptions>): Promise<ReplicationStream>;
  confirmedFlush(): Promise<Lsn>;
  end(): Promise<void>;
}

/** Table public.item (id, body) is published, public.noise is not. */
export async function captured(server: TestServer): Promise<Captured> {
  const database = await server.createDatabase('stream');
  const client = await server.connect(database);
  const slot = `slot_${randomBytes(5).toString('hex')}`;
  await client.query(`
    CREATE TABLE public.item (id int PRIMARY KEY, body text);
    ALTER TABLE public.item ALTER body SET STORAGE external;
    CREATE TABLE public.noise (body text);
    CREATE PUBLICATION ${PUBLICATION} FOR TABLE public.item;`);
  await client.query(`SELECT pg_create_logical_replication_slot('${slot}', 'pgoutput')`);
  return {
    database,
    slot,
    client,
    open: (options = {}) =>
      startReplication({
        connect: server.connection(database),
        slot,
        publication: PUBLICATION,
        startLsn: LSN_ZERO,
        protoVersion: 4,
        messages: true,
        origin: 'none',
        binary: true,
        ...options,
      }),
    confirmedFlush: async () => (await readSlot(client, slot)).confirmedFlush ?? LSN_ZERO,
    end: async () => {
      // A walsender lets go of its slot a moment after its connection is gone.
      await until(async () => ((await readSlot(client, slot)).active ? undefined : true), {
        everyMs: 10,
        timeoutMs: 30_000,
        onTimeout: () => new Error(`slot ${slot} is still in use`),
      });
      await client.query(
        `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1`,
        [slot],
      );
      await client.end();
    },
  };
}

export interface Reading {
  readonly events: unknown[][];
  /** End LSNs of commits, in order. */
  readonly commits: Lsn[];
  readonly keepalives: Lsn[];
  /** Settles as read() does; never rejects unhandled. */
  readonly done: Promise<void>;
  /** Ids of inserted items, in order. */
  ids(): number[];
  count(kind: string): number;
}

/** Reads everything; `onKeepalive` is called from inside the handler. */
export function reading(stream: ReplicationStream, onKeepalive: (walEnd: Lsn) => void = () => {}): Reading {
  const base = recorder();
  const commits: Lsn[] = [];
  const keepalives: Lsn[] = [];
  const visitor: PgoutputVisitor = {
    ...base,
    commit: (lsn, end, time) => {
      base.commit(lsn, end, time);
      commits.push(end);
    },
  };
  const done = stream.read({
    data: (bytes, start, end) => parsePgoutput(bytes, start, end, visitor),
    keepalive: (walEnd) => {
      keepalives.push(walEnd);
      onKeepalive(walEnd);
    },
    batchEnd: () => {},
  });
  done.catch(() => {});
  const id = (columns: unknown) => Number.parseInt(String((columns as string[])[0]).slice(2), 16);
  return {
    events: base.events,
    commits,
    keepalives,
    done,
    ids: () => base.events.filter((event) => event[0] === 'insert').map((event) => id(event[2])),
    count: (kind) => base.events.filter((event) => event[0] === kind).length,
  };
}

export async function eventually(what: string, probe: () => boolean | Promise<boolean>, timeoutMs = 60_000) {
  await until(async () => ((await probe()) ? true : undefined), {
    everyMs: 20,
    timeoutMs,
    onTimeout: () => new Error(`did not happen within ${timeoutMs} ms: ${what}`),
  });
}
