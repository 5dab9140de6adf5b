/**
 * A KV bucket of JSON values: read from the stream's leader (so a reader sees its own writes), written by compare-and-set, watched for ever.
 */
import { DroverError, sleep } from '@drover/core';
import type { JsMsg, PubAck } from '@nats-io/jetstream';
import { Kvm } from '@nats-io/kv';
import { headers } from '@nats-io/transport-node';
import { busError, isConflict } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { bucketStream, isDeletion, keyOfSubject, parseEntry, subjectOfKey } from './kv-entry.ts';
import { type OrderedItem, readOrdered } from './ordered.ts';

export interface KvOptions {
  readonly replicas: number;
  /** Milliseconds after which an entry vanishes by itself. */
  readonly ttlMs?: number;
  readonly history?: number;
}

export interface KvEntry<T> {
  readonly value: T;
  readonly revision: number;
}

export interface KvChange<T> {
  readonly key: string;
  /** Null when the key was deleted, or on the marker that all present keys were delivered. */
  readonly value: T | null;
  readonly revision: number;
  /** The marker: everything that was there has been delivered. Comes once, and again if the bucket itself is made anew. */
  readonly synced?: true;
}

export interface WatchOptions {
  /** Called whenever the server shows that there is nothing newer, at least each second while all is well. */
  readonly onAlive?: () => void;
}

interface ReadOptions extends WatchOptions {
  readonly signal: AbortSignal;
  readonly headersOnly?: boolean;
}

interface Stored {
  readonly value: string | null;
  readonly revision: number;
}

const REOPEN_MS = 250;
const LIST_TIMEOUT_MS = 30_000;
const MARKER = { key: '', value: null, revision: 0, synced: true } as const;

export class Kv<T> {
  readonly #bus: Bus;
  readonly #bucket: string;

  private constructor(bus: Bus, bucket: string) {
    this.#bus = bus;
    this.#bucket = bucket;
  }

  /**
   * Opens the bucket; makes it when missing. One that exists is taken as it is.
   * @throws DroverError `bus.unreachable`, `bus.full`
   */
  static async open<T>(bus: Bus, bucket: string, options: KvOptions): Promise<Kv<T>> {
    try {
      await bus.ask(() =>
        new Kvm(bus.js).create(bucket, {
          replicas: options.replicas,
          history: options.history ?? 1,
          ...(options.ttlMs === undefined ? {} : { ttl: options.ttlMs }),
        }),
      );
    } catch (error) {
      throw busError(error, `bucket ${bucket}`);
    }
    return new Kv<T>(bus, bucket);
  }

  /** @throws DroverError `bus.unreachable` */
  async get(key: string): Promise<KvEntry<T> | null> {
    const found = await this.#stored(key);
    return found?.value == null
      ? null
      : { value: parseEntry<T>(this.#bucket, key, found.value), revision: found.revision };
  }

  /** Revision of the newest change to any key: a view that has come so far has seen everything written before this was asked. @throws DroverError `bus.unreachable` */
  async newest(): Promise<number> {
    try {
      const { state } = await this.#bus.read(() => this.#bus.jsm.streams.info(bucketStream(this.#bucket)));
      return state.last_seq;
    } catch (error) {
      throw busError(error, `bucket ${this.#bucket} cannot be read`);
    }
  }

  /** @throws DroverError `placement.conflict` when the key exists; `bus.unreachable`: it may have been written or not */
  async create(key: string, value: T): Promise<number> {
    try {
      return await this.#write(key, value, 0);
    } catch (error) {
      if (!isKeyConflict(error)) throw error;
      // Of a deleted key the mark of its deletion is still there.
      const found = await this.#stored(key);
      if (found === null || found.value !== null) throw error;
      return await this.#write(key, value, found.revision);
    }
  }

  /** @throws DroverError `placement.conflict` when the key has another revision; `bus.unreachable`: it may have been written or not */
  update(key: string, value: T, revision: number): Promise<number> {
    return this.#write(key, value, revision);
  }

  /** @throws DroverError `bus.unreachable` */
  put(key: string, value: T): Promise<number> {
    return this.#write(key, value, undefined);
  }

  /** @throws DroverError `placement.conflict` when `revision` is given and is not the key's; `bus.unreachable` */
  async delete(key: string, revision?: number): Promise<void> {
    const h = headers();
    h.set('KV-Operation', 'DEL');
    await this.#publish(key, '', revision, h);
  }

  /** Sorted. @throws DroverError `bus.unreachable` when it takes too long; `bus.recreated` when the bucket is gone */
  async keys(): Promise<string[]> {
    const out = new Set<string>();
    for await (const item of this.#present({
      headersOnly: true,
      signal: AbortSignal.timeout(LIST_TIMEOUT_MS),
    })) {
      if (item === null) return [...out].sort();
      const key = keyOfSubject(this.#bucket, item.subject);
      if (isDeletion(item)) out.delete(key);
      else out.add(key);
    }
    throw new DroverError('bus.unreachable', `the keys of bucket ${this.#bucket} cannot be read`);
  }

  /**
   * Current values, the `synced` marker, then every change, until the signal aborts. Outages are waited out; what changed meanwhile comes
   * afterwards (of several changes of a key at least the last). A value that is no JSON is passed over with a process warning.
   */
  async *watch(
    signal: AbortSignal,
    options: WatchOptions = {},
  ): AsyncGenerator<KvChange<T>, void, undefined> {
    const known = new Set<string>();
    while (!signal.aborted) {
      try {
        yield* this.#watchBucket(signal, options, known);
      } catch (error) {
        if (!(error instanceof DroverError) || error.code !== 'bus.recreated') throw error;
        await sleep(REOPEN_MS, signal);
      }
    }
  }

  async *#watchBucket(
    signal: AbortSignal,
    options: WatchOptions,
    known: Set<string>,
  ): AsyncGenerator<KvChange<T>, void, undefined> {
    const gone = new Set(known);
    for await (const item of this.#present({ ...options, signal })) {
      if (item !== null) {
        const change = this.#changeOf(item);
        if (change === null) continue;
        gone.delete(change.key);
        if (change.value === null) known.delete(change.key);
        else known.add(change.key);
        yield change;
        continue;
      }
      for (const key of gone) {
        known.delete(key);
        yield { key, value: null, revision: 0 };
      }
      yield MARKER;
    }
  }

  /**
   * Every message, and once null: all that was there has come. Each says how many stand behind it; when the last of them leaves the stream before it is
   * delivered (it expires, or is erased), none says so any more, and the server's word that there is nothing newer counts.
   */
  async *#present(options: ReadOptions): AsyncGenerator<JsMsg | null, void, undefined> {
    const stop = new AbortController();
    const idle = Promise.withResolvers<null>();
    const items = this.#read({
      ...options,
      signal: AbortSignal.any([options.signal, stop.signal]),
      onAlive: () => {
        options.onAlive?.();
        idle.resolve(null);
      },
    });
    let next: ReturnType<typeof items.next> | null = null;
    let synced = false;
    try {
      for (;;) {
        next ??= items.next();
        const read = synced ? await next : await Promise.race([next, idle.promise]);
        if (read?.done === true) return;
        if (read !== null) next = null;
        if (read?.value.kind === 'message') yield read.value.message;
        if (synced || (read !== null && pendingOf(read.value) > 0)) continue;
        synced = true;
        yield null;
      }
    } finally {
      stop.abort();
      await next?.catch(() => undefined); // nobody waits for it any more
      await items.return();
    }
  }

  #read(options: ReadOptions): ReturnType<typeof readOrdered> {
    return readOrdered(this.#bus, {
      stream: bucketStream(this.#bucket),
      start: 'last-per-subject',
      filter: `$KV.${this.#bucket}.>`,
      complete: 'newest',
      ahead: 256,
      ...options,
    });
  }

  #changeOf(message: JsMsg): KvChange<T> | null {
    const key = keyOfSubject(this.#bucket, message.subject);
    const revision = message.seq;
    if (isDeletion(message)) return { key, value: null, revision };
    try {
      return { key, value: parseEntry<T>(this.#bucket, key, message.string()), revision };
    } catch (error) {
      process.emitWarning(error instanceof Error ? error : String(error));
      return null;
    }
  }

  async #stored(key: string): Promise<Stored | null> {
    try {
      const found = await this.#bus.read(() =>
        this.#bus.jsm.streams.getMessage(bucketStream(this.#bucket), {
          last_by_subj: subjectOfKey(this.#bucket, key),
        }),
      );
      if (found === null) return null;
      return { revision: found.seq, value: isDeletion({ headers: found.header }) ? null : found.string() };
    } catch (error) {
      throw busError(error, `${key} of bucket ${this.#bucket} cannot be read`);
    }
  }

  async #write(key: string, value: T, revision: number | undefined): Promise<number> {
    return (await this.#publish(key, JSON.stringify(value), revision, headers())).seq;
  }

  async #publish(
    key: string,
    data: string,
    revision: number | undefined,
    h: ReturnType<typeof headers>,
  ): Promise<PubAck> {
    try {
      const expect = revision === undefined ? {} : { expect: { lastSubjectSequence: revision } };
      return await this.#bus.ask(() =>
        this.#bus.js.publish(subjectOfKey(this.#bucket, key), data, { headers: h, ...expect }),
      );
    } catch (error) {
      if (isConflict(error)) {
        throw new DroverError('placement.conflict', `somebody else changed ${key} first`, { cause: error });
      }
      throw busError(error, `${key} of bucket ${this.#bucket} cannot be written`);
    }
  }
}

function isKeyConflict(error: unknown): boolean {
  return error instanceof DroverError && error.code === 'placement.conflict';
}

function pendingOf(item: OrderedItem): number {
  return item.kind === 'begun' ? item.pending : item.message.info.pending;
}
