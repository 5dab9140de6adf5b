import { DroverError, tenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { BlockWriter, Packer, peekSeal, readHeader, sealedUnder, walkBlock } from '../index.ts';
import { packMark, unpackMark } from './mark.ts';
import { ACME, blockOf, dataKey, Keys, META, open, sealing, withChecksum } from './seal.testing.ts';
import { Sealer } from './sealer.ts';

const SECRET = Buffer.from('the card number is 4111 1111 1111 1111');
const GLOBEX = tenantId('globex');

function refusal(act: () => unknown): DroverError {
  try {
    act();
  } catch (error) {
    if (error instanceof DroverError) return error;
    throw error;
  }
  throw new Error('it was not refused');
}

describe('a sealed block', () => {
  it('gives back what was sealed and shows nothing of it', () => {
    const keys = new Keys().add(ACME);
    const block = blockOf(SECRET, sealing(keys));
    expect(block.includes('card number')).toBe(false);
    expect(block.includes('things')).toBe(false); // the names of tables neither
    expect(open(block, keys)).toEqual([SECRET]);
  });

  it('has a header that is read without a key, and says which key it needs', () => {
    const block = blockOf(SECRET, sealing(new Keys().add(ACME).add(ACME)));
    expect(readHeader(block)).toEqual({ ...META, transactions: 1, changes: 1 });
    expect(sealedUnder(block)).toEqual({ tenant: ACME, keyId: 2 });
    expect(sealedUnder(blockOf(SECRET, new Packer('none')))).toBeNull();
    expect(sealedUnder(Buffer.from('no block'))).toBeNull();
    const sealedOne = blockOf(SECRET, sealing(new Keys().add(ACME)));
    expect(peekSeal(sealedOne)).toEqual({ tenant: ACME, keyId: 1 });
    for (let length = 0; length < sealedOne.length; length++)
      expect(() => peekSeal(sealedOne.subarray(0, length))).not.toThrow();
    expect(peekSeal(blockOf(SECRET, new Packer('none')))).toBeNull();
  });

  it('keeps what its header says of a streamed transaction', () => {
    const keys = new Keys().add(ACME);
    const streamed = { kind: 'part', attempt: 'a1', xid: 7, cut: 0, last: true } as const;
    const writer = new BlockWriter();
    const block = writer.finish({ ...META, streamed }, sealing(keys));
    expect(readHeader(block).streamed).toEqual(streamed);
    expect(open(block, keys)).toEqual([]);
  });

  it('stays readable under the key it was sealed with, after rotations', () => {
    const keys = new Keys().add(ACME);
    const before = blockOf(SECRET, sealing(keys));
    keys.add(ACME);
    const after = blockOf(SECRET, sealing(keys));
    expect([sealedUnder(before)?.keyId, sealedUnder(after)?.keyId]).toEqual([1, 2]);
    for (const block of [before, after]) expect(open(block, keys)).toEqual([SECRET]);
  });

  it.each([
    ['without the key', new Keys(), 'there is no such key', {}],
    ['with another key of the same number', new Keys().add(ACME), 'another one', { isAnother: true }],
    ['with the keys of another tenant', new Keys().add(GLOBEX), 'there is no such key', {}],
  ])('is refused %s, by tenant and key', (_, others, why, more) => {
    const keys = new Keys().add(ACME);
    const error = refusal(() => open(blockOf(SECRET, sealing(keys)), others));
    expect([error.code, error.facts]).toEqual(['block.sealed', { tenant: ACME, keyId: 1, ...more }]);
    expect(error.message).toContain(why);
  });

  it('is refused by a reader that has no keys at all', () => {
    const block = blockOf(SECRET, sealing(new Keys().add(ACME)));
    const error = refusal(() => walkBlock(block, {} as never));
    expect([error.code, error.facts]).toEqual(['block.sealed', { tenant: ACME, keyId: 1 }]);
  });

  it('under a key that nobody keeps says so', () => {
    const block = blockOf(SECRET, sealing(new Keys().add(ACME, dataKey(0))));
    expect(refusal(() => open(block, new Keys())).message).toContain('nobody has kept that key');
  });

  it('does not take the body of another, of the same key', () => {
    const keys = new Keys().add(ACME);
    const packer = sealing(keys);
    const [a, b] = [blockOf(SECRET, packer), blockOf(Buffer.from(SECRET).reverse(), packer)];
    const body = readBodyStart(a);
    const mixed = withChecksum(Buffer.concat([a.subarray(0, body), b.subarray(body)]));
    expect(refusal(() => open(mixed, keys)).code).toBe('block.corrupt');
  });
});

function readBodyStart(block: Buffer): number {
  return block.readUInt16BE(6);
}

describe('a sealer', () => {
  it('leaves blocks of other tenants alone', () => {
    const packer = sealing(new Keys().add(ACME));
    expect(sealedUnder(blockOf(SECRET, packer, { tenant: GLOBEX }))).toBeNull();
  });

  it('writes no block when the key cannot be had', () => {
    const keys = {
      current(): never {
        throw new DroverError('key.unavailable', 'no');
      },
    };
    expect(refusal(() => blockOf(SECRET, sealing(keys))).code).toBe('key.unavailable');
  });

  it('begins another session before its numbers run out', () => {
    const sealer = new Sealer(new Keys().add(ACME), 3);
    const marks = Array.from({ length: 7 }, () => unpackMark(sealer.next(ACME)?.mark ?? Buffer.alloc(0)));
    expect(marks.map((mark) => mark.number)).toEqual([0, 1, 2, 0, 1, 2, 0]);
    expect(new Set(marks.map((mark) => mark.salt.toString('hex'))).size).toBe(3);
  });

  it('never uses a nonce twice under a key, however often it starts anew, and however many write at once', () => {
    const keys = new Keys().add(ACME);
    const seen = new Set<string>();
    const running = Array.from({ length: 50 }, () => new Sealer(keys));
    for (let start = 0; start < 200; start++) {
      running[start % running.length] = new Sealer(keys);
      for (const sealer of running) {
        const seal = sealer.next(ACME);
        seen.add(`${seal?.key.export().toString('hex')} ${seal?.nonce.toString('hex')}`);
      }
    }
    expect(seen.size).toBe(200 * 50);
  });

  it('does not use the data key itself, and no two sessions share a key', () => {
    const keys = new Keys().add(ACME);
    const used = [new Sealer(keys), new Sealer(keys)].map((s) => s.next(ACME)?.key.export().toString('hex'));
    const itself = keys.current(ACME)?.secret.export().toString('hex');
    expect(new Set([...used, itself]).size).toBe(3);
  });
});

describe('the mark', () => {
  it('is read as it was written, at its bounds', () => {
    const mark = { keyId: 0xffff_ffff, check: 0, salt: Buffer.alloc(16, 7), number: 0xffff_ffff };
    expect(unpackMark(packMark(mark))).toEqual(mark);
  });
});
