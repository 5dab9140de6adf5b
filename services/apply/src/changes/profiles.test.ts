/** Profiles as the pipelines fetch them: once, whoever asks, and what happens when one is not there. */

import { createSecretKey, randomBytes } from 'node:crypto';
import {
  BlockWriter,
  type DataKey,
  encodeWithProfile,
  KnownRelations,
  keyOfBlock,
  learn,
  Opener,
  Packer,
  type Profile,
  type Scope,
  Sealer,
  writeProfileBlock,
} from '@drover/block';
import { makeBody } from '@drover/block/columnar/test-bodies.ts';
import { META } from '@drover/block/seal/seal.testing.ts';
import { DroverError, LSN_ZERO, type TenantId } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { type Entry, toEntry } from './entry.ts';
import { ProfileCache, ProfileFetcher } from './profiles.ts';
import type { Unsealing } from './unseal.ts';

const KEY: DataKey = { id: 1, secret: createSecretKey(randomBytes(32)) };
const sealer = (): Sealer => new Sealer({ current: () => KEY });
const bodies = Array.from({ length: 80 }, (_, seed) =>
  makeBody({ seed, rows: 2, tables: 1, columns: 6, schemaSeed: 3 }),
);
const of = (tenant: TenantId, count = 80): Profile => {
  const profile = learn(bodies.slice(0, count), { tenant, tables: 'app' });
  if (profile === null) throw new Error('nothing was learnt');
  return profile;
};
/** What blocks and messages that are sealed here are sealed with. */
const SEALED = keyOfBlock(new BlockWriter().finish(META, new Packer('none', sealer())));
const PROFILE = of(META.tenant);
const OTHER = of(META.tenant, 40);

let stream: Map<number, Buffer>;
let reads: number[];
let down: boolean;
let hasKey: boolean;
let asked: number;
let nowMs: number;
let cache: ProfileCache;
let fetcher: ProfileFetcher;

const unsealing: Unsealing = {
  opener: new Opener({ find: () => (hasKey ? KEY : null) }),
  ready: () => {
    asked++;
    return null;
  },
};

beforeEach(() => {
  stream = new Map([[5, message(PROFILE)]]);
  reads = [];
  down = false;
  hasKey = true;
  asked = 0;
  nowMs = 5000;
  cache = new ProfileCache();
  fetcher = fetcherOf();
});

function fetcherOf(partition = 0, database = 'app'): ProfileFetcher {
  return new ProfileFetcher({
    cache,
    partition,
    database,
    read: async (seq) => {
      reads.push(seq);
      if (down) throw new DroverError('bus.unreachable', 'no');
      return stream.get(seq) ?? null;
    },
    unsealing,
    nowMs: () => nowMs,
  });
}

/** The message of a profile. */
function message(profile: Profile, seals: Sealer | null = null): Buffer {
  const key = seals === null ? null : SEALED;
  return writeProfileBlock(META, { profile, key }, new Packer('auto', seals)) as Buffer;
}

/** A block whose body needs `profile`, said to be at `seq`. */
function needing(seq: number, profile = PROFILE, seals: Sealer | null = null): Buffer {
  const writer = new BlockWriter();
  const note = Buffer.concat([Buffer.from('00017400000258', 'hex'), Buffer.alloc(600, 'abc')]);
  writer.begin(META.lastLsn, 5n, 1);
  const relation = { oid: 1, schema: 'public', name: 'things', identity: 'd' as const };
  const columns = [{ name: 'a', typeOid: 25, typmod: -1, key: true }];
  writer.insert(writer.relation({ ...relation, columns }), note, 0, note.length);
  const scope: Scope = { tenant: META.tenant, token: META.tenant, partition: 0 };
  const profiles = {
    encode: (_: Scope, raw: Buffer) => ({
      body: encodeWithProfile(raw, profile) as Buffer,
      profile: { seq, check: profile.check },
    }),
    saw: () => undefined,
  };
  return writer.finish(META, new Packer('auto', seals, profiles), scope);
}

async function entryOf(data: Buffer, from = fetcher): Promise<Entry> {
  await from.ready(data);
  const message = { seq: 9, firstSeq: 9, token: META.tenant, data, timeMs: 1, pending: 0 };
  return toEntry({ ...message, traceparent: undefined, safeLsn: LSN_ZERO }, 'app', {
    unsealing,
    profiling: from,
    relations: new KnownRelations(),
    rules: null,
  });
}

const rowsOf = ({ block, error }: Entry): unknown => error?.code ?? block?.count;

describe('a block', () => {
  it('that needs a profile is read once that was fetched, which is once', async () => {
    const [a, b] = await Promise.all([entryOf(needing(5)), entryOf(needing(5))]);
    expect([rowsOf(a), rowsOf(b), reads]).toEqual([1, 1, [5]]);
    expect(fetcher.ready(needing(5))).toBeNull();
  });

  it('that needs none, or is none, waits for nothing', () => {
    const writer = new BlockWriter();
    for (const data of [writer.finish(META), Buffer.from('no block')]) expect(fetcher.ready(data)).toBeNull();
    const damaged = needing(7);
    damaged[damaged.length - 1] = (damaged.at(-1) as number) ^ 1;
    expect(fetcher.ready(damaged)).toBeNull();
    expect(fetcherOf(0, 'other').ready(needing(5))).toBeNull();
    expect(reads).toEqual([]);
  });

  it.each([
    ['has left the stream', 6, PROFILE],
    ['is another one there', 5, OTHER],
  ])('whose profile %s parks its tenant and says so', async (_, seq, profile) => {
    const entry = await entryOf(needing(seq, profile));
    expect(entry).toMatchObject({
      kind: 'block',
      tenant: META.tenant,
      to: 0,
      error: { code: 'block.profile' },
    });
    expect(entry.block?.header.lastLsn).toBe(META.lastLsn);
  });

  it('whose profile is of another tenant parks its tenant', async () => {
    const bolt = of('bolt' as TenantId);
    stream.set(6, message(bolt));
    expect(rowsOf(await entryOf(needing(6, bolt)))).toBe('block.profile');
  });

  it('whose profile is damaged parks its tenant with that reason', async () => {
    stream.set(5, Buffer.from('no block'));
    expect(rowsOf(await entryOf(needing(5)))).toBe('block.corrupt');
  });

  it('asks again after a while, and is read when it is there', async () => {
    const profile = stream.get(5) as Buffer;
    stream.delete(5);
    expect(rowsOf(await entryOf(needing(5)))).toBe('block.profile');
    stream.set(5, profile);
    nowMs += 999;
    expect(rowsOf(await entryOf(needing(5)))).toBe('block.profile');
    nowMs += 1;
    expect(rowsOf(await entryOf(needing(5)))).toBe(1);
    expect(reads).toEqual([5, 5]);
  });

  it('of a sealed tenant has its key fetched for both', async () => {
    stream.set(5, message(PROFILE, sealer()));
    expect(rowsOf(await entryOf(needing(5, PROFILE, sealer())))).toBe(1);
    expect(asked).toBe(1);
    hasKey = false;
    const [fresh, unread] = [fetcherOf(1), needing(5, PROFILE, sealer())];
    expect(rowsOf(await entryOf(unread, fresh))).toBe('block.sealed');
    hasKey = true;
    nowMs += 1000;
    expect(rowsOf(await entryOf(unread, fresh))).toBe(1);
  });

  it.each([
    ['sealed, and its profile is not', null, sealer()],
    ['not sealed, and its profile is', sealer(), null],
  ])('that is %s parks its tenant', async (_, ofProfile, ofBlock) => {
    stream.set(5, message(PROFILE, ofProfile));
    expect(rowsOf(await entryOf(needing(5, PROFILE, ofBlock)))).toBe('block.profile');
  });

  it('waits while the bus is away: that is nobody’s loss', async () => {
    down = true;
    await expect(fetcher.ready(needing(5))).rejects.toThrow(
      expect.objectContaining({ code: 'bus.unreachable' }),
    );
    down = false;
    expect(rowsOf(await entryOf(needing(5)))).toBe(1);
  });
});

describe('what is kept', () => {
  it('is kept by partition: the same sequence is another message elsewhere', async () => {
    await entryOf(needing(5));
    await entryOf(needing(5), fetcherOf(1));
    expect(reads).toEqual([5, 5]);
  });

  it('takes no more room than is set; what was used last stays', () => {
    const small = new ProfileCache(2.5 * PROFILE.bytes.length);
    const one = { profile: PROFILE, key: null };
    small.put('a', one);
    small.put('b', one);
    small.get('a');
    small.put('c', one);
    expect(['a', 'b', 'c'].map((name) => small.get(name) !== null)).toEqual([true, false, true]);
    const none = new ProfileCache(1);
    none.put('a', one);
    expect(none.get('a')).toBe(one);
    none.put('b', one);
    expect([none.get('a'), none.get('b')]).toEqual([null, one]);
  });
});
