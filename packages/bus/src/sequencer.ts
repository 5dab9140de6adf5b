/**
 * Makes of blocks the messages of a stream, each with the sequence it is meant for. Pure: what a publisher sends is settled here,
 * once, when a group is handed in; however often it has to be sent again, it stays the same.
 */
import { assert, type ClusterId, type Lsn } from '@drover/core';
import { cut, roomFor } from './chunks.ts';
import { FENCE_MESSAGES } from './fence.ts';
import { FlushGroups } from './flush-groups.ts';
import {
  formatGroup,
  formatLast,
  H_CHUNK,
  H_GROUP,
  H_LAST,
  H_TRACE,
  messageId,
  parseMessageId,
} from './headers.ts';
import { FENCE_TOKEN, subjectOf } from './names.ts';
import type { OutMessage } from './publisher.ts';
import type { FoundEnd } from './resume.ts';
import type { Item } from './stream-writer.ts';

const EMPTY = new Uint8Array();

export class Sequencer {
  readonly #cluster: ClusterId;
  readonly #partition: number;
  readonly #publisher: string;
  readonly #groups = new FlushGroups();
  #assigned: number;
  #fenceEnd = 0;

  /** `publisher` names who sends: no other publisher's messages have the same ids. */
  constructor(
    stream: { cluster: ClusterId; partition: number; lastSeq: number; end: FoundEnd | null },
    publisher: string,
  ) {
    this.#cluster = stream.cluster;
    this.#partition = stream.partition;
    this.#assigned = stream.lastSeq;
    this.#publisher = publisher;
    if (stream.end === null) return;
    const { origin, marks } = stream.end;
    const lsns = Array.from(marks.perTenant.values(), (mark) => mark.lastLsn);
    this.#groups.resume(origin, marks.firstSeq, highest(lsns, marks.safeLsn));
  }

  /** Sequence of the newest message made. */
  get assigned(): number {
    return this.#assigned;
  }

  /** Last sequence of the fence; 0 until the first group was made. */
  get fenceEnd(): number {
    return this.#fenceEnd;
  }

  /** What the stream holds of the source of these messages is not to be counted on any more. */
  forget(messages: readonly OutMessage[]): void {
    const origin = parseMessageId(messages[0]?.id ?? '')?.origin;
    if (origin !== undefined) this.#groups.forget(origin);
  }

  /** The messages of a group; before the first group, those of the fence. `maxPayload`: the server's limit, bytes. */
  group(messages: readonly OutMessage[], safeLsn: Lsn, maxPayload: number): Item[] {
    const first = messages[0];
    if (first === undefined) return [];
    const origin = parseMessageId(first.id)?.origin;
    assert(origin !== undefined, 'a block id names system and generation', { id: first.id });
    const room = roomFor(maxPayload);
    const items = this.#fenceEnd === 0 ? this.#fence() : [];
    const lsns = messages.map((message) => message.lastLsn);
    const span = { firstSeq: this.#assigned + 1, safeLsn, maxLsn: highest(lsns, first.lastLsn) };
    const group = formatGroup(this.#groups.begin(origin, span), safeLsn);
    for (const message of messages) {
      const pieces = cut(message.block, room);
      if (pieces.length === 1) message.onSeq?.(this.#assigned + 1);
      for (const [i, piece] of pieces.entries()) {
        const headers = {
          [H_GROUP]: group,
          [H_LAST]: formatLast(message.lastLsn, message.part, message.complete),
          ...(pieces.length === 1 ? {} : { [H_CHUNK]: `${i}/${pieces.length}` }),
          ...(message.traceparent === undefined ? {} : { [H_TRACE]: message.traceparent }),
        };
        items.push(this.#item(message.token, piece, { block: message.id, chunk: i, headers }));
      }
    }
    return items;
  }

  #fence(): Item[] {
    const items = Array.from({ length: FENCE_MESSAGES }, (_, chunk) =>
      this.#item(FENCE_TOKEN, EMPTY, { block: 'fence', chunk, headers: {} }),
    );
    this.#fenceEnd = this.#assigned;
    return items;
  }

  #item(
    token: string,
    data: Uint8Array,
    of: { block: string; chunk: number; headers: Readonly<Record<string, string>> },
  ): Item {
    const seq = ++this.#assigned;
    return {
      seq,
      subject: subjectOf(this.#cluster, this.#partition, token),
      data,
      id: messageId(of.block, of.chunk, seq, this.#publisher),
      headers: of.headers,
    };
  }
}

function highest(lsns: readonly Lsn[], atLeast: Lsn): Lsn {
  return lsns.reduce((max, at) => (at > max ? at : max), atLeast);
}
