import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkAssembler, cut, HEADER_BYTES_MAX, type Piece, roomFor } from './chunks.ts';

/** As a publisher sends it. */
function pieces(token: string, block: Buffer, room: number, firstSeq: number): Piece[] {
  const all = cut(block, room);
  return all.map((data, index) => ({
    seq: firstSeq + index,
    token,
    chunk: all.length === 1 ? undefined : { index, count: all.length },
    data,
  }));
}

describe('blocks in chunks', () => {
  it('come out as they went in, whoever died in between', () => {
    const block = fc.record({
      token: fc.constantFrom('a', 'b'),
      data: fc.uint8Array({ maxLength: 50 }),
      room: fc.integer({ min: 1, max: 20 }),
      dies: fc.option(fc.nat(4), { nil: undefined }),
    });
    fc.assert(
      fc.property(fc.array(block, { maxLength: 30 }), (blocks) => {
        const assembler = new ChunkAssembler();
        const sent: string[] = [];
        const got: string[] = [];
        let seq = 1;
        for (const { token, data, room, dies } of blocks) {
          const bytes = Buffer.from(data);
          const all = pieces(token, bytes, room, seq);
          const arrived = dies === undefined ? all : all.slice(0, Math.min(dies, all.length - 1));
          if (arrived.length === all.length) sent.push(`${seq} ${bytes.toString('hex')}`);
          for (const piece of arrived) {
            const whole = assembler.add(piece);
            if (whole !== undefined) got.push(`${whole.firstSeq} ${whole.data.toString('hex')}`);
          }
          seq += arrived.length;
        }
        expect(got).toEqual(sent);
      }),
    );
  });

  it('are passed over when their beginning was not read', () => {
    const assembler = new ChunkAssembler();
    const [, second, third] = pieces('a', Buffer.from('abc'), 1, 5);
    expect(assembler.add(second!)).toBeUndefined();
    expect(assembler.add(third!)).toBeUndefined();
    expect(assembler.add(pieces('a', Buffer.from('x'), 1, 8)[0]!)?.data.toString()).toBe('x');
  });

  it('are never put together over something between them', () => {
    const assembler = new ChunkAssembler();
    const [first, second] = pieces('a', Buffer.from('ab'), 1, 5);
    assembler.add(first!);
    assembler.interrupt();
    expect(assembler.add(second!)).toBeUndefined();
    assembler.add(first!);
    expect(assembler.add({ ...second!, seq: 7 })).toBeUndefined();
    assembler.add(first!);
    expect(assembler.add({ ...second!, token: 'b' })).toBeUndefined();
    assembler.add(first!);
    expect(assembler.add({ ...second!, chunk: { index: 1, count: 3 } })).toBeUndefined();
  });

  it('have bounds', () => {
    expect(roomFor(1024 * 1024)).toBe(1024 * 1024 - HEADER_BYTES_MAX);
    expect(roomFor(64 * 1024 * 1024)).toBe(8 * 1024 * 1024 - HEADER_BYTES_MAX);
    expect(() => roomFor(2000)).toThrow(/very small/);
    const assembler = new ChunkAssembler(4 * 1024 * 1024);
    const data = Buffer.alloc(1024 * 1024);
    const add = (index: number) =>
      assembler.add({ seq: index, token: 'a', chunk: { index, count: 99 }, data });
    for (const index of [0, 1, 2, 3]) expect(add(index)).toBeUndefined();
    expect(() => add(4)).toThrow(expect.objectContaining({ code: 'block.corrupt' }));
  });
});
