/** Small messages come back byte for byte by the profile they name, and by no other. */
import { describe, expect, it } from 'vitest';
import { BlockWriter } from '../block-writer.ts';
import {
  decodeWithProfile,
  encodeWithProfile,
  learn,
  openProfile,
  PROFILE_RAW_BYTES_MAX,
  type Profile,
} from './profile.ts';
import { makeBody, rawOf } from './test-bodies.ts';
import { TYPES } from './test-values.ts';

const SCHEMA = 7;
const options = { tenant: 'acme', tables: 'app/1' };

/** Messages of the same tables. */
function messages(first: number, count: number, rows = 3, plain = false): Buffer[] {
  return Array.from({ length: count }, (_, i) =>
    makeBody({ seed: first + i, rows, tables: 2, columns: 8, schemaSeed: SCHEMA, plain }),
  );
}

function learnt(bodies: readonly Buffer[], with_ = options): Profile {
  const profile = learn(bodies, with_);
  if (profile === null) throw new Error('nothing was learnt');
  return openProfile(profile.bytes, profile.id);
}

/** As stored, or null; what is stored has come back. */
function expectSame(raw: Buffer, profile: Profile): Buffer | null {
  const stored = encodeWithProfile(raw, profile);
  if (stored !== null) expect(decodeWithProfile(stored, profile, raw.length).equals(raw)).toBe(true);
  return stored;
}

describe('profile', () => {
  const profile = learnt(messages(1, 150));

  it('messages like those it was learnt from', () => {
    let smaller = 0;
    for (const raw of messages(1000, 60)) {
      const stored = expectSame(raw, profile);
      if (stored !== null && stored.length < raw.length / 2) smaller++;
    }
    expect(smaller).toBeGreaterThan(40);
  });

  it('any other messages: tables and changes it does not know, more rows, none', () => {
    for (let seed = 0; seed < 40; seed++) {
      expectSame(
        makeBody({ seed, rows: 1 + (seed % 30), tables: 1 + (seed % 3), columns: 1 + (seed % 12) }),
        profile,
      );
    }
    expectSame(makeBody({ seed: 9, rows: 400, tables: 2, columns: 8, schemaSeed: SCHEMA }), profile);
    expect(encodeWithProfile(Buffer.alloc(0), profile)).toBeNull();
  });

  it.each(TYPES.map((type) => [type.name, type] as const))('all values of %s', (_name, type) => {
    const make = (seed: number, rows: number) =>
      makeBody({ seed, rows, tables: 1, columns: 3, schemaSeed: 3, types: [type] });
    const own = learnt(Array.from({ length: 30 }, (_, i) => make(i, 6)));
    for (let seed = 100; seed < 130; seed++) expectSame(make(seed, 1 + (seed % 20)), own);
  });

  it('the same messages give the same profile, another tenant another', () => {
    expect(learnt(messages(1, 150)).id).toBe(profile.id);
    expect(learnt(messages(1, 150), { ...options, tenant: 'other' }).id).not.toBe(profile.id);
    expect(learnt(messages(1, 150), { ...options, tables: 'app/2' }).id).not.toBe(profile.id);
    expect(profile.model.tenant).toBe('acme');
  });

  it('equal messages give equal bytes, whatever was encoded before', () => {
    const [raw, other] = messages(1000, 2);
    const first = Buffer.from(encodeWithProfile(raw!, profile)!);
    encodeWithProfile(other!, profile);
    expect(encodeWithProfile(raw!, profile)).toEqual(first);
  });

  it('a wrong profile is refused', () => {
    const other = learnt(messages(500, 50));
    for (const raw of messages(1000, 60)) {
      const stored = encodeWithProfile(raw, profile);
      if (stored !== null)
        expect(() => decodeWithProfile(stored, other, raw.length)).toThrow(/block is damaged/);
    }
    expect(() => openProfile(profile.bytes, other.id)).toThrow(/not the one/);
    const changed = Buffer.from(profile.bytes);
    changed[changed.length - 1]! ^= 1;
    expect(() => openProfile(changed, profile.id)).toThrow();
  });

  it('a wrong length is refused, and one beyond the cap before anything is allocated', () => {
    const raw = messages(1000, 1)[0]!;
    const stored = encodeWithProfile(raw, profile)!;
    for (const length of [0, 1, raw.length - 1, raw.length + 1, PROFILE_RAW_BYTES_MAX + 1, 2 ** 40]) {
      expect(() => decodeWithProfile(stored, profile, length)).toThrow(/damaged/);
    }
  });

  it('nothing is learnt of nothing, or of what no writer makes', () => {
    expect(learn([], options)).toBeNull();
    expect(learn([Buffer.from('nonsense')], options)).toBeNull();
    expect(encodeWithProfile(Buffer.from('nonsense'), profile)).toBeNull();
    const cut = messages(1000, 1)[0]!.subarray(0, -1);
    expect(encodeWithProfile(Buffer.from(cut), profile)).toBeNull();
  });

  it('a table defined twice in a message, and a row of each', () => {
    const relation = (oid: number) => ({
      oid,
      schema: 'public',
      name: 'twice',
      identity: 'd' as const,
      columns: [{ name: 'id', typeOid: 23, typmod: -1, key: true }],
    });
    const tuple = Buffer.from([0, 1, 0x62, 0, 0, 0, 4, 0, 0, 0, 9]);
    const bodyOf = (oids: readonly number[]): Buffer => {
      const writer = new BlockWriter();
      const indexes = oids.map((oid) => writer.relation(relation(oid)));
      for (const index of [...indexes, ...indexes.reverse()]) writer.insert(index, tuple, 0, tuple.length);
      return rawOf(writer);
    };
    const own = learnt([bodyOf([1]), bodyOf([1]), bodyOf([2])]);
    for (const oids of [[1], [1, 1], [1, 2, 1], [3, 1, 3, 1]]) {
      const raw = bodyOf(oids);
      expect(decodeWithProfile(encodeWithProfile(raw, own)!, own, raw.length)).toEqual(raw);
    }
  });

  it('more tables than a profile keeps', () => {
    const make = (seed: number) => makeBody({ seed, rows: 150, tables: 120, columns: 2, schemaSeed: 5 });
    const own = learnt(Array.from({ length: 8 }, (_, i) => make(i)));
    expect(own.model.relations.length).toBe(64);
    for (let seed = 50; seed < 55; seed++) expect(expectSame(make(seed), own)).not.toBeNull();
  });

  it('bodies that are too large are declined', () => {
    const large = makeBody({ seed: 1, rows: 4000, tables: 1, columns: 20, plain: true });
    expect(large.length).toBeGreaterThan(PROFILE_RAW_BYTES_MAX);
    expect(encodeWithProfile(large, profile)).toBeNull();
  });
});
