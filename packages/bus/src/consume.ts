/**
 * Reads a partition's stream in order from a given sequence, without acknowledgements: the position is the reader's own
 * (pitfalls 61, 64, 65). What is no longer there, and a stream that is not the same any more, is an error, never a silent skip.
 */
import { type ClusterId, DroverError, sleep } from '@drover/core';
import { DeliverPolicy, type JsMsg } from '@nats-io/jetstream';
import type { Bus } from './connect.ts';
import { H_CHUNK, H_TRACE, parseChunk } from './headers.ts';
import { parseSubject, streamName, subjectOf } from './names.ts';
import { streamState } from './stream.ts';

export interface ConsumeOptions {
  readonly cluster: ClusterId;
  readonly partition: number;
  /** First sequence wanted, from 1. */
  readonly startSeq: number;
  /** Only this tenant's messages. */
  readonly token?: string;
  /** Identity of the stream the position was taken from. */
  readonly expectCreated?: string;
  readonly signal: AbortSignal;
}

export interface InMessage {
  /** Sequence of the message, or of its last chunk. */
  readonly seq: number;
  /** Sequence of its first chunk. */
  readonly firstSeq: number;
  readonly token: string;
  readonly data: Buffer;
  /** When the server stored it, Unix ms. */
  readonly timeMs: number;
  /** Messages that wait behind it. */
  readonly pending: number;
  readonly traceparent: string | undefined;
}

const BUFFERED_BYTES = 8 * 1024 * 1024;

/**
 * Ends when the signal aborts. The consumer is made anew behind the last message after any trouble with it.
 * @throws DroverError `bus.truncated`, `bus.recreated`
 */
export async function* consume(
  bus: Bus,
  options: ConsumeOptions,
): AsyncGenerator<InMessage, void, undefined> {
  let next = options.startSeq;
  const chunks = new ChunkAssembler();
  while (!options.signal.aborted) {
    try {
      await checkStart(bus, options, next);
    } catch (error) {
      if (error instanceof DroverError || options.signal.aborted) throw error;
      if (!(await sleep(250, options.signal))) return;
      continue;
    }
    try {
      for await (const message of messagesFrom(bus, options, next)) {
        if (message.seq < next) continue;
        if (options.token === undefined && message.seq !== next) break; // a gap: look again from where we are
        next = message.seq + 1;
        const whole = chunks.add(message);
        if (whole !== undefined) yield whole;
      }
    } catch (error) {
      if (error instanceof DroverError) throw error;
      if (options.signal.aborted) return;
      // The server or the consumer went away: what we have yielded stands, the rest is asked for again.
      if (!(await sleep(100, options.signal))) return;
    }
  }
}

async function* messagesFrom(bus: Bus, options: ConsumeOptions, startSeq: number): AsyncGenerator<JsMsg> {
  const consumer = await bus.js.consumers.get(streamName(options.cluster, options.partition), {
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: startSeq,
    ...(options.token === undefined
      ? {}
      : { filter_subjects: subjectOf(options.cluster, options.partition, options.token) }),
  });
  const messages = await consumer.consume({ max_bytes: BUFFERED_BYTES, idle_heartbeat: 1000, expires: 5000 });
  const stop = () => messages.stop();
  options.signal.addEventListener('abort', stop, { once: true });
  try {
    if (options.signal.aborted) return;
    yield* messages;
  } finally {
    options.signal.removeEventListener('abort', stop);
    messages.stop();
    await consumer.delete().catch(() => undefined);
  }
}

async function checkStart(bus: Bus, options: ConsumeOptions, next: number): Promise<void> {
  const state = await streamState(bus, options.cluster, options.partition);
  const name = streamName(options.cluster, options.partition);
  if (state === undefined) {
    throw new DroverError('bus.recreated', `stream ${name} does not exist any more`);
  }
  if (
    (options.expectCreated !== undefined && state.created !== options.expectCreated) ||
    state.lastSeq < next - 1
  ) {
    throw new DroverError(
      'bus.recreated',
      `stream ${name} was made anew (created ${state.created}, ends at ${state.lastSeq})`,
      {
        facts: { created: state.created, lastSeq: state.lastSeq, wanted: next },
      },
    );
  }
  if (state.firstSeq > next) {
    throw new DroverError('bus.truncated', `stream ${name} begins at ${state.firstSeq}, wanted ${next}`, {
      facts: { firstSeq: state.firstSeq, wanted: next },
    });
  }
}

/** Puts chunked blocks together. A block whose later chunks never came (its publisher died) is dropped when another begins. */
class ChunkAssembler {
  readonly #open = new Map<string, { parts: Uint8Array[]; firstSeq: number }>();

  add(message: JsMsg): InMessage | undefined {
    const token = parseSubject(message.subject)?.token;
    if (token === undefined) return undefined;
    const chunk = parseChunk(message.headers?.get(H_CHUNK) ?? '');
    const whole = (data: Buffer, firstSeq: number): InMessage => ({
      seq: message.seq,
      firstSeq,
      token,
      data,
      timeMs: message.info.timestampNanos / 1e6,
      pending: message.info.pending,
      traceparent: message.headers?.get(H_TRACE) || undefined,
    });
    if (chunk === undefined) {
      this.#open.delete(token);
      return whole(asBuffer(message.data), message.seq);
    }
    if (chunk.index === 0) this.#open.set(token, { parts: [], firstSeq: message.seq });
    const open = this.#open.get(token);
    if (open === undefined || open.parts.length !== chunk.index) {
      this.#open.delete(token);
      return undefined;
    }
    open.parts.push(message.data);
    if (chunk.index < chunk.count - 1) return undefined;
    this.#open.delete(token);
    return whole(Buffer.concat(open.parts), open.firstSeq);
  }
}

function asBuffer(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}
