/**
 * How many transactions in progress may be open on a target at once, all pipelines together. Each needs a connection and a replication origin
 * (bounded by the server's settings); a transaction that finds no slot is read from the stream when it has committed.
 */
import { STREAMED_ORIGINS, streamedOriginName } from '@drover/pg';

export class StreamedSlots {
  readonly #free = Array.from({ length: STREAMED_ORIGINS }, (_, i) => streamedOriginName(i));

  /** The replication origin to write under; undefined: all are taken. */
  take(): string | undefined {
    return this.#free.shift();
  }

  /** The same for a transaction that has committed: half are left to those in progress. */
  takeSpare(): string | undefined {
    return this.#free.length > STREAMED_ORIGINS / 2 ? this.#free.shift() : undefined;
  }

  give(origin: string): void {
    this.#free.push(origin);
  }
}
