import { createSecretKey, randomBytes } from 'node:crypto';
import { type DataKey, KnownRelations, Packer, Sealer, type StreamedHeader } from '@drover/block';
import { DroverError, type TenantId } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { toEntry } from './entry.ts';
import { ACME, messageOf } from './message.testing.ts';
import { type FetchedKeys, KeyFetcher } from './unseal.ts';

const KEY: DataKey = { id: 1, secret: createSecretKey(randomBytes(32)) };

/** A ring that knows what was fetched. */
class Fetched implements FetchedKeys {
  readonly known = new Set<number>();
  loads = 0;
  isThere = true;

  find(_: TenantId, id: number): DataKey | null {
    return this.known.has(id) ? KEY : null;
  }

  lacks(_: TenantId, id: number): boolean {
    return !this.known.has(id);
  }

  async load(_: TenantId, id: number): Promise<void> {
    this.loads++;
    if (this.isThere) this.known.add(id);
  }
}

let keys: Fetched;
let nowMs = 0;
let fetcher: KeyFetcher;

beforeEach(() => {
  keys = new Fetched();
  nowMs = 5000;
  fetcher = new KeyFetcher(keys, () => nowMs);
});

const reading = () => ({
  unsealing: fetcher,
  profiling: { known: { find: () => null } },
  relations: new KnownRelations(),
  rules: null,
});

const message = (sealer: Sealer | null, streamed?: StreamedHeader) =>
  messageOf(['hidden'], { streamed, packer: new Packer('none', sealer) });
const sealed = (streamed?: StreamedHeader) => message(new Sealer({ current: () => KEY }), streamed);

describe('a message', () => {
  it('that is not sealed waits for nothing', () => {
    expect(fetcher.ready(message(null).data)).toBeNull();
    expect(fetcher.ready(Buffer.from('no block'))).toBeNull();
    expect(keys.loads).toBe(0);
  });

  it('that is sealed is opened once its key was fetched, which is once', async () => {
    const { data, ...rest } = sealed();
    await fetcher.ready(data);
    const entry = toEntry({ ...rest, data }, 'app', reading());
    expect(entry.block?.transactions[0]?.messages[0]?.content).toBe('hidden');
    expect([entry.error, fetcher.ready(data), keys.loads]).toEqual([null, null, 1]);
  });

  it('whose key is not to be had becomes an entry that says whose it is, where it belongs, and why', async () => {
    keys.isThere = false;
    const one = sealed();
    await fetcher.ready(one.data);
    const entry = toEntry(one, 'app', reading());
    expect(entry).toMatchObject({ kind: 'block', tenant: ACME, from: 0, to: 0, seq: 7, early: null });
    expect(entry.block?.header).toMatchObject({ tenant: ACME, lastLsn: 9n, transactions: 1 });
    expect(entry.error).toMatchObject({ code: 'block.sealed', facts: { keyId: 1 } });
  });

  it('of a streamed transaction keeps what its header says of that', () => {
    const streamed = {
      kind: 'commit',
      attempt: 'a',
      xid: 5,
      fromSeq: 1,
      parts: 2,
      rollbacks: false,
    } as const;
    const entry = toEntry(sealed(streamed), 'app', reading());
    expect([entry.error?.code, entry.early?.streamed]).toEqual(['block.sealed', streamed]);
  });

  it('of another database needs no key', () => {
    expect(toEntry(sealed(), 'other', reading()).kind).toBe('elsewhere');
  });

  it('that is damaged is damaged, sealed or not', () => {
    keys.known.add(1);
    const one = sealed();
    one.data[one.data.length - 1]! ^= 1;
    expect(toEntry(one, 'app', reading())).toMatchObject({
      kind: 'damaged',
      error: { code: 'block.corrupt' },
    });
  });
});

describe('a key that is not there', () => {
  it('is asked for again, but not for each block', async () => {
    keys.isThere = false;
    const { data } = sealed();
    for (let i = 0; i < 5; i++) await fetcher.ready(data);
    expect(keys.loads).toBe(1);
    nowMs += 1500;
    keys.isThere = true;
    await fetcher.ready(data);
    expect([keys.loads, keys.known.has(1)]).toEqual([2, true]);
  });

  it('is no reason to say so when NATS could not be asked', async () => {
    keys.load = () => Promise.reject(new DroverError('bus.unreachable', 'no answer'));
    const { data } = sealed();
    await expect(fetcher.ready(data)).rejects.toThrow('no answer');
    await expect(fetcher.ready(data)).rejects.toThrow('no answer');
  });
});
