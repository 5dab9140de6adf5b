/**
 * Opens a logical replication stream. `pg`'s client connects and authenticates (TLS, SCRAM) and asks the first questions;
 * then its socket is ours.
 *
 * Why not pg-logical-replication: it emits an event, with an object around it, for every message, and acknowledges with
 * timers of its own. Measured, in CPU seconds of the reader per million rows: 1.5 against 0.6 to 0.8 here for big
 * transactions, 5 to 15 against 0.6 to 0.9 for small ones, where it also doubles the walsender's CPU by taking every
 * packet at once. The reader shares its cores with the block writer, so this is the ceiling of the whole path. See
 * docs/adr/0001-own-replication-reader.md.
 */
import { Socket } from 'node:net';
import { assert, cancelled, DroverError, type Lsn, must } from '@drover/core';
import pg from 'pg';
import { type ConnectOptions, clientConfig, connectError, discard, statementError } from '../connect.ts';
import { enterCopyBoth, startCommand } from './handshake.ts';
import { Reads } from './reads.ts';
import { ServerError, slotActive, slotLost, slotMissing, streamError } from './server-error.ts';
import { readSlot, type Slot } from './slot.ts';
import { WalStream } from './stream.ts';
import { branchInHistory } from './timeline.ts';
import type { ReplicationOptions, ReplicationStream } from './types.ts';

/** Origin filtering came with PostgreSQL 16. */
const VERSION_MIN = 160_000;
const QUESTION_TIMEOUT_MS = 30_000;

/**
 * Resolves when the server streams; nothing is read before `read()`.
 * @throws DroverError `pg.slot_missing`, `pg.slot_active` (fact `pid`), `pg.slot_lost` (fact `reason`), `pg.not_set_up`,
 * `pg.version`, `pg.auth`, `pg.unreachable`, `pg.stream`, `internal.cancelled`
 */
export async function startReplication(options: ReplicationOptions): Promise<ReplicationStream> {
  const { signal } = options;
  if (signal?.aborted) throw cancelled();
  const reads = options.connect.ssl === false ? new Reads() : null;
  const client = new pg.Client(replicationConfig(options.connect, reads));
  // Lost connections are reported by the socket, which we watch.
  client.on('error', () => {});
  // Not client.end(): while it connects, pg would then settle neither connect() nor end().
  const giveUp = () => void client.connection.stream.destroy(cancelled());
  signal?.addEventListener('abort', giveUp, { once: true });
  try {
    return await open(client, reads, options);
  } catch (error) {
    await discard(client);
    throw signal?.aborted ? cancelled() : error;
  } finally {
    signal?.removeEventListener('abort', giveUp);
  }
}

async function open(
  client: pg.Client,
  reads: Reads | null,
  options: ReplicationOptions,
): Promise<ReplicationStream> {
  try {
    await client.connect();
  } catch (error) {
    throw connectError(error, options.connect);
  }
  const server = await questions(client, options).catch((error: unknown) => {
    throw statementError(error, options.connect);
  });
  const socket = takeOver(client);
  try {
    await enterCopyBoth(socket, startCommand(options));
  } catch (error) {
    throw error instanceof ServerError ? streamError(error, 'starting', options.slot) : error;
  }
  return new WalStream({
    ...server,
    socket,
    reads,
    isLocal: options.connect.host.startsWith('/'),
    slotName: options.slot,
    startLsn: options.startLsn,
    peerTimeoutMs: options.peerTimeoutMs,
    signal: options.signal,
  });
}

function replicationConfig(connect: ConnectOptions, reads: Reads | null): pg.ClientConfig {
  // A stream with the usual mark of 64 KiB goes on reading, packet by packet, while paused, until so much has collected;
  // with a mark of one byte a pause leaves everything behind one read to the kernel.
  const highWaterMark = 1;
  const base = clientConfig(connect);
  const extra = {
    replication: 'database', // known to pg, not to its types
    query_timeout: QUESTION_TIMEOUT_MS,
    stream: () => reads?.socket() ?? new Socket({ highWaterMark } as object),
    ssl: connect.ssl === false ? false : { ...connect.ssl, highWaterMark },
  };
  return { ...base, ...extra } as pg.ClientConfig; // for the fields its types do not know
}

interface ServerFacts {
  readonly systemId: string;
  readonly timeline: number;
  readonly branchedAt: Lsn | null;
  readonly slot: Slot;
  readonly walSenderTimeoutMs: number;
}

/** In simple queries: the extended protocol is not available here (manual, 54.4). */
async function questions(client: pg.Client, options: ReplicationOptions): Promise<ServerFacts> {
  const settings = await client.query<{ version: number; timeout: number }>(
    `SELECT pg_catalog.current_setting('server_version_num')::int AS version, setting::int AS timeout
       FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'`,
  );
  const { version, timeout } = must(settings.rows[0], 'wal_sender_timeout');
  if (version < VERSION_MIN) {
    throw new DroverError('pg.version', `PostgreSQL ${Math.floor(version / 10_000)} is too old`, {
      facts: { version },
    });
  }
  const system = await client.query<{ systemid: string; timeline: string | number }>('IDENTIFY_SYSTEM');
  const { systemid, timeline } = must(system.rows[0], 'answer of IDENTIFY_SYSTEM');
  const slot = await readSlot(client, options.slot);
  checkSlot(slot, options);
  if (options.decodeBytes !== undefined) await boundDecoding(client, options.decodeBytes);
  const branchedAt = await branchOf(client, Number(timeline), options.knownTimeline);
  return { systemId: systemid, timeline: Number(timeline), branchedAt, slot, walSenderTimeoutMs: timeout };
}

/** Never above what the server allows. 64 kB is the least there is. */
async function boundDecoding(client: pg.Client, bytes: number): Promise<void> {
  const kilobytes = Math.max(64, Math.floor(bytes / 1024));
  await client.query(
    `SELECT pg_catalog.set_config('logical_decoding_work_mem', least(setting::int, ${kilobytes})::text || 'kB', false)
       FROM pg_catalog.pg_settings WHERE name = 'logical_decoding_work_mem'`,
  );
}

async function branchOf(client: pg.Client, timeline: number, known: number | undefined): Promise<Lsn | null> {
  if (known === undefined || known >= timeline) return null;
  const { rows } = await client.query<{ content: string | Buffer }>(`TIMELINE_HISTORY ${timeline}`);
  return branchInHistory(String(must(rows[0], 'answer of TIMELINE_HISTORY').content), known);
}

/** What START_REPLICATION would refuse, or silently do otherwise, said clearly and in any language of the server. */
function checkSlot(slot: Slot, options: ReplicationOptions): void {
  if (!slot.exists) throw slotMissing(options.slot);
  if (slot.walStatus === 'lost' || slot.invalidationReason !== null) {
    throw slotLost(options.slot, slot.invalidationReason);
  }
  if (slot.active) throw slotActive(options.slot, slot.activePid);
  const wrong = (message: string) =>
    new DroverError('pg.not_set_up', `replication slot ${options.slot} ${message}`, {
      hint: 'drop it and run `drover setup`',
      facts: { slot: options.slot },
    });
  if (slot.plugin !== 'pgoutput') throw wrong(`uses plugin ${slot.plugin ?? 'none'}, not pgoutput`);
  if (slot.database !== options.connect.database) throw wrong(`belongs to database ${slot.database}`);
  if (slot.twoPhase) throw wrong('was created with two_phase');
}

/** The server is idle, and whoever listens next does so in the same turn: no byte falls between the two. */
function takeOver(client: pg.Client): Socket {
  const { stream } = client.connection;
  assert(stream instanceof Socket, 'pg connects through a socket');
  stream.removeAllListeners('data');
  return stream;
}
