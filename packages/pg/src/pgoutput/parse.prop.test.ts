import { DroverError } from '@drover/core';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { GOLDEN } from './golden.ts';
import { parsePgoutput } from './parse.ts';
import { recorder } from './recorder.ts';
import { COLUMN_BINARY, COLUMN_NULL, tupleColumn, tupleEnd, tupleField, tupleWidth } from './tuple.ts';

const goldens = Object.values(GOLDEN);

test('damaged messages are read or refused, never anything else', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...goldens),
      fc.array(fc.tuple(fc.nat(120), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      (golden, damage) => {
        const bytes = Buffer.from(golden);
        for (const [at, value] of damage) bytes[at % bytes.length] = value;
        try {
          parsePgoutput(bytes, 0, bytes.length, recorder());
        } catch (error) {
          // showTuple's own complaint: insert and delete tuples are not walked by the parser.
          if (error instanceof Error && error.message === 'the tuple does not end at its end') return;
          expect(error).toBeInstanceOf(DroverError);
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('a tuple is found again column by column', () => {
  const values = fc.array(fc.option(fc.uint8Array({ maxLength: 40 })), { maxLength: 60 });
  fc.assert(
    fc.property(values, fc.nat(9), (columns, before) => {
      const parts: Buffer[] = [
        Buffer.alloc(before),
        Buffer.from([columns.length >> 8, columns.length & 255]),
      ];
      for (const value of columns) {
        if (value === null) parts.push(Buffer.from([COLUMN_NULL]));
        else {
          const head = Buffer.alloc(5);
          head[0] = COLUMN_BINARY;
          head.writeUInt32BE(value.length, 1);
          parts.push(head, Buffer.from(value));
        }
      }
      const end = parts.reduce((sum, part) => sum + part.length, 0);
      const bytes = Buffer.concat([...parts, Buffer.from('trailing')]);
      expect(tupleWidth(bytes, before)).toBe(columns.length);
      expect(tupleEnd(bytes, before)).toBe(end);
      expect(tupleEnd(bytes, before, end)).toBe(end);
      const field = tupleField();
      columns.forEach((value, i) => {
        tupleColumn(bytes, before, i, field);
        expect(field.kind).toBe(value === null ? COLUMN_NULL : COLUMN_BINARY);
        expect(bytes.subarray(field.start, field.end)).toEqual(Buffer.from(value ?? []));
      });
      expect(() => tupleColumn(bytes, before, columns.length, field)).toThrow(DroverError);
      if (end > before) expect(() => tupleEnd(bytes, before, end - 1)).toThrow(DroverError);
    }),
  );
});
