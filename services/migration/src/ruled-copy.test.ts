import { Readable } from 'node:stream';
import type { Relation } from '@drover/block';
import { configFromParts } from '@drover/config';
import { plansOf, rulesOf } from '@drover/transform';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { fieldsOf, fieldText, ruledCopy } from './ruled-copy.ts';

const RELATION: Relation = {
  oid: 1,
  schema: 'public',
  name: 'people',
  identity: 'd',
  columns: ['id', 'name', 'ssn'].map((name, i) => ({ name, typeOid: 25, typmod: -1, key: i === 0 })),
};
const rules = rulesOf(
  configFromParts({
    transform: [
      {
        tables: ['public.people'],
        stage: 'publish',
        where: "id <> 'out'",
        actions: [{ drop: 'ssn' }, { mask: 'name', with: 'partial', first: 2 }],
      },
    ],
  }),
);
const plans = plansOf(RELATION, {
  ...{ rules, secret: 's', tenant: 't', tier: 'standard', tenantColumn: undefined, primaryKey: ['id'] },
});

const value = fc.oneof(
  fc.constant(null),
  fc.string({ unit: fc.constantFrom(...Array.from('ab\t\n\r\\\b\f\v é日Nnt.')) }),
);

it('reads and writes fields as COPY has them', () => {
  expect(fieldText('a\tb\n\\N')).toBe(String.raw`a\tb\n\\N`);
  fc.assert(
    fc.property(fc.array(value, { minLength: 1 }), (row) => {
      const line = row.map(fieldText).join('\t');
      expect(line).not.toContain('\n');
      expect(fieldsOf(line)).toEqual(row);
    }),
  );
});

it('makes of rows what the rules make of them, wherever the chunks are cut', async () => {
  const rows = fc.array(fc.tuple(fc.constantFrom('a', 'out', 'c'), value, value), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(rows, fc.integer({ min: 1, max: 9 }), async (given, size) => {
      const text = Buffer.from(given.map((row) => `${row.map(fieldText).join('\t')}\n`).join(''));
      const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
        text.subarray(i * size, (i + 1) * size),
      );
      const out: Buffer[] = [];
      for await (const chunk of Readable.from(chunks).pipe(ruledCopy({ plans })))
        out.push(Buffer.from(chunk));
      const lines = Buffer.concat(out).toString().split('\n').slice(0, -1);
      const partial = (name: string | null) => {
        if (name === null) return null;
        const all = Array.from(name);
        return all.length > 2
          ? all.slice(0, 2).join('') + '*'.repeat(all.length - 2)
          : '*'.repeat(all.length);
      };
      expect(lines.map(fieldsOf)).toEqual(
        given.filter(([id]) => id !== 'out').map(([id, name]) => [id, partial(name)]),
      );
    }),
    { numRuns: 60 },
  );
});
