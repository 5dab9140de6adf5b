/**
 * Entries between the consumer and the transactions: bounded by bytes and count (I9). The consumer waits when it is full, so that
 * NATS holds the rest. One producer, one consumer.
 */
import { cancelled, type Deferred, deferred } from '@drover/core';
import type { Entry } from '../changes/entry.ts';

const ENTRIES_MAX = 8192;

export class EntryQueue {
  readonly #bytesMax: number;
  #entries: Entry[] = [];
  #bytes = 0;
  #failure: unknown;
  #ended = false;
  #arrived: Deferred<void> | undefined;
  #taken: Deferred<void> | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get length(): number {
    return this.#entries.length;
  }

  get head(): Entry | undefined {
    return this.#entries[0];
  }

  /** All that wait, in order. */
  get waiting(): readonly Entry[] {
    return this.#entries;
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Makes a waiting consumer look around. */
  poke(): void {
    this.#arrived?.resolve();
  }

  get failure(): unknown {
    return this.#failure;
  }

  /** Resolves when there is room for the next one. */
  async push(entry: Entry): Promise<void> {
    this.#entries.push(entry);
    this.#bytes += entry.size;
    this.#wake();
    while (!this.#ended && (this.#bytes >= this.#bytesMax || this.#entries.length >= ENTRIES_MAX)) {
      this.#taken ??= deferred();
      await this.#taken.promise;
    }
  }

  /** No more will come. */
  end(failure?: unknown): void {
    this.#ended = true;
    this.#failure ??= failure;
    this.#wake();
    this.#taken?.resolve();
  }

  /** Up to `bytesMax` bytes, at least one entry, in order, as long as `want` says so; none when there are none. */
  take(bytesMax: number, want: (entry: Entry) => boolean = () => true): Entry[] {
    let count = 0;
    let bytes = 0;
    for (const entry of this.#entries) {
      if (!want(entry) || (count > 0 && bytes + entry.size > bytesMax)) break;
      bytes += entry.size;
      count++;
    }
    const out = this.#entries.slice(0, count);
    this.#entries = this.#entries.slice(count);
    this.#bytes -= bytes;
    this.#taken?.resolve();
    this.#taken = undefined;
    return out;
  }

  /** True when an entry is there; false when it has ended, was poked, or `ms` have passed. @throws what the producer failed with */
  async wait(signal: AbortSignal, ms?: number): Promise<boolean> {
    if (this.#entries.length > 0) return true;
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#ended || signal.aborted) return false;
    this.#arrived ??= deferred();
    const arrived = this.#arrived;
    const onAbort = (): void => arrived.resolve();
    signal.addEventListener('abort', onAbort, { once: true });
    const timer = ms === undefined ? undefined : setTimeout(onAbort, ms);
    await arrived.promise;
    if (this.#arrived === arrived) this.#arrived = undefined;
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    if (this.#entries.length > 0) return true;
    if (this.#failure !== undefined) throw this.#failure;
    return false;
  }

  async one(signal: AbortSignal): Promise<Entry> {
    for (;;) {
      const [entry] = this.#entries.length > 0 ? this.take(0) : [];
      if (entry !== undefined) return entry;
      const more = await this.wait(signal);
      if (!more && (this.#ended || signal.aborted)) throw cancelled();
    }
  }

  /** Called at each arrival and at the end; one listener. */
  onArrival: (() => void) | undefined;

  #wake(): void {
    this.#arrived?.resolve();
    this.#arrived = undefined;
    this.onArrival?.();
  }
}
