/**
 * Publishes with one linear history (I1, pitfalls 62, 63). Each message gets its sequence when it is handed in and expects its
 * predecessor's, so a second publisher is refused; the first write of all is a fence (`fence.ts`). Many messages are in flight. Whatever goes
 * wrong, the answer is the same: read the stream's end, keep what is there and ours, send the rest again from exactly
 * there. Nothing is dropped, nothing reordered, and nothing counts as stored that was not seen to be.
 */
import {
  assert,
  Backoff,
  type ClusterId,
  cancelled,
  type Deferred,
  DroverError,
  deferred,
  describeError,
  type Lsn,
  sleep,
} from '@drover/core';
import { JetStreamApiError } from '@nats-io/jetstream';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import { isConflict, isFull } from './bus-error.ts';
import { cut, roomFor } from './chunks.ts';
import type { Bus } from './connect.ts';
import { batchesRefused, canFenceAtomically, FENCE_MESSAGES, IN_FLIGHT_MESSAGES_MAX } from './fence.ts';
import { FlushGroups } from './flush-groups.ts';
import {
  formatGroup,
  formatLast,
  H_CHUNK,
  H_GROUP,
  H_ID,
  H_LAST,
  H_TRACE,
  messageId,
  parseMessageId,
} from './headers.ts';
import { FENCE_TOKEN, streamName, subjectOf } from './names.ts';
import type { OutMessage, Publisher, PublisherState, PublisherStatus } from './publisher.ts';
import type { FoundEnd, ResumeMarks } from './resume.ts';
import { type StreamState, streamState } from './stream.ts';

interface Item {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
}

const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
const ACK_TIMEOUT_MS = 10_000;
const RETRY_MS = 50;
const RETRY_MS_MAX = 2000;
/** Reads at a time when what is stored is compared with what was sent. */
const COMPARE_AT_ONCE = 8;
const EMPTY = new Uint8Array();

export interface PublisherOptions {
  readonly cluster: ClusterId;
  readonly partition: number;
  readonly state: StreamState;
  readonly end: FoundEnd | null;
}

export class StreamPublisher implements Publisher {
  readonly resume: ResumeMarks | null;
  readonly created: string;
  readonly #bus: Bus;
  readonly #options: PublisherOptions;
  readonly #name: string;
  readonly #self = crypto.randomUUID().slice(0, 8);
  readonly #groups = new FlushGroups();
  readonly #stop = new AbortController();
  readonly #offStatus: () => void;
  /** Sequence of the newest item handed in. */
  #assigned: number;
  /** Everything up to here is in the stream. */
  #stored: number;
  /** Last sequence of the fence, once it is handed in. */
  #fenceEnd = 0;
  #atomic: boolean;
  /** Items beyond #stored, oldest first; the first #sent of them are under way. */
  readonly #queue: Item[] = [];
  #queuedBytes = 0;
  #sent = 0;
  #sentBytes = 0;
  readonly #waiting: { seq: number; done: Deferred<void> }[] = [];
  #recovering: Promise<void> | undefined;
  /** Grows with each trouble: answers to earlier sends are then ignored. */
  #round = 0;
  #state: PublisherState = 'ready';
  #reason: string | null = null;
  #failure: DroverError | undefined;

  constructor(bus: Bus, options: PublisherOptions) {
    const { state, end } = options;
    this.#bus = bus;
    this.#options = options;
    this.#name = streamName(options.cluster, options.partition);
    this.#atomic = canFenceAtomically(bus);
    this.created = state.created;
    this.resume = end?.marks ?? null;
    this.#assigned = state.lastSeq;
    this.#stored = state.lastSeq;
    if (end !== null) {
      const marks = [...end.marks.perTenant.values()].map((mark) => mark.lastLsn);
      this.#groups.resume(end.origin, end.marks.firstSeq, highest(marks, end.marks.safeLsn));
    }
    this.#offStatus = bus.onStatus((status) => {
      const underWay = this.#sent > 0 && this.#recovering === undefined && this.#failure === undefined;
      if (status === 'disconnected' && underWay) this.#trouble(new Error('the connection to NATS broke'));
    });
  }

  state(): PublisherState {
    const away = this.#state === 'ready' && this.#bus.status() === 'disconnected';
    return away ? 'unreachable' : this.#state;
  }

  status(): PublisherStatus {
    const state = this.state();
    return {
      state,
      reason: state === 'ready' ? null : (this.#reason ?? 'NATS is not connected'),
      queuedMessages: this.#queue.length,
      queuedBytes: this.#queuedBytes,
      inFlight: this.#sent,
    };
  }

  publishGroup(messages: readonly OutMessage[], safeLsn: Lsn): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const first = messages[0];
    if (first !== undefined) this.#enqueue(messages, first, safeLsn);
    if (this.#assigned <= this.#stored) return Promise.resolve();
    const done = deferred<void>();
    this.#waiting.push({ seq: this.#assigned, done });
    this.#pump();
    return done.promise;
  }

  async close(): Promise<void> {
    if (this.#failure === undefined) this.#fail(cancelled(), 'closed');
    this.#offStatus();
    await this.#recovering;
  }

  #enqueue(messages: readonly OutMessage[], first: OutMessage, safeLsn: Lsn): void {
    const { cluster, partition } = this.#options;
    const room = roomFor(this.#bus.maxPayload);
    if (this.#fenceEnd === 0) {
      for (let i = 0; i < FENCE_MESSAGES; i++) {
        this.#push(subjectOf(cluster, partition, FENCE_TOKEN), EMPTY, 'fence', i, {});
      }
      this.#fenceEnd = this.#assigned;
    }
    const origin = parseMessageId(first.id)?.origin;
    assert(origin !== undefined, 'a block id names system and generation', { id: first.id });
    const maxLsn = highest(
      messages.map((message) => message.lastLsn),
      first.lastLsn,
    );
    const firstSeq = this.#groups.begin(origin, { firstSeq: this.#assigned + 1, safeLsn, maxLsn });
    const group = formatGroup(firstSeq, safeLsn);
    for (const message of messages) {
      const pieces = cut(message.block, room);
      for (const [i, piece] of pieces.entries()) {
        this.#push(subjectOf(cluster, partition, message.token), piece, message.id, i, {
          [H_GROUP]: group,
          [H_LAST]: formatLast(message.lastLsn, message.part, message.complete),
          ...(pieces.length === 1 ? {} : { [H_CHUNK]: `${i}/${pieces.length}` }),
          ...(message.traceparent === undefined ? {} : { [H_TRACE]: message.traceparent }),
        });
      }
    }
  }

  #push(subject: string, data: Uint8Array, block: string, chunk: number, h: Record<string, string>): void {
    const seq = ++this.#assigned;
    this.#queue.push({ seq, subject, data, id: messageId(block, chunk, seq, this.#self), headers: h });
    this.#queuedBytes += data.length;
  }

  /** Sends what may be sent. */
  #pump(): void {
    if (this.#recovering !== undefined || this.#failure !== undefined || this.#queue.length === 0) return;
    if (this.#bus.status() === 'disconnected') {
      this.#trouble(new Error('NATS is not connected'));
      return;
    }
    if (this.#atomic && this.#stored < this.#fenceEnd) {
      if (this.#sent === 0) this.#sendFence();
      return;
    }
    while (
      this.#sent < IN_FLIGHT_MESSAGES_MAX &&
      (this.#sent === 0 || this.#sentBytes < IN_FLIGHT_BYTES_MAX)
    ) {
      const item = this.#queue[this.#sent];
      if (item === undefined) return;
      this.#sent++;
      this.#sentBytes += item.data.length;
      void this.#settle(item, this.#publish(item));
    }
  }

  /** The fence and the first block (or its first chunk), all or nothing. */
  #sendFence(): void {
    const batch = this.#queue.slice(0, FENCE_MESSAGES + 1);
    const last = batch.at(-1);
    if (last === undefined) return;
    this.#sent = batch.length;
    this.#sentBytes = last.data.length;
    void this.#settle(last, this.#publishBatch(batch, last));
  }

  async #settle(item: Item, asked: Promise<number>): Promise<void> {
    const round = this.#round;
    try {
      const seq = await asked;
      if (round !== this.#round) return;
      if (seq === item.seq) this.#acknowledge(seq);
      else this.#trouble(new Error(`stored at ${seq} instead of ${item.seq}`));
    } catch (error) {
      if (round === this.#round && this.#failure === undefined) this.#trouble(error);
    }
  }

  async #publish(item: Item): Promise<number> {
    const ack = await this.#bus.js.publish(item.subject, item.data, {
      headers: headersOf(item),
      expect: { lastSequence: item.seq - 1 },
      timeout: ACK_TIMEOUT_MS,
    });
    return ack.seq;
  }

  /** See ADR-50 of NATS: the batch takes effect with its last message, which alone is answered. */
  async #publishBatch(batch: readonly Item[], last: Item): Promise<number> {
    const id = crypto.randomUUID();
    for (const [i, item] of batch.entries()) {
      const h = headersOf(item);
      h.set('Nats-Batch-Id', id);
      h.set('Nats-Batch-Sequence', String(i + 1));
      if (i === 0) h.set('Nats-Expected-Last-Sequence', String(item.seq - 1));
      if (item !== last) this.#bus.nc.publish(item.subject, item.data, { headers: h });
      else {
        h.set('Nats-Batch-Commit', '1');
        const ack = await this.#bus.js.publish(item.subject, item.data, {
          headers: h,
          timeout: ACK_TIMEOUT_MS,
        });
        return ack.seq;
      }
    }
    return 0;
  }

  /** Each message names its predecessor, so when answers come in order the one of a message is that of all before it. */
  #acknowledge(seq: number): void {
    const n = seq - this.#stored;
    if (n <= 0) return;
    for (const item of this.#queue.splice(0, n)) {
      this.#queuedBytes -= item.data.length;
      if (this.#sent === 0) continue;
      this.#sent--;
      this.#sentBytes -= item.data.length;
    }
    this.#stored = seq;
    this.#state = 'ready';
    this.#reason = null;
    while (this.#waiting[0] !== undefined && this.#waiting[0].seq <= seq)
      this.#waiting.shift()?.done.resolve();
    this.#pump();
  }

  #trouble(error: unknown): void {
    this.#round++;
    this.#sent = 0;
    this.#sentBytes = 0;
    this.#note(error);
    this.#recovering ??= this.#recover().finally(() => {
      this.#recovering = undefined;
      this.#pump();
    });
  }

  #note(error: unknown): void {
    if (error instanceof JetStreamApiError && batchesRefused(error.code)) this.#atomic = false;
    if (isFull(error)) this.#state = 'full';
    else if (!isConflict(error)) this.#state = 'unreachable';
    this.#reason = describeError(error);
  }

  /** Until one message was taken again, or going on is over. */
  async #recover(): Promise<void> {
    const backoff = new Backoff(RETRY_MS, RETRY_MS_MAX);
    while (this.#failure === undefined) {
      try {
        if (this.#state === 'full' || backoff.attempt > 0) await sleep(backoff.nextMs(), this.#stop.signal);
        else backoff.nextMs();
        await this.#bus.connected(this.#stop.signal);
        await this.#resync();
        const first = this.#queue[0];
        if (first === undefined) return;
        // One write alone first: it proves that the bus takes messages again.
        const fence = this.#atomic && this.#stored < this.#fenceEnd;
        const write = fence ? this.#queue.slice(0, FENCE_MESSAGES + 1) : [first];
        const last = write.at(-1) ?? first;
        const send = () => (fence ? this.#publishBatch(write, last) : this.#publish(first));
        if ((await this.#bus.ask(send)) !== last.seq) throw new Error('stored elsewhere');
        this.#acknowledge(last.seq);
        return;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof DroverError && error.code === 'bus.fenced') this.#fail(error, 'fenced');
        else this.#note(error);
      }
    }
  }

  /** Reads the stream's end: what is there beyond what we know must be ours, message by message. */
  async #resync(): Promise<void> {
    const { cluster, partition } = this.#options;
    const state = await streamState(this.#bus, cluster, partition);
    if (state === undefined || state.created !== this.created || state.lastSeq < this.#stored) {
      throw new DroverError(
        'bus.fenced',
        `stream ${this.#name} was removed, made anew or has lost messages`,
        {
          hint: 'restart the reader; it will say what must be copied anew',
          facts: { stored: this.#stored, found: state?.lastSeq, created: state?.created },
        },
      );
    }
    const stored = this.#stored;
    for (let seq = stored + 1; seq <= state.lastSeq; seq += COMPARE_AT_ONCE) {
      const end = Math.min(seq + COMPARE_AT_ONCE - 1, state.lastSeq);
      await Promise.all(
        Array.from({ length: end - seq + 1 }, (_, i) =>
          this.#mustBeOurs(seq + i, this.#queue[seq + i - stored - 1]),
        ),
      );
    }
    this.#acknowledge(state.lastSeq);
  }

  async #mustBeOurs(seq: number, item: Item | undefined): Promise<void> {
    const found = await this.#bus.ask(() => this.#bus.jsm.streams.getMessage(this.#name, { seq }));
    if (item !== undefined && found?.header.get(H_ID) === item.id) return;
    throw new DroverError('bus.fenced', `another publisher has written to ${this.#name}`, {
      facts: { seq, found: found?.header.get(H_ID), expected: item?.id },
    });
  }

  #fail(error: DroverError, state: PublisherState): void {
    this.#failure = error;
    this.#state = state;
    this.#reason = error.message;
    this.#round++;
    this.#stop.abort();
    this.#queue.length = 0;
    this.#queuedBytes = 0;
    this.#sent = 0;
    for (const { done } of this.#waiting.splice(0)) {
      done.promise.catch(() => undefined);
      done.reject(error);
    }
  }
}

function headersOf(item: Item): MsgHdrs {
  const h = headers();
  h.set(H_ID, item.id);
  for (const [name, value] of Object.entries(item.headers)) h.set(name, value);
  return h;
}

function highest(lsns: readonly Lsn[], atLeast: Lsn): Lsn {
  return lsns.reduce((max, at) => (at > max ? at : max), atLeast);
}
