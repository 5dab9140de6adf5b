/** What is sealed is opened as it was; whatever is changed of it, by whoever can make a checksum, is refused. */
import { DroverError, epoch, type Lsn, tenantId } from '@drover/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CRC_END, CRC_OFFSET } from '../format.ts';
import { ACME, blockOf, Keys, META, open, sealing, withChecksum } from './seal.testing.ts';

const GLOBEX = tenantId('globex');
const keys = new Keys().add(ACME).add(ACME).add(GLOBEX).add(GLOBEX);
const codeOf = (block: Buffer): string => {
  try {
    open(block, keys);
  } catch (error) {
    return error instanceof DroverError ? error.code : String(error);
  }
  return 'opened';
};
const REFUSED = new Set(['block.corrupt', 'block.version', 'block.sealed']);

describe('sealing', () => {
  it.each(['none', 'zstd', 'snappy', 'columns'] as const)(
    'gives back bodies of every size (%s)',
    (compression) => {
      const packer = sealing(keys, compression);
      const sizes = fc.oneof(fc.nat({ max: 300 }), fc.nat({ max: 100_000 }));
      fc.assert(
        fc.property(sizes, fc.nat({ max: 255 }), (size, byte) => {
          const content = Buffer.alloc(size, Buffer.from([byte, byte ^ 0x55, size & 0xff]));
          const [found] = open(blockOf(content, packer), keys);
          expect(found?.equals(content)).toBe(true);
        }),
        { numRuns: 60 },
      );
    },
  );

  it('gives back each size from nothing to beyond a step of the cipher', () => {
    const packer = sealing(keys);
    for (const size of [0, 1, 15, 16, 17, 16 * 1024 * 1024 - 40, 16 * 1024 * 1024 + 1, 33 * 1024 * 1024]) {
      const content = Buffer.alloc(size, 'drover');
      expect(open(blockOf(content, packer), keys)[0]?.equals(content), String(size)).toBe(true);
    }
  });

  it('refuses a block with any one bit turned, whether or not the checksum is mended', () => {
    const block = blockOf(Buffer.from('something to be kept to oneself'), sealing(keys));
    expect(codeOf(block)).toBe('opened');
    for (let bit = 0; bit < block.length * 8; bit++) {
      const turned = Buffer.from(block);
      turned[bit >> 3]! ^= 1 << (bit & 7);
      expect(REFUSED, `bit ${bit}`).toContain(codeOf(turned));
      const inChecksum = bit >> 3 >= CRC_OFFSET && bit >> 3 < CRC_END;
      if (!inChecksum) expect(REFUSED, `bit ${bit}, mended`).toContain(codeOf(withChecksum(turned)));
    }
  });

  it('refuses a body under any header but its own: another tenant, epoch, place, source, database', () => {
    const header = fc.record({
      tenant: fc.constantFrom(ACME, GLOBEX),
      epoch: fc.constantFrom(epoch(3), epoch(4)),
      lastLsn: fc.constantFrom(200n as Lsn, 300n as Lsn),
      firstLsn: fc.constantFrom(100n as Lsn, 101n as Lsn),
      generation: fc.constantFrom(2, 3),
      part: fc.constantFrom(0, 1),
      complete: fc.boolean(),
      commitTimeUs: fc.constantFrom(5n, 6n),
      systemId: fc.constantFrom(META.systemId, '7300000000000000002'),
      database: fc.constantFrom('app', 'apq'),
    });
    fc.assert(
      fc.property(header, header, (one, other) => {
        const [a, b] = [one, other].map((meta) => blockOf(Buffer.from('row'), sealing(keys), meta));
        // The header of the other, with the mark of the one: what somebody makes who moves a body and keeps its seal whole.
        const moved = withChecksum(
          Buffer.concat([
            b!.subarray(0, b!.readUInt16BE(6) - 28),
            a!.subarray(a!.readUInt16BE(6) - 28, a!.length),
          ]),
        );
        const same = JSON.stringify(one, text) === JSON.stringify(other, text);
        if (same) expect(codeOf(moved)).toBe('opened');
        else expect(REFUSED).toContain(codeOf(moved));
      }),
    );
  });

  it('refuses what is cut short or has more behind it', () => {
    const block = blockOf(Buffer.from('row'), sealing(keys));
    for (let length = 0; length < block.length; length++) {
      expect(REFUSED, String(length)).toContain(codeOf(block.subarray(0, length)));
    }
    expect(REFUSED).toContain(codeOf(Buffer.concat([block, Buffer.alloc(1)])));
  });

  it('does not crash on a mark of any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 28, maxLength: 28 }), (mark) => {
        const block = blockOf(Buffer.from('row'), sealing(keys));
        Buffer.from(mark).copy(block, block.readUInt16BE(6) - 28);
        expect(REFUSED).toContain(codeOf(withChecksum(block)));
      }),
    );
  });
});

function text(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}
