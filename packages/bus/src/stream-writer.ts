/**
 * The writes of a publisher, and what of them has arrived. What a write means for the rest is for `stream-publisher.ts` to say.
 */
import { type ClusterId, DroverError, must } from '@drover/core';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import { AckInbox } from './ack-inbox.ts';
import type { Bus } from './connect.ts';
import { H_ID } from './headers.ts';
import { streamName } from './names.ts';
import { streamState } from './stream.ts';

/** One message, with the sequence it is meant for. */
export interface Item {
  readonly seq: number;
  readonly subject: string;
  readonly data: Uint8Array;
  readonly id: string;
  readonly headers: Readonly<Record<string, string>>;
}

const H_EXPECTED = 'Nats-Expected-Last-Sequence';
/** Reads at a time when what is stored is compared with what was sent. */
const COMPARE_AT_ONCE = 8;

export class StreamWriter {
  readonly #bus: Bus;
  readonly #cluster: ClusterId;
  readonly #partition: number;
  readonly #created: string;
  readonly #name: string;
  readonly #acks: AckInbox;

  constructor(bus: Bus, stream: { cluster: ClusterId; partition: number; created: string }) {
    this.#bus = bus;
    this.#cluster = stream.cluster;
    this.#partition = stream.partition;
    this.#created = stream.created;
    this.#name = streamName(stream.cluster, stream.partition);
    this.#acks = new AckInbox(bus);
  }

  close(): void {
    this.#acks.close();
  }

  /** The sequence it is stored at. Rejects with what the server says, or when it is silent. */
  one(item: Item): Promise<number> {
    return this.#acks.ask(item.subject, item.data, expecting(item));
  }

  /** Without an answer: a later message's, which expects this one to be there, is that of both. Throws when the connection is closed. */
  quiet(item: Item): void {
    this.#bus.nc.publish(item.subject, item.data, { headers: expecting(item) });
  }

  /** All of them or none (ADR-50 of NATS): the batch takes effect with its last message, which alone is answered. Gives that one's sequence. */
  async batch(items: readonly Item[]): Promise<number> {
    const id = crypto.randomUUID();
    const last = must(items.at(-1), 'last message of a batch');
    const headersAt = (item: Item, i: number) => {
      const h = headersOf(item);
      h.set('Nats-Batch-Id', id);
      h.set('Nats-Batch-Sequence', String(i + 1));
      if (i === 0) h.set(H_EXPECTED, String(item.seq - 1));
      return h;
    };
    for (const [i, item] of items.slice(0, -1).entries()) {
      this.#bus.nc.publish(item.subject, item.data, { headers: headersAt(item, i) });
    }
    const h = headersAt(last, items.length - 1);
    h.set('Nats-Batch-Commit', '1');
    return await this.#acks.ask(last.subject, last.data, h);
  }

  /**
   * The sequence up to which the stream holds ours, read from its end: what is there beyond `stored` must be the first of `items`, one by one.
   * @throws DroverError `bus.fenced` when it is not, `bus.lost` when the stream is another or has lost what it had acknowledged; `bus.unreachable`
   */
  async storedUpTo(stored: number, items: readonly Item[]): Promise<number> {
    const state = await streamState(this.#bus, this.#cluster, this.#partition);
    if (state === undefined || state.created !== this.#created || state.lastSeq < stored) {
      throw new DroverError('bus.lost', `stream ${this.#name} was removed, made anew or has lost messages`, {
        hint: 'the reader begins anew and says what that means',
        facts: { stored, found: state?.lastSeq, created: state?.created },
      });
    }
    for (let seq = stored + 1; seq <= state.lastSeq; seq += COMPARE_AT_ONCE) {
      const count = Math.min(COMPARE_AT_ONCE, state.lastSeq - seq + 1);
      const compare = Array.from({ length: count }, (_, i) =>
        this.#mustBe(seq + i, items[seq + i - stored - 1]),
      );
      await Promise.all(compare);
    }
    return state.lastSeq;
  }

  async #mustBe(seq: number, item: Item | undefined): Promise<void> {
    const found = await this.#bus.read(() => this.#bus.jsm.streams.getMessage(this.#name, { seq }));
    if (item !== undefined && found?.header.get(H_ID) === item.id) return;
    throw new DroverError('bus.fenced', `another publisher has written to ${this.#name}`, {
      facts: { seq, found: found?.header.get(H_ID), expected: item?.id },
    });
  }
}

function expecting(item: Item): MsgHdrs {
  const h = headersOf(item);
  h.set(H_EXPECTED, String(item.seq - 1));
  return h;
}

function headersOf(item: Item): MsgHdrs {
  const h = headers();
  h.set(H_ID, item.id);
  for (const [name, value] of Object.entries(item.headers)) h.set(name, value);
  return h;
}
