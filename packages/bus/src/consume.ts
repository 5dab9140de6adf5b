/**
 * Reads a partition's stream in order from a given sequence, without acknowledgements: the position is the reader's own
 * (pitfalls 61, 64, 65). Blocks come whole or not at all.
 */
import { assert, type ClusterId, LSN_ZERO, type Lsn } from '@drover/core';
import type { JsMsg } from '@nats-io/jetstream';
import { ChunkAssembler } from './chunks.ts';
import type { Bus } from './connect.ts';
import { H_CHUNK, H_GROUP, H_TRACE, parseChunk, parseGroup } from './headers.ts';
import { isAside, parseSubject, streamName, subjectOf } from './names.ts';
import { type Anchor, readOrdered } from './ordered.ts';

export interface ConsumeOptions {
  readonly cluster: ClusterId;
  readonly partition: number;
  /** First sequence wanted, from 1. A block that begins before it is not delivered: whoever starts within one has seen its beginning. */
  readonly startSeq: number;
  /** Only this tenant's messages. */
  readonly token?: string;
  /** Identity of the stream the position was taken from. */
  readonly expectCreated?: string;
  /** A message that whoever stored the position had read. */
  readonly anchor?: Anchor;
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
  /** All that its source committed at or before it, as far as it is of this partition, stands in earlier messages. */
  readonly safeLsn: Lsn;
}

/**
 * Ends when the signal aborts. Trouble with the server or the consumer is waited out.
 * @throws DroverError `bus.truncated`, `bus.recreated`
 */
export async function* consume(
  bus: Bus,
  options: ConsumeOptions,
): AsyncGenerator<InMessage, void, undefined> {
  const { cluster, partition, token, startSeq } = options;
  assert(Number.isSafeInteger(startSeq) && startSeq >= 1, 'a start sequence is at least 1', { startSeq });
  const chunks = new ChunkAssembler();
  const items = readOrdered(bus, {
    stream: streamName(cluster, partition),
    start: { seq: startSeq },
    signal: options.signal,
    ...(token === undefined
      ? { complete: 'all' as const }
      : { complete: 'head' as const, filter: subjectOf(cluster, partition, token) }),
    ...(options.expectCreated === undefined ? {} : { expectCreated: options.expectCreated }),
    ...(options.anchor === undefined ? {} : { anchor: options.anchor }),
  });
  for await (const item of items) {
    if (item.kind !== 'message') continue;
    const whole = wholeOf(item.message, chunks);
    if (whole !== undefined) yield whole;
  }
}

function wholeOf(message: JsMsg, chunks: ChunkAssembler): InMessage | undefined {
  const token = parseSubject(message.subject)?.token;
  if (token === undefined || isAside(token)) {
    chunks.interrupt();
    return undefined;
  }
  const chunk = parseChunk(message.headers?.get(H_CHUNK) ?? '');
  const whole = chunks.add({ seq: message.seq, token, chunk, data: message.data });
  if (whole === undefined) return undefined;
  return {
    ...whole,
    seq: message.seq,
    token,
    timeMs: message.info.timestampNanos / 1e6,
    pending: message.info.pending,
    traceparent: message.headers?.get(H_TRACE) || undefined,
    safeLsn: parseGroup(message.headers?.get(H_GROUP) ?? '')?.safeLsn ?? LSN_ZERO,
  };
}
