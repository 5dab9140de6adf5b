import type { Lsn } from '@drover/core';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { BlockWriter } from './block-writer.ts';
import { KnownRelations } from './known-relations.ts';
import { META } from './seal/seal.testing.ts';
import type { Relation } from './types.ts';
import { walkBlock } from './walk-block.ts';

/** A block with a row of each of them. */
function blockOf(relations: readonly Relation[]): Buffer {
  const writer = new BlockWriter();
  writer.begin(0x20n as Lsn, 0n, 77);
  const tuple = Buffer.from('000162000000080000000000000001', 'hex');
  for (const relation of relations) writer.insert(writer.relation(relation), tuple, 0, tuple.length);
  return writer.finish(META);
}

/** What a reader hears: each row's table. */
function read(block: Buffer, relations?: KnownRelations): Relation[] {
  const told: Relation[] = [];
  const rows: Relation[] = [];
  const ignore = (): void => undefined;
  walkBlock(
    block,
    {
      relation: (_index, relation) => told.push(relation),
      insert: (index) => rows.push(told[index] as Relation),
      begin: ignore,
      update: ignore,
      delete: ignore,
      truncate: ignore,
      message: ignore,
    },
    relations === undefined ? {} : { relations },
  );
  return rows;
}

const id = { name: 'id', typeOid: 20, typmod: -1, key: true };
const ORDERS: Relation = { oid: 16_400, schema: 'public', name: 'orders', identity: 'd', columns: [id] };

it('the same description is the same object, block after block', () => {
  const known = new KnownRelations();
  const [first] = read(blockOf([ORDERS]), known);
  const [second] = read(blockOf([{ ...ORDERS, oid: 7 }, ORDERS].reverse()), known);
  expect(first).toEqual(ORDERS);
  expect(second).toBe(first);
});

it.each<[string, Relation]>([
  ['a name', { ...ORDERS, name: 'ordered' }],
  ['a schema', { ...ORDERS, schema: 'shop' }],
  ['an identity', { ...ORDERS, identity: 'f' }],
  ['a column more', { ...ORDERS, columns: [id, { ...id, name: 'v', key: false }] }],
  ['a column less', { ...ORDERS, columns: [] }],
  ['a type', { ...ORDERS, columns: [{ ...id, typeOid: 23 }] }],
  ['a typmod', { ...ORDERS, columns: [{ ...id, typmod: 9 }] }],
  ['a key', { ...ORDERS, columns: [{ ...id, key: false }] }],
])('%s that changes is another description, there and back', (_what, other) => {
  const known = new KnownRelations();
  for (const relation of [ORDERS, other, ORDERS, other])
    expect(read(blockOf([relation]), known)).toEqual([relation]);
});

it('what is read is the same with and without', () => {
  const name = fc.constantFrom('a', 'ab', 'abc', '');
  const column = fc.record({
    name,
    typeOid: fc.nat(2),
    typmod: fc.integer({ min: -1, max: 1 }),
    key: fc.boolean(),
  });
  const relation: fc.Arbitrary<Relation> = fc.record({
    oid: fc.nat(2),
    schema: name,
    name,
    identity: fc.constantFrom('d', 'f', 'i', 'n'),
    columns: fc.array(column, { maxLength: 3 }),
  });
  fc.assert(
    fc.property(fc.array(fc.array(relation, { maxLength: 4 }), { maxLength: 12 }), (blocks) => {
      const known = new KnownRelations();
      for (const relations of blocks) {
        const block = blockOf(relations);
        expect(read(block, known)).toEqual(read(block));
        expect(read(block, known)).toEqual(relations);
      }
    }),
  );
});
