/**
 * Reads a stream in order from a position, for ever: nothing is skipped, nothing comes twice. The server-side consumer is a throw-away; after
 * any trouble with it (lost, deleted, silent, connection broken) another is made behind the last message, and the stream is looked at again first: what
 * is no longer there, and a stream that is not the same any more, is an error, never a silent skip (pitfalls 61, 65).
 */
import { DroverError, isCancelled, sleep } from '@drover/core';
import type { Consumer, ConsumerMessages, JsMsg, StreamInfo } from '@nats-io/jetstream';
import { DeliverPolicy } from '@nats-io/jetstream';
import type { Bus } from './connect.ts';
import { type StreamState, stateOf, streamInfo } from './stream.ts';

export interface OrderedOptions {
  readonly stream: string;
  /** A sequence from 1, or the newest message of each subject. */
  readonly start: { readonly seq: number } | 'last-per-subject';
  /** One subject, or one pattern of subjects. */
  readonly filter?: string;
  /** Identity of the stream the position was taken from. Without it, the stream met first is the one. */
  readonly expectCreated?: string;
  /** A message that the reader knows, by the time at which it was stored: looked at before each beginning. See {@link checkAnchor}. */
  readonly anchor?: Anchor;
  /**
   * What must be there. `all`: every sequence from the start on; `head`: what the filter lets through, so the stream must not come to begin
   * behind the position; `newest`: older messages may have been superseded.
   */
  readonly complete: 'all' | 'head' | 'newest';
  readonly headersOnly?: boolean;
  /** Messages asked for ahead. Default: by the server's message limit, at most 64 MiB. */
  readonly ahead?: number;
  readonly signal?: AbortSignal;
  /** Called whenever the server shows that there is nothing newer than what was read: each second while idle. */
  readonly onAlive?: () => void;
}

export interface Anchor {
  readonly seq: number;
  /** When the server stored it, Unix ms. */
  readonly timeMs: number;
}

export type OrderedItem =
  | { readonly kind: 'message'; readonly message: JsMsg }
  /** A consumer was made; `pending` messages are there already. */
  | { readonly kind: 'begun'; readonly pending: number };

/** An idle server says so this often; silence for twice as long means that the consumer is gone. */
const HEARTBEAT_MS = 1000;
/** What the library tells of a consumer with which it is better not to go on. */
const TROUBLE: ReadonlySet<string> = new Set([
  'heartbeats_missed',
  'consumer_not_found',
  'consumer_deleted',
  'stream_not_found',
  'no_responders',
  'reset',
]);
/** Clocks of servers and readers agree better than this, or than half the age messages live to. */
const CLOCKS_MS = 600_000;
const PULL_EXPIRES_MS = 30_000;
const RETRY_MS = 100;
const RETRY_MS_MAX = 2000;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;

/**
 * Ends when the signal aborts or the bus is closed.
 * @throws DroverError `bus.truncated`, `bus.recreated`
 */
export async function* readOrdered(
  bus: Bus,
  options: OrderedOptions,
): AsyncGenerator<OrderedItem, void, undefined> {
  const { signal } = options;
  let created = options.expectCreated;
  let next = options.start === 'last-per-subject' ? undefined : options.start.seq;
  let retryMs = RETRY_MS;
  let { anchor } = options;
  while (!signal?.aborted) {
    let reading: Reading | undefined;
    const begunAt = performance.now();
    try {
      await bus.connected(signal);
      const info = await lookAt(bus, options.stream);
      checkPosition(options, stateOf(info), created, next);
      if (anchor !== undefined) await checkAnchor(bus, options.stream, anchor);
      created = info.created;
      reading = await Reading.begin(bus, options, { next, info });
      yield { kind: 'begun', pending: reading.pending };
      for await (const message of reading.messages) {
        if (signal?.aborted) return;
        if (next !== undefined && message.seq < next) break;
        const wanted = next ?? message.seq;
        if (message.seq > wanted && (options.complete === 'all' || reading.mayHaveLost)) {
          // Either the head has just left the stream, which the next look says, or messages are missing within.
          checkPosition(options, stateOf(await lookAt(bus, options.stream)), created, wanted);
          if (options.complete === 'all') throw lost(options.stream, wanted, message.seq);
        }
        next = message.seq + 1;
        if (options.complete !== 'newest')
          anchor = { seq: message.seq, timeMs: message.info.timestampNanos / 1e6 };
        retryMs = RETRY_MS;
        yield { kind: 'message', message };
        reading.note(message);
        if (message.info.pending === 0) options.onAlive?.();
      }
    } catch (error) {
      if (signal?.aborted || isCancelled(error)) return;
      if (error instanceof DroverError && error.disposition === 'resync') throw error;
    } finally {
      reading?.end();
    }
    if (performance.now() - begunAt > RETRY_MS_MAX) retryMs = RETRY_MS; // it went well for a while
    await sleep(retryMs, signal);
    retryMs = Math.min(RETRY_MS_MAX, retryMs * 2);
  }
}

async function lookAt(bus: Bus, stream: string): Promise<StreamInfo> {
  const info = await streamInfo(bus, stream);
  if (info !== undefined) return info;
  throw new DroverError('bus.recreated', `stream ${stream} does not exist any more`, { facts: { stream } });
}

/** Times of one message, read in two ways, may differ by what a number of nanoseconds is rounded by. */
const SAME_MS = 1;

/**
 * A stream can lose its newest messages and stay the same one (a server that lost power before it had written them), and be written on since:
 * then its sequences mean other messages. The one at the reader's position tells. One that has left at the head tells nothing.
 * @throws DroverError `bus.recreated`
 */
export async function checkAnchor(bus: Bus, stream: string, anchor: Anchor): Promise<void> {
  const found = await bus.read(() => bus.jsm.streams.getMessage(stream, { seq: anchor.seq }));
  if (found === null || Math.abs(found.time.getTime() - anchor.timeMs) <= SAME_MS) return;
  throw new DroverError(
    'bus.recreated',
    `stream ${stream} holds another message at ${anchor.seq} than before`,
    {
      facts: {
        stream,
        seq: anchor.seq,
        storedAt: found.time.toISOString(),
        expected: new Date(anchor.timeMs),
      },
    },
  );
}

/** Pure. @throws DroverError `bus.truncated`, `bus.recreated` */
export function checkPosition(
  options: Pick<OrderedOptions, 'stream' | 'complete'>,
  state: StreamState,
  created: string | undefined,
  next: number | undefined,
): void {
  const { stream } = options;
  const { firstSeq, lastSeq } = state;
  if ((created !== undefined && state.created !== created) || (next !== undefined && lastSeq < next - 1)) {
    throw new DroverError(
      'bus.recreated',
      `stream ${stream} is not the one this position was taken from (made ${state.created}, ends at ${lastSeq})`,
      { facts: { stream, created: state.created, expected: created, lastSeq, wanted: next } },
    );
  }
  if (options.complete !== 'newest' && next !== undefined && firstSeq > next)
    throw lost(stream, next, firstSeq);
}

function lost(stream: string, wanted: number, found: number): DroverError {
  return new DroverError('bus.truncated', `stream ${stream} goes on at ${found}, wanted ${wanted}`, {
    facts: { stream, firstSeq: found, wanted },
  });
}

/** One consumer and what it delivers; its iterator ends at the first sign of trouble. */
class Reading {
  readonly messages: ConsumerMessages;
  readonly pending: number;
  /** Of the messages delivered, so many have been read. */
  #done = 0;
  /** What is still to come was stored no earlier, Unix ms. */
  #sinceMs: number;
  /** So old a message may be gone, milliseconds. */
  readonly #goneAfterMs: number;
  readonly #bus: Bus;
  readonly #consumer: Consumer;
  readonly #options: OrderedOptions;
  readonly #offStatus: () => void;

  private constructor(
    bus: Bus,
    options: OrderedOptions,
    from: { consumer: Consumer; messages: ConsumerMessages; pending: number; info: StreamInfo },
  ) {
    this.#bus = bus;
    this.#options = options;
    this.#consumer = from.consumer;
    this.messages = from.messages;
    this.pending = from.pending;
    const { config, state } = from.info;
    const maxAgeMs = config.max_age / 1e6;
    const ages = maxAgeMs > 0 && options.complete !== 'newest';
    this.#goneAfterMs = ages ? maxAgeMs - Math.min(CLOCKS_MS, maxAgeMs / 2) : Number.POSITIVE_INFINITY;
    this.#sinceMs = from.pending === 0 ? Date.now() : Date.parse(state.first_ts);
    this.#offStatus = bus.onStatus(this.#stop);
    options.signal?.addEventListener('abort', this.#stop, { once: true });
    if (options.signal?.aborted || bus.status() === 'disconnected') this.#stop();
    void this.#watch();
  }

  static async begin(
    bus: Bus,
    options: OrderedOptions,
    from: { next: number | undefined; info: StreamInfo },
  ): Promise<Reading> {
    const { next } = from;
    const consumer = await bus.ask(() =>
      bus.js.consumers.get(options.stream, {
        ...(next === undefined
          ? { deliver_policy: DeliverPolicy.LastPerSubject }
          : { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: next }),
        ...(options.filter === undefined ? {} : { filter_subjects: options.filter }),
        ...(options.headersOnly === true ? { headers_only: true } : {}),
        inactive_threshold: 60_000,
      }),
    );
    const info = await consumer.info(true);
    const ahead = options.ahead ?? Math.max(8, Math.min(64, Math.floor(AHEAD_BYTES_MAX / bus.maxPayload)));
    const messages = await consumer.consume({
      max_messages: ahead,
      expires: PULL_EXPIRES_MS,
      idle_heartbeat: HEARTBEAT_MS,
    });
    return new Reading(bus, options, { consumer, messages, pending: info.num_pending, info: from.info });
  }

  /** The server passes over in silence what has left the stream before it could be delivered. */
  get mayHaveLost(): boolean {
    return Date.now() - this.#sinceMs > this.#goneAfterMs;
  }

  /** The message has been read. */
  note(message: JsMsg): void {
    const { deliverySequence, pending, timestampNanos } = message.info;
    this.#done = deliverySequence;
    this.#sinceMs = pending === 0 ? Date.now() : timestampNanos / 1e6;
  }

  end(): void {
    this.#offStatus();
    this.#options.signal?.removeEventListener('abort', this.#stop);
    this.messages.stop();
    // Courtesy only: the server forgets an unused consumer by itself.
    if (this.#bus.status() === 'connected') this.#consumer.delete().catch(() => undefined);
  }

  readonly #stop = (): void => this.messages.stop();

  async #watch(): Promise<void> {
    for await (const status of this.messages.status()) {
      if (TROUBLE.has(status.type)) this.#stop();
      if (status.type !== 'heartbeat' || status.lastConsumerSequence !== this.#done) continue;
      if (this.mayHaveLost) this.#stop();
      else {
        this.#sinceMs = Date.now();
        this.#options.onAlive?.();
      }
    }
  }
}
