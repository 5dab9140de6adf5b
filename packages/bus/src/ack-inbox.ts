/**
 * JetStream's answers to published messages, on one subscription. The library's own way, a request each, makes an inbox entry, a timer and an
 * error object with its stack for every message: half the CPU of publishing small blocks.
 */
import { type Deferred, deferred } from '@drover/core';
import { JetStreamApiError } from '@nats-io/jetstream';
import { createInbox, errors, type Msg, type MsgHdrs, type Subscription } from '@nats-io/transport-node';
import type { Bus } from './connect.ts';

const ACK_TIMEOUT_MS = 10_000;

interface Asked {
  readonly answer: Deferred<number>;
  readonly timer: NodeJS.Timeout;
}

export class AckInbox {
  readonly #bus: Bus;
  readonly #prefix = createInbox();
  readonly #asked = new Map<string, Asked>();
  #subscription: Subscription | undefined;
  #serial = 0;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  /** The sequence it was stored at. @throws JetStreamApiError, NoRespondersError, TimeoutError, or the library's error of a closed connection */
  ask(subject: string, data: Uint8Array, h: MsgHdrs): Promise<number> {
    const { nc } = this.#bus;
    const id = String(++this.#serial);
    const answer = deferred<number>();
    const reply = `${this.#prefix}.${id}`;
    try {
      this.#subscription ??= nc.subscribe(`${this.#prefix}.*`, {
        callback: (error, message) => {
          if (error === null) this.#answered(message);
        },
      });
      nc.publish(subject, data, { headers: h, reply });
    } catch (error) {
      return Promise.reject(error instanceof Error ? error : new Error(String(error)));
    }
    const timer = setTimeout(() => {
      this.#asked.delete(id);
      answer.reject(new errors.TimeoutError());
    }, ACK_TIMEOUT_MS);
    this.#asked.set(id, { answer, timer });
    return answer.promise;
  }

  /** What was asked is never answered. */
  close(): void {
    this.#subscription?.unsubscribe();
    for (const { timer } of this.#asked.values()) clearTimeout(timer);
    this.#asked.clear();
  }

  #answered(message: Msg): void {
    const id = message.subject.slice(this.#prefix.length + 1);
    const asked = this.#asked.get(id);
    if (asked === undefined) return;
    this.#asked.delete(id);
    clearTimeout(asked.timer);
    try {
      asked.answer.resolve(sequenceOf(message));
    } catch (error) {
      asked.answer.reject(error);
    }
  }
}

/** Of a PubAck (ADR-22 of NATS). @throws what it says instead */
function sequenceOf(message: Msg): number {
  if (message.data.length === 0 && message.headers?.code === 503)
    throw new errors.NoRespondersError(message.subject);
  const ack = message.json<{
    seq?: number;
    error?: ConstructorParameters<typeof JetStreamApiError>[0];
  }>();
  if (ack.error !== undefined) throw new JetStreamApiError(ack.error);
  if (typeof ack.seq !== 'number') throw new Error('an acknowledgement names no sequence');
  return ack.seq;
}
