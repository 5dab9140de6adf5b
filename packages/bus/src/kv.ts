/** A KV bucket of JSON values, written by compare-and-set, watched for ever. */
import { DroverError, sleep } from '@drover/core';
import { JetStreamApiError } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import type { Bus } from './connect.ts';

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
  /** The marker: everything that was there at the start has been delivered. Comes once for each (re)start of the watch. */
  readonly synced?: true;
}

const REWATCH_MS = 250;

export class Kv<T> {
  readonly #kv: KV;

  private constructor(kv: KV) {
    this.#kv = kv;
  }

  /** Opens the bucket, makes it when missing. */
  static async open<T>(bus: Bus, bucket: string, options: KvOptions): Promise<Kv<T>> {
    const kvm = new Kvm(bus.js);
    return new Kv<T>(
      await kvm.create(bucket, {
        replicas: options.replicas,
        history: options.history ?? 1,
        ...(options.ttlMs === undefined ? {} : { ttl: options.ttlMs }),
      }),
    );
  }

  async get(key: string): Promise<KvEntry<T> | null> {
    const entry = await this.#kv.get(key);
    if (entry === null || entry.operation !== 'PUT') return null;
    return { value: entry.json<T>(), revision: entry.revision };
  }

  /** @throws DroverError `placement.conflict` when the key exists. */
  create(key: string, value: T): Promise<number> {
    return guarded(key, () => this.#kv.create(key, JSON.stringify(value)));
  }

  /** @throws DroverError `placement.conflict` when the key has another revision. */
  update(key: string, value: T, revision: number): Promise<number> {
    return guarded(key, () => this.#kv.update(key, JSON.stringify(value), revision));
  }

  put(key: string, value: T): Promise<number> {
    return this.#kv.put(key, JSON.stringify(value));
  }

  /** @throws DroverError `placement.conflict` when `revision` is given and is not the key's. */
  async delete(key: string, revision?: number): Promise<void> {
    await guarded(key, () => this.#kv.delete(key, revision === undefined ? {} : { previousSeq: revision }));
  }

  async keys(): Promise<string[]> {
    const out: string[] = [];
    for await (const key of await this.#kv.keys()) out.push(key);
    return out.sort();
  }

  /** Current values, the `synced` marker, then every change. Restarts by itself (with all values again) until the signal aborts. */
  async *watch(signal: AbortSignal): AsyncGenerator<KvChange<T>, void, undefined> {
    while (!signal.aborted) {
      try {
        yield* this.#watchOnce(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof SyntaxError) throw error;
      }
      if (!(await sleep(REWATCH_MS, signal))) return;
    }
  }

  async *#watchOnce(signal: AbortSignal): AsyncGenerator<KvChange<T>, void, undefined> {
    const empty = (await this.#kv.status()).values === 0;
    const watch = await this.#kv.watch();
    const stop = () => watch.stop();
    signal.addEventListener('abort', stop, { once: true });
    let synced = false;
    const marker: KvChange<T> = { key: '', value: null, revision: 0, synced: true };
    try {
      if (signal.aborted) return;
      if (empty) {
        synced = true;
        yield marker;
      }
      for await (const entry of watch) {
        const value = entry.operation === 'PUT' ? entry.json<T>() : null;
        yield { key: entry.key, value, revision: entry.revision };
        if (!synced && (entry.delta ?? 0) === 0) {
          synced = true;
          yield marker;
        }
      }
    } finally {
      signal.removeEventListener('abort', stop);
      watch.stop();
    }
  }
}

async function guarded<R>(key: string, action: () => Promise<R>): Promise<R> {
  try {
    return await action();
  } catch (error) {
    if (error instanceof JetStreamApiError && (error.code === 10071 || error.code === 10164)) {
      throw new DroverError('placement.conflict', `somebody else changed ${key} first`, { cause: error });
    }
    throw error;
  }
}
