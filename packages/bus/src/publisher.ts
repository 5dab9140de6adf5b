/**
 * The one publisher of a partition's stream. Every message expects its predecessor's sequence, so the stream has one linear
 * history and a second publisher is refused (I1, pitfalls 62, 63). Many messages are in flight; each has had its sequence assigned
 * beforehand, so whatever goes wrong the answer is the same: read the stream's end, keep what is there and ours, send the rest again
 * from exactly there. Nothing is dropped, nothing reordered.
 */
import {
  Backoff,
  type Closeable,
  type ClusterId,
  cancelled,
  type Deferred,
  DroverError,
  deferred,
  type Lsn,
  sleep,
} from '@drover/core';
import { JetStreamApiError } from '@nats-io/jetstream';
import { headers } from '@nats-io/transport-node';
import type { Bus } from './connect.ts';
import { formatGroup, formatLast, H_CHUNK, H_GROUP, H_LAST, H_TRACE } from './headers.ts';
import { streamName, subjectOf } from './names.ts';
import { type ResumeMarks, readResumeMarks } from './resume.ts';
import { streamState } from './stream.ts';

export interface OutMessage {
  readonly token: string;
  readonly block: Buffer;
  /** `<systemId>.<generation>.<token>.<firstLsn hex>.<part>` */
  readonly id: string;
  readonly lastLsn: Lsn;
  readonly part: number;
  readonly complete: boolean;
  readonly traceparent?: string;
}

export type PublisherState = 'ready' | 'full' | 'unreachable' | 'fenced' | 'closed';

export interface Publisher extends Closeable {
  /** What the stream held when it was opened; null when it holds nothing. */
  readonly resume: ResumeMarks | null;
  readonly created: string;
  state(): PublisherState;
  /**
   * A group with the safe LSN of the one before continues it. Resolves when all messages, and all of earlier groups, are acknowledged. May be called again before that. A full or absent bus
   * is waited out. Rejects `bus.fenced` when another publisher wrote, `internal.cancelled` on close.
   */
  publishGroup(messages: readonly OutMessage[], safeLsn: Lsn): Promise<void>;
}

interface Item {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly id: string;
  readonly group: string;
  readonly last: string;
  readonly chunk: string | undefined;
  readonly traceparent: string | undefined;
}

const IN_FLIGHT_MESSAGES_MAX = 64;
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
const HEADER_BYTES_MAX = 1024;
const ACK_TIMEOUT_MS = 10_000;
/** JetStream API errors that mean "no room now": maximum bytes, messages, resources, storage. */
const FULL = new Set([10077, 10023, 10047, 10028, 10052, 10167]);

/** @throws DroverError `bus.unreachable` when the stream does not exist or cannot be read. */
export async function openPublisher(
  bus: Bus,
  options: { cluster: ClusterId; partition: number },
): Promise<Publisher> {
  const state = await streamState(bus, options.cluster, options.partition);
  if (state === undefined) {
    throw new DroverError(
      'bus.unreachable',
      `stream ${streamName(options.cluster, options.partition)} does not exist`,
      {
        hint: 'run `drover setup`',
      },
    );
  }
  const resume = await readResumeMarks(bus, options.cluster, options.partition, state);
  return new StreamPublisher(bus, options, state.created, state.lastSeq, resume);
}

class StreamPublisher implements Publisher {
  readonly resume: ResumeMarks | null;
  readonly created: string;
  readonly #bus: Bus;
  readonly #cluster: ClusterId;
  readonly #partition: number;
  readonly #stop = new AbortController();
  /** Sequence of the newest item handed in. */
  #assigned: number;
  /** The flush group at hand. */
  #group: { firstSeq: number; safeLsn: Lsn } | undefined;
  /** Everything up to here is in the stream. */
  #acked: number;
  /** Items beyond #acked, oldest first; those before #sent are under way. */
  readonly #queue: Item[] = [];
  #sent = 0;
  #sentBytes = 0;
  #recovering: Promise<void> | undefined;
  #state: PublisherState = 'ready';
  #failure: DroverError | undefined;
  readonly #waiting: { seq: number; done: Deferred<void> }[] = [];
  /** Grows with each recovery: answers to earlier sends are then ignored. */
  #round = 0;

  constructor(
    bus: Bus,
    options: { cluster: ClusterId; partition: number },
    created: string,
    lastSeq: number,
    resume: ResumeMarks | null,
  ) {
    this.#bus = bus;
    this.#cluster = options.cluster;
    this.#partition = options.partition;
    this.created = created;
    this.resume = resume;
    if (resume !== null) this.#group = { firstSeq: resume.firstSeq, safeLsn: resume.safeLsn };
    this.#assigned = lastSeq;
    this.#acked = lastSeq;
  }

  state(): PublisherState {
    return this.#state;
  }

  publishGroup(messages: readonly OutMessage[], safeLsn: Lsn): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (messages.length === 0) return Promise.resolve();
    // As long as the safe LSN stays, so does the group: whoever resumes then sees all marks above that LSN.
    if (this.#group?.safeLsn !== safeLsn) this.#group = { firstSeq: this.#assigned + 1, safeLsn };
    const group = formatGroup(this.#group.firstSeq, safeLsn);
    const room = this.#bus.maxPayload - HEADER_BYTES_MAX;
    for (const message of messages) {
      const count = Math.max(1, Math.ceil(message.block.length / room));
      for (let i = 0; i < count; i++) {
        this.#assigned++;
        this.#queue.push({
          seq: this.#assigned,
          subject: subjectOf(this.#cluster, this.#partition, message.token),
          data: message.block.subarray(i * room, (i + 1) * room),
          // The sequence makes a resend recognisable without ever colliding with another attempt at another place.
          id: `${message.id}.${i}@${this.#assigned}`,
          group,
          last: formatLast(message.lastLsn, message.part, message.complete),
          chunk: count === 1 ? undefined : `${i}/${count}`,
          traceparent: message.traceparent,
        });
      }
    }
    const done = deferred<void>();
    this.#waiting.push({ seq: this.#assigned, done });
    this.#pump();
    return done.promise;
  }

  async close(): Promise<void> {
    if (this.#failure === undefined) this.#fail(cancelled(), 'closed');
    this.#stop.abort();
    await this.#recovering;
  }

  #pump(): void {
    while (
      this.#recovering === undefined &&
      this.#failure === undefined &&
      this.#sent < this.#queue.length &&
      this.#sent < IN_FLIGHT_MESSAGES_MAX &&
      (this.#sent === 0 || this.#sentBytes < IN_FLIGHT_BYTES_MAX)
    ) {
      const item = this.#queue[this.#sent];
      if (item === undefined) return;
      this.#sent++;
      this.#sentBytes += item.data.length;
      void this.#send(item, this.#round);
    }
  }

  async #send(item: Item, round: number): Promise<void> {
    try {
      const seq = await this.#publish(item);
      if (round !== this.#round) return;
      if (seq !== item.seq) this.#recover(new Error(`stored at ${seq} instead of ${item.seq}`));
      else this.#acknowledge(item.seq);
    } catch (error) {
      if (round === this.#round && this.#failure === undefined) this.#recover(error);
    }
  }

  async #publish(item: Item): Promise<number> {
    const h = headers();
    h.set(H_GROUP, item.group);
    h.set(H_LAST, item.last);
    if (item.chunk !== undefined) h.set(H_CHUNK, item.chunk);
    if (item.traceparent !== undefined) h.set(H_TRACE, item.traceparent);
    const ack = await this.#bus.js.publish(item.subject, item.data, {
      msgID: item.id,
      headers: h,
      expect: { lastSequence: item.seq - 1 },
      timeout: ACK_TIMEOUT_MS,
      retries: 0,
    });
    return ack.seq;
  }

  /** Each message names its predecessor, so the acknowledgement of one is that of all before it. */
  #acknowledge(seq: number): void {
    if (seq <= this.#acked) return;
    const n = Math.min(seq - this.#acked, this.#queue.length);
    for (const item of this.#queue.splice(0, n)) {
      if (this.#sent > 0) {
        this.#sent--;
        this.#sentBytes -= item.data.length;
      }
    }
    this.#acked = seq;
    this.#state = 'ready';
    while (this.#waiting[0] !== undefined && this.#waiting[0].seq <= seq)
      this.#waiting.shift()?.done.resolve();
    this.#pump();
  }

  #recover(reason: unknown): void {
    this.#round++;
    this.#recovering ??= this.#recoverLoop(reason).finally(() => {
      this.#recovering = undefined;
      this.#pump();
    });
  }

  async #recoverLoop(reason: unknown): Promise<void> {
    const backoff = new Backoff(50, 2000);
    this.#state = stateAfter(reason);
    while (!this.#stop.signal.aborted) {
      if (this.#state === 'full' || backoff.attempt > 0) {
        if (!(await sleep(backoff.nextMs(), this.#stop.signal))) return;
      } else {
        backoff.nextMs();
      }
      try {
        await this.#resync();
        // One message alone first: it proves that the bus takes messages again.
        const first = this.#queue[0];
        if (first === undefined) {
          this.#state = 'ready';
          return;
        }
        this.#sent = 1;
        this.#sentBytes = first.data.length;
        if ((await this.#publish(first)) === first.seq) {
          this.#acknowledge(first.seq);
          return;
        }
      } catch (error) {
        if (error instanceof DroverError && error.code === 'bus.fenced') {
          this.#fail(error, 'fenced');
          return;
        }
        this.#state = stateAfter(error);
      } finally {
        if (this.#queue.length > 0 && this.#state !== 'ready') {
          this.#sent = 0;
          this.#sentBytes = 0;
        }
      }
    }
  }

  /** Reads the stream's end: what is there must be ours. */
  async #resync(): Promise<void> {
    const state = await streamState(this.#bus, this.#cluster, this.#partition);
    const name = streamName(this.#cluster, this.#partition);
    if (state === undefined || state.created !== this.created || state.lastSeq < this.#acked) {
      throw new DroverError('bus.fenced', `stream ${name} was removed or made anew under this reader`, {
        hint: 'restart the reader; it will say what must be copied anew',
      });
    }
    if (state.lastSeq > this.#acked) {
      const item = this.#queue[state.lastSeq - this.#acked - 1];
      const stored = await this.#bus.jsm.streams.getMessage(name, { seq: state.lastSeq });
      if (item === undefined || stored?.header.get('Nats-Msg-Id') !== item.id) {
        throw new DroverError('bus.fenced', `another publisher has written to ${name}`, {
          facts: { expected: this.#acked, found: state.lastSeq },
        });
      }
    }
    this.#sent = 0;
    this.#sentBytes = 0;
    const recovered = state.lastSeq;
    if (recovered > this.#acked) {
      this.#queue.splice(0, recovered - this.#acked);
      this.#acked = recovered;
      while (this.#waiting[0] !== undefined && this.#waiting[0].seq <= recovered)
        this.#waiting.shift()?.done.resolve();
    }
  }

  #fail(error: DroverError, state: PublisherState): void {
    this.#failure = error;
    this.#state = state;
    for (const { done } of this.#waiting.splice(0)) {
      done.promise.catch(() => undefined);
      done.reject(error);
    }
  }
}

function stateAfter(error: unknown): PublisherState {
  if (error instanceof JetStreamApiError) return FULL.has(error.code) ? 'full' : 'ready';
  return 'unreachable';
}
