/**
 * Publishes with one linear history (I1, pitfalls 62, 63). Each message gets its sequence when it is handed in and expects its
 * predecessor's, so a second publisher is refused; the first write of all is a fence (`fence.ts`). Many messages are in flight. Whatever goes
 * wrong, the answer is the same: read the stream's end, keep what is there and ours, send the rest again from exactly
 * there. Nothing is dropped, nothing reordered, and nothing counts as stored that was not seen to be.
 */
import {
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
import { isConflict, isFull } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { batchesRefused, canFenceAtomically, FENCE_MESSAGES, IN_FLIGHT_MESSAGES_MAX } from './fence.ts';
import type { OutMessage, Publisher, PublisherState, PublisherStatus } from './publisher.ts';
import type { FoundEnd, ResumeMarks } from './resume.ts';
import { Sequencer } from './sequencer.ts';
import type { StreamState } from './stream.ts';
import { type Item, StreamWriter } from './stream-writer.ts';
import { unlessAborted } from './unless-aborted.ts';

const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
const ANSWER_EVERY = 16;
const RETRY_MS = 50;
const RETRY_MS_MAX = 2000;

export interface PublisherOptions {
  readonly cluster: ClusterId;
  readonly partition: number;
  readonly state: StreamState;
  readonly end: FoundEnd | null;
}

export class StreamPublisher implements Publisher {
  readonly resume: ResumeMarks | null;
  readonly created: string;
  readonly name = crypto.randomUUID().slice(0, 8);
  readonly #bus: Bus;
  readonly #writer: StreamWriter;
  readonly #sequencer: Sequencer;
  readonly #stop = new AbortController();
  readonly #offStatus: () => void;
  /** Everything up to here is in the stream. */
  #stored: number;
  readonly #openedAt: number;
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
    this.#writer = new StreamWriter(bus, { ...options, created: state.created });
    this.#sequencer = new Sequencer({ ...options, lastSeq: state.lastSeq }, this.name);
    this.#atomic = canFenceAtomically(bus);
    this.created = state.created;
    this.resume = end?.marks ?? null;
    this.#stored = state.lastSeq;
    this.#openedAt = state.lastSeq;
    this.#offStatus = bus.onStatus((status) => {
      const underWay = this.#sent > 0 && this.#recovering === undefined && this.#failure === undefined;
      if (status === 'disconnected' && underWay) this.#trouble(new Error('the connection to NATS broke'));
    });
  }

  get assigned(): number {
    return this.#sequencer.assigned;
  }

  get stored(): number | null {
    return this.#stored > this.#openedAt ? this.#stored : null;
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

  publishGroup(messages: readonly OutMessage[], safeLsn: Lsn, anew = false): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    if (anew) this.#sequencer.forget(messages);
    for (const item of this.#sequencer.group(messages, safeLsn, this.#bus.maxPayload)) {
      this.#queue.push(item);
      this.#queuedBytes += item.data.length;
    }
    const seq = this.#sequencer.assigned;
    if (seq <= this.#stored) return Promise.resolve();
    const done = deferred<void>();
    this.#waiting.push({ seq, done });
    this.#pump();
    return done.promise;
  }

  async close(): Promise<void> {
    if (this.#failure === undefined) this.#fail(cancelled(), 'closed');
    this.#offStatus();
    await this.#recovering;
    this.#writer.close();
  }

  /** Sends what may be sent. */
  #pump(): void {
    if (this.#recovering !== undefined || this.#failure !== undefined || this.#queue.length === 0) return;
    if (this.#bus.status() === 'disconnected') {
      this.#trouble(new Error('NATS is not connected'));
      return;
    }
    if (this.#mustFence()) {
      if (this.#sent === 0) this.#sendFence();
      return;
    }
    for (;;) {
      const item = this.#queue[this.#sent];
      if (item === undefined || !this.#mayBeSent(this.#sent, this.#sentBytes)) return;
      this.#sent++;
      this.#sentBytes += item.data.length;
      const more = this.#sent < this.#queue.length && this.#mayBeSent(this.#sent, this.#sentBytes);
      // One answer for many: each message expects its predecessor to be there.
      if (more && item.seq % ANSWER_EVERY !== 0) this.#sendQuietly(item);
      else void this.#settle(item, this.#writer.one(item));
    }
  }

  #mayBeSent(sent: number, sentBytes: number): boolean {
    return sent < IN_FLIGHT_MESSAGES_MAX && (sent === 0 || sentBytes < IN_FLIGHT_BYTES_MAX);
  }

  #sendQuietly(item: Item): void {
    try {
      this.#writer.quiet(item);
    } catch {
      // The connection is closed: the next message that is asked for says so.
    }
  }

  #mustFence(): boolean {
    return this.#atomic && this.#stored < this.#sequencer.fenceEnd;
  }

  /** The fence and the first block (or its first chunk), all or nothing. */
  #sendFence(): void {
    const batch = this.#queue.slice(0, FENCE_MESSAGES + 1);
    const last = batch.at(-1);
    if (last === undefined) return;
    this.#sent = batch.length;
    this.#sentBytes = last.data.length;
    void this.#settle(last, this.#writer.batch(batch));
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
        const found = this.#writer.storedUpTo(this.#stored, this.#queue);
        this.#acknowledge(await unlessAborted(this.#stop.signal, found));
        const first = this.#queue[0];
        if (first === undefined) return;
        // One write alone first: it proves that the bus takes messages again.
        const fence = this.#mustFence();
        const write = fence ? this.#queue.slice(0, FENCE_MESSAGES + 1) : [first];
        const last = write.at(-1) ?? first;
        const send = () => (fence ? this.#writer.batch(write) : this.#writer.one(first));
        const seq = await unlessAborted(this.#stop.signal, this.#bus.ask(send));
        if (seq !== last.seq) throw new Error(`stored at ${seq} instead of ${last.seq}`);
        this.#acknowledge(last.seq);
        return;
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (this.#bus.nc.isClosed()) this.#fail(cancelled(), 'closed');
        else if (isOver(error)) this.#fail(error, 'fenced');
        else this.#note(error);
      }
    }
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

function isOver(error: unknown): error is DroverError {
  return error instanceof DroverError && (error.code === 'bus.fenced' || error.code === 'bus.lost');
}
