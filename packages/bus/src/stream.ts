/** The streams that carry blocks: made once, brought up to the configuration, never purged, never made anew. */
import { type ClusterId, DroverError } from '@drover/core';
import { JetStreamApiError, type StreamConfig, type StreamInfo } from '@nats-io/jetstream';
import { busError, isStreamMissing } from './bus-error.ts';
import { type Bus, versionAtLeast } from './connect.ts';
import { H_ID, isMessageOf, parseChunk } from './headers.ts';
import { isAside, parseSubject, streamName } from './names.ts';

export interface StreamOptions {
  readonly cluster: ClusterId;
  readonly partition: number;
  readonly replicas: number;
  /** Bytes; at this bound the server refuses new messages (discard new) and the source keeps its WAL. */
  readonly maxBytes: number;
  /** Milliseconds after which messages leave the stream, read or not; 0: never. */
  readonly maxAgeMs: number;
}

export interface StreamState {
  /** Creation time as the server reports it: the identity of the stream. */
  readonly created: string;
  /** Sequence of the oldest message held; last + 1 when empty. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly messages: number;
  readonly bytes: number;
}

const DUPLICATE_WINDOW_NS = 120 * 1_000_000_000;

/**
 * Idempotent, also when several processes do it at once. An existing stream gets the settings asked for; what cannot be changed is refused.
 * @throws DroverError `config.invalid` when a stream of this name is kept in memory or loses messages once read; `bus.full` when
 *   the server cannot promise `maxBytes`; `bus.unreachable`
 */
export async function ensureStream(bus: Bus, options: StreamOptions): Promise<StreamState> {
  const name = streamName(options.cluster, options.partition);
  const wanted = settingsOf(bus, options);
  try {
    for (let attempt = 1; ; attempt++) {
      const found = await streamInfo(bus, name);
      if (found !== undefined) {
        checkFixed(name, found.config);
        if (agrees(found.config, wanted)) return stateOf(found);
        return stateOf(await bus.jsm.streams.update(name, wanted));
      }
      try {
        return stateOf(await bus.jsm.streams.add({ ...wanted, name, storage: 'file', retention: 'limits' }));
      } catch (error) {
        // Somebody else made it first, with settings of his own.
        const taken = error instanceof JetStreamApiError && error.code === 10058;
        if (!taken || attempt > 1) throw error;
      }
    }
  } catch (error) {
    throw busError(error, `stream ${name}`);
  }
}

type Settings = Pick<
  StreamConfig,
  | 'subjects'
  | 'max_bytes'
  | 'max_age'
  | 'num_replicas'
  | 'duplicate_window'
  | 'discard'
  | 'deny_delete'
  | 'deny_purge'
> & { allow_atomic?: boolean };

function settingsOf(bus: Bus, options: StreamOptions): Settings {
  const maxAge = options.maxAgeMs * 1_000_000;
  return {
    subjects: [`drover.cdc.${options.cluster}.${options.partition}.*`],
    max_bytes: options.maxBytes,
    max_age: maxAge,
    num_replicas: options.replicas,
    duplicate_window: maxAge === 0 ? DUPLICATE_WINDOW_NS : Math.min(DUPLICATE_WINDOW_NS, maxAge),
    discard: 'new',
    deny_delete: true,
    deny_purge: true,
    ...(versionAtLeast(bus.serverVersion, 2, 12) ? { allow_atomic: true } : {}), // for fence.ts
  };
}

function agrees(config: StreamConfig, wanted: Settings): boolean {
  return Object.entries(wanted).every(
    ([key, value]) =>
      JSON.stringify((config as unknown as Record<string, unknown>)[key]) === JSON.stringify(value),
  );
}

function checkFixed(name: string, config: StreamConfig): void {
  if (config.storage === 'file' && config.retention === 'limits') return;
  throw new DroverError(
    'config.invalid',
    `stream ${name} exists with storage ${config.storage} and retention ${config.retention}`,
    {
      hint: 'it was not made by Drover; it needs storage file and retention limits, which cannot be changed',
    },
  );
}

/** The stream's state as its leader knows it, or undefined when there is no such stream. */
export async function streamState(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
): Promise<StreamState | undefined> {
  const info = await streamInfo(bus, streamName(cluster, partition));
  return info === undefined ? undefined : stateOf(info);
}

export async function streamInfo(bus: Bus, name: string): Promise<StreamInfo | undefined> {
  try {
    return await bus.read(() => bus.jsm.streams.info(name));
  } catch (error) {
    if (isStreamMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Whether the stream still holds, at `seq`, what publisher `name` had stored there. True also when it has left at the head: it had been there.
 * @throws DroverError `bus.unreachable`
 */
export async function stillHolds(
  bus: Bus,
  lane: { cluster: ClusterId; partition: number },
  stored: { created: string; seq: number; publisher: string },
): Promise<boolean> {
  const name = streamName(lane.cluster, lane.partition);
  try {
    const state = await streamState(bus, lane.cluster, lane.partition);
    if (state === undefined || state.created !== stored.created || state.lastSeq < stored.seq) return false;
    if (stored.seq < state.firstSeq) return true;
    const found = await bus.read(() => bus.jsm.streams.getMessage(name, { seq: stored.seq }));
    return found === null || isMessageOf(found.header.get(H_ID), stored.seq, stored.publisher);
  } catch (error) {
    throw busError(error, `stream ${name} cannot be read`);
  }
}

/**
 * The sequence at which the newest whole block ends: where a reader that has caught up stands. The stream itself may end with chunks
 * of a block whose publisher died, which no reader ever gets to see. 0 when it holds no block.
 */
export async function lastBlockSeq(bus: Bus, cluster: ClusterId, partition: number): Promise<number> {
  return (await lastBlock(bus, cluster, partition)).seq;
}

/** The same with what it is known by; `storedMs` null: the message there is not held. */
export async function lastBlock(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
): Promise<{ readonly seq: number; readonly created: string; readonly storedMs: number | null }> {
  const name = streamName(cluster, partition);
  const state = await streamState(bus, cluster, partition);
  const created = state?.created ?? '';
  if (state === undefined || state.messages === 0)
    return { seq: state?.lastSeq ?? 0, created, storedMs: null };
  for (let seq = state.lastSeq; seq >= state.firstSeq; seq--) {
    const message = await bus.read(() => bus.jsm.streams.getMessage(name, { seq }));
    if (message === null) continue;
    const chunk = parseChunk(message.header.get('Drover-Chunk'));
    const aside = isAside(parseSubject(message.subject)?.token);
    if (!aside && (chunk === undefined || chunk.index === chunk.count - 1))
      return { seq, created, storedMs: message.time.getTime() };
  }
  return { seq: 0, created, storedMs: null };
}

export function stateOf(info: StreamInfo): StreamState {
  const { state } = info;
  return {
    created: info.created,
    firstSeq: state.messages === 0 ? state.last_seq + 1 : state.first_seq,
    lastSeq: state.last_seq,
    messages: state.messages,
    bytes: state.bytes,
  };
}
