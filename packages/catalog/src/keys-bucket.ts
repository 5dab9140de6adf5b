/** The bucket `drover_keys`: records by name, and an erasure after which nothing of a record stands in the stream. */
import { type Bus, Kv, type KvEntry } from '@drover/bus';
import { DroverError, describeError, type TenantId, tenantToken } from '@drover/core';
import {
  headName,
  type KeyHead,
  type KeyRecord,
  keyName,
  parseName,
  type RecordName,
  type StoredKey,
} from './keys-record.ts';

const BUCKET = 'drover_keys';
const STREAM = `KV_${BUCKET}`;
const PREFIX = `$KV.${BUCKET}.`;

export class KeyBucket {
  readonly #bus: Bus;
  readonly records: Kv<KeyRecord>;

  private constructor(bus: Bus, records: Kv<KeyRecord>) {
    this.#bus = bus;
    this.records = records;
  }

  /** @throws DroverError `bus.unreachable`, `bus.full` */
  static async open(bus: Bus, options: { replicas: number }): Promise<KeyBucket> {
    return new KeyBucket(
      bus,
      await Kv.open<KeyRecord>(bus, BUCKET, { replicas: options.replicas, history: 1 }),
    );
  }

  /** Has anybody opened it yet? @throws DroverError `bus.unreachable` */
  static async exists(bus: Bus): Promise<boolean> {
    const names = await bus.read(() => bus.jsm.streams.names(`${PREFIX}>`).next());
    return names.includes(STREAM);
  }

  async head(tenant: TenantId): Promise<KvEntry<KeyHead> | null> {
    const found = await this.records.get(headName(tenant));
    return found?.value.kind === 'head' ? { value: found.value, revision: found.revision } : null;
  }

  async key(tenant: TenantId, id: number): Promise<KvEntry<StoredKey> | null> {
    const found = await this.records.get(keyName(tenant, id));
    return found?.value.kind === 'key' ? { value: found.value, revision: found.revision } : null;
  }

  /** Ids of the keys that stand there, by tenant; a tenant with only a head has none. @throws DroverError `bus.unreachable` */
  ids(): Promise<Map<TenantId, number[]>> {
    return this.#ids('>');
  }

  async idsOf(tenant: TenantId): Promise<readonly number[]> {
    return (await this.#ids(`${tenantToken(tenant)}.*`)).get(tenant) ?? [];
  }

  async #ids(filter: string): Promise<Map<TenantId, number[]>> {
    const found = new Map<TenantId, number[]>();
    for (const { tenant, id } of await this.names(filter)) {
      const ids = found.get(tenant) ?? [];
      found.set(tenant, ids);
      if (id !== 'head') ids.push(id);
    }
    for (const ids of found.values()) ids.sort((a, b) => a - b);
    return found;
  }

  /**
   * From the subjects the stream has: who reads its messages instead waits for those that are erased before they come.
   * @throws DroverError `bus.unreachable`
   */
  async names(filter = '>'): Promise<RecordName[]> {
    const wanted = { subjects_filter: `${PREFIX}${filter}` };
    const info = await this.#ask(() => this.#bus.jsm.streams.info(STREAM, { ...wanted }));
    const subjects = Object.keys(info?.state.subjects ?? {});
    return subjects.flatMap((subject) => parseName(subject.slice(PREFIX.length)) ?? []);
  }

  /**
   * Removes every message of the key, the server overwriting its bytes with random ones. A deletion mark would only hide it: with a mark the message before
   * leaves the stream, but its bytes stay on the disk until their room is used again.
   * @throws DroverError `bus.unreachable`; `bus.version` when the bucket was made by hand and refuses
   */
  async erase(tenant: TenantId, id: number): Promise<void> {
    const subject = `${PREFIX}${keyName(tenant, id)}`;
    for (;;) {
      const found = await this.#ask(() =>
        this.#bus.jsm.streams.getMessage(STREAM, { last_by_subj: subject }),
      );
      if (found === null) return;
      await this.#ask(() => this.#bus.jsm.streams.deleteMessage(STREAM, found.seq, true));
    }
  }

  async #ask<T>(send: () => Promise<T>): Promise<T | null> {
    try {
      return await this.#bus.read(send);
    } catch (error) {
      if (error instanceof DroverError) throw error;
      const text = describeError(error);
      if (/(no message|message not|sequence \d+ not) found/i.test(text)) return null;
      const denied = /delete not permitted/i.test(text);
      throw new DroverError(
        denied ? 'bus.version' : 'bus.unreachable',
        `bucket ${BUCKET} does not do what is needed: ${text}`,
        {
          cause: error,
          ...(denied ? { hint: `stream ${STREAM} was made with deny_delete; Drover makes it without` } : {}),
        },
      );
    }
  }
}
