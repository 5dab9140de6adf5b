/**
 * Whether the server has room for what the streams may come to hold, asked before any is made. JetStream promises each stream its
 * `max_bytes`: a server that cannot refuses the stream that is one too many, when those before it are there already.
 */
import type { ClusterId } from '@drover/core';
import { busError } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { streamName } from './names.ts';
import { streamInfo } from './stream.ts';

export interface StreamPlan {
  readonly clusters: readonly ClusterId[];
  /** Of each cluster. */
  readonly partitions: number;
  readonly replicas: number;
  /** Bound of one stream, bytes. */
  readonly maxBytes: number;
}

/** Bytes, each copy of a replicated stream counted. */
export interface StorageNeed {
  readonly streams: number;
  /** What the streams of the plan may hold, all together. */
  readonly neededBytes: number;
  /** Of this, what is promised to none of them yet. */
  readonly moreBytes: number;
  /** What is promised to streams by now, of this plan and others. */
  readonly reservedBytes: number;
  /** Limit of the account; null: it has none, and the server's own `max_file_store` decides, which it tells only when it refuses. */
  readonly limitBytes: number | null;
}

/** True when the limit is known to be too small. */
export function lacksRoom({ moreBytes, reservedBytes, limitBytes }: StorageNeed): boolean {
  return limitBytes !== null && moreBytes > 0 && reservedBytes + moreBytes > limitBytes;
}

/** @throws DroverError `bus.unreachable` */
export async function storageNeed(bus: Bus, plan: StreamPlan): Promise<StorageNeed> {
  const { clusters, partitions, replicas, maxBytes } = plan;
  let promised = 0;
  try {
    for (const cluster of clusters) {
      for (let partition = 0; partition < partitions; partition++) {
        const found = await streamInfo(bus, streamName(cluster, partition));
        if (found === undefined) continue;
        const { max_bytes, num_replicas } = found.config;
        promised += Math.min(Math.max(0, max_bytes) * num_replicas, maxBytes * replicas);
      }
    }
    const account = await bus.read(() => bus.jsm.getAccountInfo());
    const streams = clusters.length * partitions;
    const neededBytes = streams * replicas * maxBytes;
    return {
      streams,
      neededBytes,
      moreBytes: neededBytes - promised,
      reservedBytes: account.reserved_storage,
      limitBytes: account.limits.max_storage < 0 ? null : account.limits.max_storage,
    };
  } catch (error) {
    throw busError(error, 'the storage of the server');
  }
}
