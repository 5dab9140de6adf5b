/** Blocks that need a profile, and the message that brings it. */
import type { TenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { BlockWriter } from './block-writer.ts';
import { learn, type Profile } from './columnar/profile.ts';
import { makeBody } from './columnar/test-bodies.ts';
import { assembleBlock } from './header.ts';
import {
  type BlockVisitor,
  encodeWithProfile,
  type KeyedScope,
  type KnownProfiles,
  keyOfBlock,
  Opener,
  type ProfileName,
  peekProfile,
  readHeader,
  readProfileBlock,
  type Scope,
  sealedUnder,
  walkBlock,
  writeProfileBlock,
} from './index.ts';
import { Packer } from './packing.ts';
import { ACME, Keys, META, sealing, withChecksum } from './seal/seal.testing.ts';

const bodies = Array.from({ length: 100 }, (_, seed) =>
  makeBody({ seed, rows: 2, tables: 1, columns: 6, schemaSeed: 3 }),
);
const of = (tenant: string): Profile => {
  const profile = learn(bodies, { tenant, tables: 'app' });
  if (profile === null) throw new Error('nothing was learnt');
  return profile;
};
const PROFILE = of(ACME);
const NAME: ProfileName = { seq: 2 ** 40 + 7, check: PROFILE.check };
const HEADER = { ...META, transactions: 2, changes: 2 };

/** Records as they went in: what a body is. */
class Bytes implements BlockVisitor {
  bytes: Buffer | null = null;
  relation(): void {}
  begin(): void {}
  insert(_: number, bytes: Buffer): void {
    this.bytes = bytes;
  }
  update(_: number, __: unknown, bytes: Buffer): void {
    this.bytes = bytes;
  }
  delete(_: number, __: unknown, bytes: Buffer): void {
    this.bytes = bytes;
  }
  truncate(): void {}
  message(): void {}
}

const counts = (raw: Buffer): { transactions: number; changes: number } => {
  let transactions = 0;
  let changes = 0;
  const count = { relation() {}, message() {}, begin: () => transactions++, truncate: () => changes++ };
  const rows = { insert: () => changes++, update: () => changes++, delete: () => changes++ };
  const block = assembleBlock(
    { ...HEADER, transactions: 0, changes: 0 },
    { body: raw, encoding: 'rows' },
    raw.length,
  );
  try {
    walkBlock(block, { ...count, ...rows } as unknown as BlockVisitor);
  } catch {
    // its counts differ from those made up
  }
  return { transactions, changes };
};

const RAW = bodies.find(
  (raw) => encodeWithProfile(raw, PROFILE) !== null && counts(raw).changes > 0,
) as Buffer;

function block(keys?: Keys): Buffer {
  const seal = keys === undefined ? null : (sealing(keys).sealer?.next(ACME) ?? null);
  const body = encodeWithProfile(RAW, PROFILE) as Buffer;
  return assembleBlock(
    { ...HEADER, ...counts(RAW) },
    { body, encoding: 'profile', profile: NAME },
    RAW.length,
    seal,
  );
}

function bodyOf(data: Buffer, profiles?: KnownProfiles, keys = new Keys()): Buffer | null {
  const found = new Bytes();
  walkBlock(data, found, { opener: new Opener(keys), ...(profiles === undefined ? {} : { profiles }) });
  return found.bytes;
}

const knows = (profile: Profile | null): KnownProfiles => ({ find: () => profile });

describe('a block by a profile', () => {
  it('names it in its header, and comes back with it, sealed or not', () => {
    const keys = new Keys().add(ACME);
    for (const data of [block(), block(keys)]) {
      expect(peekProfile(data)).toEqual(NAME);
      expect(readHeader(data)).toMatchObject({ ...META, ...counts(RAW) });
      const asked: unknown[] = [];
      const find = (tenant: TenantId, name: ProfileName, key: string | null): Profile => {
        asked.push([tenant, name, key]);
        return PROFILE;
      };
      expect(bodyOf(data, { find }, keys)?.equals(RAW)).toBe(true);
      expect(asked).toEqual([[ACME, NAME, keyOfBlock(data)]]);
    }
    expect([sealedUnder(block()), sealedUnder(block(keys))?.keyId]).toEqual([null, 1]);
  });

  it.each([
    ['without profiles', undefined],
    ['when it is not there', knows(null)],
    ['with one of another tenant', knows(of('bolt'))],
    ['with another one of the tenant', knows(learn(bodies.slice(0, 40), { tenant: ACME, tables: 'app' }))],
  ])('is refused %s', (_, profiles) => {
    expect(() => bodyOf(block(), profiles)).toThrow(
      expect.objectContaining({ code: 'block.profile', facts: { tenant: ACME, seq: NAME.seq } }),
    );
  });

  it('is refused when it names none, or is of a transaction in progress', () => {
    const plain = assembleBlock({ ...HEADER, ...counts(RAW) }, { body: RAW, encoding: 'rows' }, RAW.length);
    for (const flags of [64, 64 | 8, 64 | 1, 64 | 4]) {
      const bad = Buffer.from(plain);
      bad[5] = (bad[5] as number) | flags;
      expect(() => bodyOf(withChecksum(bad), knows(PROFILE))).toThrow(
        expect.objectContaining({ code: 'block.corrupt' }),
      );
    }
    const streamed = { kind: 'session', attempt: 'a1b2c3d4e5f6' } as const;
    const body = { body: RAW, encoding: 'profile', profile: NAME } as const;
    expect(() => assembleBlock({ ...HEADER, streamed }, body, RAW.length)).toThrow('committed');
  });

  it('is damaged or whole at any cut and any changed byte, never a crash', () => {
    const data = block();
    for (let n = 0; n < data.length; n++) {
      peekProfile(data.subarray(0, n));
      expect(() => bodyOf(data.subarray(0, n), knows(PROFILE))).toThrow(
        expect.objectContaining({ code: 'block.corrupt' }),
      );
      const changed = Buffer.from(data);
      changed[n] = (changed[n] as number) ^ 0x41;
      try {
        bodyOf(n >= 12 ? withChecksum(changed) : changed, knows(PROFILE));
      } catch (error) {
        expect(String((error as { code?: string }).code)).toMatch(/^block\./);
      }
    }
  });

  it('is none for whoever asks without looking', () => {
    const others = [Buffer.from('no block'), Buffer.alloc(0), Buffer.alloc(200)];
    const plain = assembleBlock({ ...HEADER, ...counts(RAW) }, { body: RAW, encoding: 'rows' }, RAW.length);
    expect([...others, plain].map((data) => peekProfile(data))).toEqual([null, null, null, null]);
  });
});

describe('the message of a profile', () => {
  it('brings it, sealed as its tenant is', () => {
    const keys = new Keys().add(ACME);
    for (const packer of [new Packer('auto'), sealing(keys, 'auto')]) {
      const key = packer.sealer === null ? null : keyOfBlock(block(keys));
      const data = writeProfileBlock(META, { profile: PROFILE, key }, packer) as Buffer;
      expect(keyOfBlock(data)).toBe(key);
      expect(readProfileBlock(data, new Opener(keys)).id).toBe(PROFILE.id);
    }
    const key = keyOfBlock(block(keys));
    const data = writeProfileBlock(META, { profile: PROFILE, key }, sealing(keys)) as Buffer;
    expect(() => readProfileBlock(data, new Opener(new Keys()))).toThrow(
      expect.objectContaining({ code: 'block.sealed' }),
    );
  });

  it('is not written under another key than what it was learnt under', () => {
    const [keys, others] = [new Keys().add(ACME), new Keys().add(ACME)];
    const [key, other] = [keyOfBlock(block(keys)), keyOfBlock(block(others))];
    expect(key).toMatch(/^00000001[0-9a-f]{8}$/);
    expect(other).not.toBe(key);
    for (const [learntUnder, packer] of [
      [null, sealing(keys)],
      [other, sealing(keys)],
      [key, new Packer('auto')],
    ] as const)
      expect(writeProfileBlock(META, { profile: PROFILE, key: learntUnder }, packer)).toBeNull();
    keys.add(ACME);
    expect(writeProfileBlock(META, { profile: PROFILE, key }, sealing(keys))).toBeNull();
  });

  it('is damaged when it holds none, or what is none', () => {
    const writer = new BlockWriter();
    const opener = new Opener(new Keys());
    writer.begin(META.lastLsn, 1n, 1);
    expect(() => readProfileBlock(writer.finish(META), opener)).toThrow(
      expect.objectContaining({ code: 'block.corrupt' }),
    );
    writer.message(META.lastLsn, 'drover.profile', Buffer.from('nonsense'));
    expect(() => readProfileBlock(writer.finish(META), opener)).toThrow(
      expect.objectContaining({ code: 'block.corrupt' }),
    );
  });
});

describe('what is packed by a profile', () => {
  const scope: KeyedScope = { tenant: ACME, token: ACME, partition: 1, key: null };
  const small = Buffer.alloc(600, 'abc');

  function packed(
    raw: Buffer,
    input: { compression?: 'auto' | 'zstd'; of?: KeyedScope | null; hurried?: boolean } = {},
  ) {
    const asked: string[] = [];
    const profiles = {
      encode: (_: Scope, body: Buffer) => {
        asked.push('encode');
        return body.length > 1000 ? null : { body: Buffer.from('short'), profile: NAME };
      },
      saw: (_: Scope, body: Buffer, bytes: number) =>
        asked.push(`saw ${body.length} as ${bytes < body.length}`),
    };
    const packer = new Packer(input.compression ?? 'auto', null, profiles);
    packer.hurried = input.hurried ?? false;
    return [packer.pack(raw, input.of === undefined ? scope : input.of).encoding, ...asked];
  }

  it('is small, of a tenant, in no hurry, and with auto alone', () => {
    expect(packed(small)).toEqual(['profile', 'encode']);
    expect(packed(Buffer.alloc(2000, 'abc'))).toEqual(['zstd', 'encode', 'saw 2000 as true']);
    expect(packed(small, { of: null })).toEqual(['zstd']);
    expect(packed(small, { hurried: true })).toEqual(['zstd']);
    expect(packed(small, { compression: 'zstd' })).toEqual(['zstd']);
    expect(packed(Buffer.alloc(4097, 'abc'))).toEqual(['zstd']);
  });
});
