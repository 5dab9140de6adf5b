/** The one publisher of a partition's stream: what it promises. How stands in `stream-publisher.ts`. */
import { type Closeable, type ClusterId, DroverError, type Lsn } from '@drover/core';
import { busError } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { streamName } from './names.ts';
import { type ResumeMarks, readEnd } from './resume.ts';
import { streamState } from './stream.ts';
import { StreamPublisher } from './stream-publisher.ts';

export interface OutMessage {
  readonly token: string;
  readonly block: Buffer;
  /** `<systemId>.<generation>.<token>.<firstLsn hex>.<part>[.<database>]`; each block has its own, and profiles of one group may share one. */
  readonly id: string;
  readonly lastLsn: Lsn;
  readonly part: number;
  readonly complete: boolean;
  readonly traceparent?: string;
  /** Called when the message is handed in, with the sequence it will have; not when it has to be cut in pieces. */
  readonly onSeq?: (seq: number) => void;
}

/** full: the stream or the server has no room; unreachable: no answer, or no JetStream. Both are waited out. */
export type PublisherState = 'ready' | 'full' | 'unreachable' | 'fenced' | 'closed';

export interface PublisherStatus {
  readonly state: PublisherState;
  /** Why it is not ready, for a person; null when it is. */
  readonly reason: string | null;
  /** Messages handed in and not acknowledged, and their bytes. The caller bounds them by awaiting groups. */
  readonly queuedMessages: number;
  readonly queuedBytes: number;
  /** Of these, sent. */
  readonly inFlight: number;
}

export interface Publisher extends Closeable {
  /** What the stream held when it was opened; null when it holds nothing. */
  readonly resume: ResumeMarks | null;
  /** Identity of the stream. */
  readonly created: string;
  /** Who publishes: stands at the end of each of its messages' ids. */
  readonly name: string;
  /** The newest sequence that is taken: what is published from now on stands behind it. */
  readonly assigned: number;
  /** The newest message of its own that is known to be stored; null: none yet. */
  readonly stored: number | null;
  state(): PublisherState;
  status(): PublisherStatus;
  /**
   * Publishes blocks in order, behind those of earlier groups. `safeLsn`: everything of this source at or below it is in earlier
   * groups. Resolves when all messages, and all of earlier groups, are stored. May be called again before that. A full or absent bus is
   * waited out. Rejects `bus.fenced` when another publisher wrote, `bus.lost` when the stream is gone or has lost what it had stored (this
   * one is dead then), `internal.cancelled` on close. `anew`: what stands in the stream of this source is not to be counted on from here.
   */
  publishGroup(messages: readonly OutMessage[], safeLsn: Lsn, anew?: boolean): Promise<void>;
}

/** @throws DroverError `bus.unreachable` when the stream does not exist or cannot be read. */
export async function openPublisher(
  bus: Bus,
  options: { cluster: ClusterId; partition: number },
): Promise<Publisher> {
  const { cluster, partition } = options;
  const name = streamName(cluster, partition);
  try {
    const state = await streamState(bus, cluster, partition);
    if (state === undefined) {
      throw new DroverError('bus.unreachable', `stream ${name} does not exist`, {
        hint: 'run `drover setup`',
      });
    }
    return new StreamPublisher(bus, {
      cluster,
      partition,
      state,
      end: await readEnd(bus, cluster, partition, state),
    });
  } catch (error) {
    throw busError(error, `stream ${name} cannot be read`);
  }
}
