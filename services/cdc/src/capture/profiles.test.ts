/** Whom is learnt of, when a profile is used, and when it is published again or given up. */
import { BlockWriter, decodeWithProfile, type KeyedScope, learn, type Profile } from '@drover/block';
import { type Lsn, type TenantId, tenantId } from '@drover/core';
import { beforeEach, describe, expect, it } from 'vitest';
import { Profiles, type ProfilesOptions } from './profiles.ts';
import type { Learner } from './school.ts';
import { ITEMS, tuple } from './source-script.testing.ts';

let nowMs = 0;
let flowing = true;
let learner: HandLearner;
let profiles: Profiles;
let number = 0;
/** Bytes of profiles handed to the publisher. */
let held = 0;

/** Answers when it is told to. */
class HandLearner implements Learner {
  readonly asked: { tenant: string; messages: readonly Buffer[] }[] = [];
  #answer: (() => Promise<void>) | null = null;

  learn(messages: readonly Buffer[], tenant: string): Promise<{ bytes: Buffer; id: string } | null> {
    this.asked.push({ tenant, messages });
    const { promise, resolve, reject } = Promise.withResolvers<Profile | null>();
    this.#answer = async () => {
      if (tenant === 'fails') reject(new Error('no memory'));
      else resolve(tenant === 'nothing' ? null : learn(messages, { tenant, tables: 'app' }));
      await new Promise(setImmediate);
    };
    return promise;
  }

  async answer(): Promise<void> {
    await this.#answer?.();
  }
}

const scopeOf = (name: string, key: string | null = null): KeyedScope => ({
  tenant: tenantId(name),
  token: name,
  partition: 0,
  key,
});

/** One small transaction, unlike the one before it. */
function body(note = 'an order of some customer'): Buffer {
  const n = ++number;
  const writer = new BlockWriter();
  writer.begin(BigInt(1000 * n) as Lsn, BigInt(5_000_000 * n), n);
  const row = tuple(`${n}`, 'acme', `${note} ${n}`);
  writer.insert(writer.relation(ITEMS), row, 0, row.length);
  const header = { source: 'east', database: 'app', tenant: 'acme' as TenantId, systemId: '7' };
  let raw = Buffer.alloc(0);
  const pack = (bytes: Buffer) => {
    raw = Buffer.from(bytes);
    return { body: raw, encoding: 'rows' };
  };
  const packer = { sealer: null, pack };
  const place = {
    epoch: 1,
    generation: 1,
    firstLsn: 1n,
    lastLsn: 1n,
    part: 0,
    complete: true,
    commitTimeUs: 1n,
  };
  writer.finish({ ...header, ...place } as never, packer as never);
  return raw;
}

/** As a packer does with it; whether a profile took it. */
function publish(scope: KeyedScope, raw = body(), storedBytes = raw.length): boolean {
  const found = profiles.encode(scope, raw);
  if (found === null) profiles.saw(scope, raw, storedBytes);
  return found !== null;
}

function publishMany(scope: KeyedScope, count: number): void {
  for (let i = 0; i < count; i++) publish(scope);
}

/** Until it is sampled whole: 128 are seen before, 256 are learnt of. */
const ENOUGH = 127 + 256;

async function learntOf(scope: KeyedScope, seq = 10, afterMs = 1_000_000): Promise<void> {
  nowMs += afterMs;
  publishMany(scope, ENOUGH);
  await learner.answer();
  for (const { profile, onSeq } of profiles.lessons(scope.partition)) {
    held += profile.bytes.length;
    onSeq(seq);
  }
}

beforeEach(() => {
  nowMs = 0;
  flowing = true;
  number = 0;
  held = 0;
  make();
});

function make(options: Partial<ProfilesOptions> = {}): void {
  learner = new HandLearner();
  profiles = new Profiles({ learner, nowMs: () => nowMs, maxAgeMs: 0, flows: () => flowing, ...options });
}

describe('a tenant', () => {
  const acme = scopeOf('acme');

  it('has its profile once that is learnt, and handed to the publisher', async () => {
    publishMany(acme, ENOUGH - 1);
    expect(learner.asked).toEqual([]);
    publish(acme);
    expect(learner.asked.map(({ tenant, messages }) => [tenant, messages.length])).toEqual([['acme', 256]]);
    expect(profiles.lessons(0)).toEqual([]);
    await learner.answer();
    expect(publish(acme)).toBe(false);
    expect(profiles.lessons(1)).toEqual([]);
    const [lesson] = profiles.lessons(0);
    expect(lesson?.scope).toEqual(acme);
    expect(publish(acme)).toBe(false);
    lesson?.onSeq(77);
    const raw = body();
    const found = profiles.encode(acme, raw);
    expect(found?.profile).toEqual({ seq: 77, check: lesson?.profile.check });
    expect(
      found === null ? null : decodeWithProfile(found.body, lesson?.profile as Profile, raw.length),
    ).toEqual(raw);
    expect(found?.body.length).toBeLessThan(raw.length / 4);
    expect([profiles.active, profiles.counts]).toEqual([1, { blocks: 1, learnt: 1, faults: 0 }]);
    expect(profiles.lessons(0)).toEqual([]);
  });

  it('keeps to itself what was seen of it, whatever the writer does with its memory', () => {
    const raw = body();
    const copy = Buffer.from(raw);
    for (let i = 0; i < ENOUGH; i++) profiles.saw(acme, raw, raw.length);
    raw.fill(0);
    expect(learner.asked[0]?.messages[0]).toEqual(copy);
  });

  it('that is large in what it writes is learnt of sooner', () => {
    const large = Buffer.alloc(8000, 1);
    for (let i = 0; i < 127 + 33; i++) profiles.saw(acme, large, 8000);
    expect(learner.asked[0]?.messages.length).toBe(33);
  });

  it.each([
    ['nothing can be learnt of', 'nothing', 1],
    ['is learnt of in vain, by a fault', 'fails', 1],
  ])('that %s is left alone for long', async (_, name) => {
    await learntOf(scopeOf(name));
    nowMs += 1_000_000;
    publishMany(scopeOf(name), 16 * 128 + 250);
    expect([learner.asked.length, profiles.active]).toEqual([1, 0]);
    publishMany(scopeOf(name), 10);
    expect(learner.asked.length).toBe(2);
    expect(profiles.counts.faults).toBe(name === 'fails' ? 1 : 0);
  });

  it('whose messages are as small without one has none', async () => {
    for (let i = 0; i < ENOUGH; i++) profiles.saw(acme, body(), 8);
    await learner.answer();
    expect([learner.asked.length, profiles.active, profiles.lessons(0)]).toEqual([1, 0, []]);
  });

  it('is stored otherwise beyond a budget of bytes in a second', async () => {
    await learntOf(acme);
    const raw = body();
    const more = (): number => {
      let count = 0;
      while (publish(acme, raw)) count++;
      return count;
    };
    nowMs += 5000;
    const inASecond = Math.floor((1024 * 1024) / raw.length);
    expect(more()).toBe(inASecond);
    nowMs += 100;
    expect(Math.abs(more() - inASecond / 10)).toBeLessThanOrEqual(1);
  });

  it('is not stored by it while what is published has to wait', async () => {
    await learntOf(acme);
    flowing = false;
    expect(publish(acme)).toBe(false);
    flowing = true;
    expect(publish(acme)).toBe(true);
  });

  it('whose messages change is learnt of anew, later each time', async () => {
    await learntOf(acme);
    expect(publish(acme)).toBe(true);
    const other = () =>
      publish(acme, body(`{"unlike": "${Buffer.alloc(90, `${number}`).toString('base64')}"}`));
    for (let i = 0; i < 200 && profiles.active === 1; i++) other();
    expect(profiles.active).toBe(0);
    nowMs += 1_000_000;
    for (let i = 0; i < 4 * 128 - 2; i++) other();
    expect(learner.asked.length).toBe(1);
    for (let i = 0; i < 258; i++) other();
    expect(learner.asked.length).toBe(2);
    await learner.answer();
    for (const lesson of profiles.lessons(0)) lesson.onSeq(99);
    expect(other()).toBe(true);
  });

  it('has nothing of what was learnt or seen under another key', async () => {
    await learntOf(acme);
    expect(publish(acme)).toBe(true);
    const sealed = scopeOf('acme', '0000000111111111');
    expect(publish(sealed)).toBe(false);
    expect(profiles.active).toBe(0);
    publishMany(sealed, 200);
    nowMs += 1_000_000;
    const other = scopeOf('acme', '0000000222222222');
    publishMany(other, 255);
    expect(learner.asked.length).toBe(1);
    publish(other);
    expect(learner.asked.length).toBe(2);
    expect(learner.asked[1]?.messages[0]?.includes(`customer ${number - 255}`)).toBe(true);
    await learner.answer();
    expect(profiles.lessons(0).map(({ scope }) => scope.key)).toEqual([other.key]);
  });

  it('whose key changes before its profile is published has none', async () => {
    publishMany(acme, ENOUGH);
    await learner.answer();
    expect(publish(scopeOf('acme', '0000000111111111'))).toBe(false);
    expect([profiles.active, profiles.lessons(0)]).toEqual([0, []]);
  });

  it('is learnt of once, however much it writes meanwhile', async () => {
    publishMany(acme, ENOUGH);
    publishMany(acme, 3 * ENOUGH);
    await learner.answer();
    nowMs += 1_000_000;
    for (const { onSeq } of profiles.lessons(0)) onSeq(10);
    flowing = false;
    publishMany(acme, 3 * ENOUGH);
    expect([learner.asked.length, profiles.active]).toEqual([1, 1]);
  });

  it('whose profile has been of use for long is learnt of anew as soon as the first time', async () => {
    await learntOf(acme);
    const other = () => publish(acme, body(Buffer.alloc(90, `${number}`).toString('base64')));
    while (profiles.active === 1) other(); // four times as late
    nowMs += 1_000_000;
    for (let i = 0; i < 4 * 128 + 255; i++) publish(acme);
    await learner.answer();
    for (const { onSeq } of profiles.lessons(0)) onSeq(10);
    for (let i = 0; i < 2000; i++) {
      nowMs += 10;
      expect(publish(acme)).toBe(true);
    }
    while (profiles.active === 1) {
      nowMs += 10;
      other();
    }
    nowMs += 1_000_000;
    const before = learner.asked.length;
    for (let i = 0; i < 4 * 128 + 256; i++) other();
    expect(learner.asked.length).toBe(before + 1);
  });

  it('whose profile is never published is without one, and learnt of again much later', async () => {
    publishMany(acme, ENOUGH);
    await learner.answer();
    profiles.lessons(0); // its key could not be had, say
    publish(acme);
    expect(profiles.active).toBe(1);
    nowMs += 61_000;
    publish(acme);
    expect(profiles.active).toBe(0);
  });

  it('whose profile would stand too far ahead to be named does not use it', async () => {
    await learntOf(acme, 2 ** 48);
    expect(publish(acme)).toBe(false);
  });
});

describe('a profile', () => {
  const acme = scopeOf('acme');

  it('is published again in time, and named where it stood until then', async () => {
    make({ maxAgeMs: 8000 });
    await learntOf(acme, 5);
    nowMs += 999;
    publish(acme);
    expect(profiles.lessons(0)).toEqual([]);
    nowMs += 1;
    expect(profiles.encode(acme, body())?.profile.seq).toBe(5);
    const again = profiles.lessons(0);
    expect(again.length).toBe(1);
    again[0]?.onSeq(50);
    expect(profiles.encode(acme, body())?.profile.seq).toBe(50);
    expect(profiles.lessons(0)).toEqual([]);
  });

  it('is not named once it has stood for long, until it is published again', async () => {
    make({ maxAgeMs: 8000 });
    await learntOf(acme, 5);
    nowMs += 100 * 8000; // its tenant was idle, and it has left the stream
    expect(publish(acme)).toBe(false);
    for (const { onSeq } of profiles.lessons(0)) onSeq(50);
    expect(profiles.encode(acme, body())?.profile.seq).toBe(50);
    nowMs += 2001;
    expect(publish(acme)).toBe(false);
    expect(publish(acme)).toBe(false);
  });

  it('is never published again where messages stay', async () => {
    await learntOf(acme);
    nowMs += 1e12;
    publish(acme);
    expect(profiles.lessons(0)).toEqual([]);
  });

  it('that nobody uses is not published again', async () => {
    make({ maxAgeMs: 8000 });
    await learntOf(acme);
    nowMs += 100_000;
    expect(profiles.lessons(0)).toEqual([]);
  });
});

describe('of many tenants', () => {
  it('few are sampled at a time; who stops writing makes room', () => {
    for (let i = 0; i < 5; i++) publishMany(scopeOf(`t${i}`), 128 + 100);
    publishMany(scopeOf('t4'), ENOUGH);
    expect(learner.asked).toEqual([]);
    nowMs += 61_000;
    publishMany(scopeOf('t4'), ENOUGH);
    expect(learner.asked.map(({ tenant }) => tenant)).toEqual(['t4']);
  });

  it('one is learnt of at a time, then there is a rest twenty times as long', async () => {
    const [a, b] = [scopeOf('a'), scopeOf('b')];
    publishMany(a, ENOUGH);
    publishMany(b, ENOUGH);
    expect(learner.asked.length).toBe(1);
    nowMs = 100;
    await learner.answer();
    publishMany(b, 10);
    expect(learner.asked.length).toBe(1);
    nowMs = 2099;
    publish(b);
    expect(learner.asked.length).toBe(1);
    nowMs = 2100;
    publish(b);
    expect(learner.asked.map(({ tenant, messages }) => [tenant, messages.length])).toEqual([
      ['a', 256],
      ['b', 256],
    ]);
    const newest = learner.asked[1]?.messages.at(-1);
    expect(newest?.includes(`customer ${number}`)).toBe(true);
  });

  it('those that were seen long ago are forgotten, and not those that are learnt of', async () => {
    publishMany(scopeOf('acme'), ENOUGH);
    for (let i = 0; i < 20_000; i++) profiles.saw(scopeOf(`t${i}`), Buffer.alloc(10), 10);
    await learner.answer();
    expect(profiles.active).toBe(1);
    publishMany(scopeOf('late'), ENOUGH);
    nowMs += 1_000_000;
    publish(scopeOf('late'));
    expect(learner.asked.length).toBe(2);
  });

  it('profiles take no more room than is set; who has been idle leaves', async () => {
    const bytesMax = 100_000;
    make({ bytesMax });
    let tenants = 0;
    const next = async (): Promise<boolean> => {
      const before = learner.asked.length;
      await learntOf(scopeOf(`t${tenants++}`), tenants, 1000);
      return learner.asked.length > before;
    };
    while (await next());
    expect(tenants).toBeGreaterThan(4);
    expect(held).toBeLessThanOrEqual(bytesMax);
    nowMs += 1_000_000;
    expect(await next()).toBe(true);
    expect(profiles.active).toBe(1);
  });
});
