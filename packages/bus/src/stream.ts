/** The streams that carry blocks: made once, brought up to the configuration, never purged, never made anew. */
import type { ClusterId } from '@drover/core';
import { JetStreamApiError, type StreamInfo } from '@nats-io/jetstream';
import type { Bus } from './connect.ts';
import { streamName } from './names.ts';

export interface StreamOptions {
  readonly cluster: ClusterId;
  readonly partition: number;
  readonly replicas: number;
  /** Bytes; at this bound the server refuses new messages (discard new) and the source keeps its WAL. */
  readonly maxBytes: number;
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

/** Idempotent. */
export async function ensureStream(bus: Bus, options: StreamOptions): Promise<StreamState> {
  const name = streamName(options.cluster, options.partition);
  const settings = {
    subjects: [`drover.cdc.${options.cluster}.${options.partition}.*`],
    max_bytes: options.maxBytes,
    max_age: options.maxAgeMs * 1_000_000,
    num_replicas: options.replicas,
    duplicate_window: DUPLICATE_WINDOW_NS,
  };
  let info: StreamInfo;
  try {
    info = await bus.jsm.streams.info(name);
    const { config } = info;
    if (
      config.max_bytes !== settings.max_bytes ||
      config.max_age !== settings.max_age ||
      config.num_replicas !== settings.num_replicas
    ) {
      info = await bus.jsm.streams.update(name, { ...config, ...settings });
    }
  } catch (error) {
    if (!isStreamMissing(error)) throw error;
    info = await bus.jsm.streams.add({
      ...settings,
      name,
      storage: 'file',
      retention: 'limits',
      discard: 'new',
      deny_delete: true,
      deny_purge: true,
    });
  }
  return stateOf(info);
}

/** The stream's state as its leader knows it, or undefined when there is no such stream. */
export async function streamState(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
): Promise<StreamState | undefined> {
  try {
    return stateOf(await bus.jsm.streams.info(streamName(cluster, partition)));
  } catch (error) {
    if (isStreamMissing(error)) return undefined;
    throw error;
  }
}

export function isStreamMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === 10059;
}

function stateOf(info: StreamInfo): StreamState {
  const { state } = info;
  return {
    created: info.created,
    firstSeq: state.messages === 0 ? state.last_seq + 1 : state.first_seq,
    lastSeq: state.last_seq,
    messages: state.messages,
    bytes: state.bytes,
  };
}
