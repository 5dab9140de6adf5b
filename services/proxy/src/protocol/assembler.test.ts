import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Assembler, FramingError } from './assembler.ts';
import { message } from './builders.ts';

const messages = [
  message('Q', 'SELECT 1'),
  message('S'),
  message('B', '', 'name', Buffer.alloc(300)),
  message('d', Buffer.from('abc')),
];
const stream = Buffer.concat(messages);

test('whole messages come out whatever the cuts: at every byte', () => {
  for (let cut = 0; cut <= stream.length; cut++) {
    const assembler = new Assembler(1000);
    const out = [stream.subarray(0, cut), stream.subarray(cut)]
      .map((piece) => assembler.push(piece))
      .filter((b) => b !== null);
    expect(Buffer.concat(out)).toEqual(stream);
    expect(assembler.kept).toBe(0);
  }
});

test('property: any cuts give the same messages, never a partial one', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 })), (sizes) => {
      const assembler = new Assembler(1000);
      const out: Buffer[] = [];
      let at = 0;
      for (const size of [...sizes, stream.length]) {
        const whole = assembler.push(stream.subarray(at, at + size));
        at += size;
        if (whole === null) continue;
        let p = 0;
        while (p < whole.length) p += 1 + whole.readUInt32BE(p + 1);
        expect(p).toBe(whole.length);
        out.push(whole);
      }
      expect(Buffer.concat(out)).toEqual(stream);
    }),
  );
});

test('a chunk of whole messages is handed on without a copy', () => {
  expect(new Assembler(1000).push(stream)).toBe(stream);
});

test('impossible lengths are refused', () => {
  for (const size of [0, 3, 2000, 0xffff_ffff]) {
    const bytes = Buffer.alloc(5);
    bytes.writeUInt32BE(size, 1);
    expect(() => new Assembler(1000).push(bytes), `${size}`).toThrow(FramingError);
  }
});
