import { clusterId, type Epoch, type Lsn, type TenantId } from '@drover/core';
import { describe, expect, it } from 'vitest';
import type { DecodedBlock } from '../changes/decoded-block.ts';
import type { TargetColumn, TargetTable } from '../target/target-table.ts';
import { Board } from './board.ts';
import type { ColumnShape, TableChange, TableShape } from './message.ts';
import { placeOf } from './row-place.ts';
import { tableSteps } from './table-steps.ts';
import { typeSteps } from './type-steps.ts';
import { type Known, resolve, versionOf } from './versions.ts';
import { widens } from './widening.ts';

const lsn = (n: number): Lsn => BigInt(n) as Lsn;

const column = (n: number, name: string, more: Partial<ColumnShape> = {}): ColumnShape => ({
  n,
  name,
  type: 'integer',
  typeOid: 23,
  collation: null,
  notNull: false,
  generated: '',
  identity: '',
  default: null,
  expression: null,
  sequence: null,
  ...more,
});

const shape = (columns: ColumnShape[], more: Partial<TableShape> = {}): TableShape => ({
  oid: 500,
  schema: 'public',
  name: 't',
  kind: 'r',
  owner: 'app',
  schemaOwner: 'app',
  parent: null,
  bound: null,
  partkey: null,
  inherits: false,
  identity: 'd',
  identityIndex: null,
  columns,
  constraints: [],
  indexes: [],
  sequences: [],
  ...more,
});

const change = (
  before: TableShape | null,
  after: TableShape | null,
  more: Partial<TableChange> = {},
): TableChange => ({
  oid: 9,
  class: { kind: 'column' },
  before,
  after,
  missing: {},
  unknown: [],
  ...more,
});

const sql = (c: TableChange, table: TableShape | null, pairs: Record<string, number> = {}) => {
  const steps = tableSteps(c, { table, pairs, major: 18, ownerOf: (role) => role });
  const text = (list: typeof steps.expand): string[] =>
    list.map((a) => a.sql.replaceAll('\u0001T', 'T').replaceAll('\u0001C', `#${a.column}`));
  return { expand: text(steps.expand), contract: text(steps.contract) };
};

describe('what is done of a change', () => {
  const two = shape([column(1, 'a'), column(2, 'b')]);

  it('is only what the command changed, and the replica has not got', () => {
    const after = shape([column(1, 'a'), column(2, 'b'), column(3, 'c', { default: '7' })]);
    expect(sql(change(two, after, { missing: { 3: '7' } }), two)).toEqual({
      expand: [
        `ALTER TABLE T ADD COLUMN "c" integer DEFAULT '7'::integer`,
        'ALTER TABLE T ALTER COLUMN "c" SET DEFAULT 7',
      ],
      contract: [],
    });
    // Made by hand before; and what else the replica has stays.
    expect(sql(change(two, after), shape([...after.columns, column(4, 'own')]))).toEqual({
      expand: [],
      contract: [],
    });
    expect(sql(change(null, after), after)).toEqual({ expand: [], contract: [] });
  });

  it('goes by numbers: a rename is one, a column that comes again is another', () => {
    const renamed = shape([column(1, 'a'), column(2, 'c')]);
    expect(sql(change(two, renamed), two).expand).toEqual(['ALTER TABLE T RENAME COLUMN #2 TO "c"']);
    const again = shape([column(1, 'a'), column(3, 'b')]);
    expect(sql(change(two, again), two, { 1: 1, 2: 2 })).toEqual({
      expand: ['ALTER TABLE T RENAME COLUMN #2 TO "drover_gone_2"', 'ALTER TABLE T ADD COLUMN "b" integer'],
      contract: ['ALTER TABLE T DROP COLUMN #2'],
    });
    // At the replica it went and came by hand: the new one is not dropped again.
    expect(
      sql(change(two, shape([column(1, 'a')])), shape([column(1, 'a'), column(8, 'b')]), { 1: 1, 2: 2 }),
    ).toEqual({
      expand: [],
      contract: [],
    });
  });

  it('lets names change places', () => {
    expect(sql(change(two, shape([column(1, 'b'), column(2, 'a')])), two).expand).toEqual([
      'ALTER TABLE T RENAME COLUMN #1 TO "drover_between_1"',
      'ALTER TABLE T RENAME COLUMN #2 TO "a"',
      'ALTER TABLE T RENAME COLUMN #1 TO "b"',
    ]);
  });

  it('admits before the rows and restricts behind them', () => {
    const key = { oid: 1, name: 'k', type: 'u' as const, def: 'UNIQUE (a)', columns: [1] };
    const strict = shape(
      [column(1, 'a', { notNull: true }), column(2, 'b', { type: 'smallint', typeOid: 21 })],
      {
        constraints: [key],
        indexes: [{ oid: 2, name: 'i', def: 'CREATE INDEX i ON public.t (b)' }],
      },
    );
    expect(sql(change(two, strict), two)).toEqual({
      expand: [],
      contract: [
        'ALTER TABLE T ALTER COLUMN #1 SET NOT NULL',
        'ALTER TABLE T ALTER COLUMN #2 TYPE smallint',
        'ALTER TABLE T ADD CONSTRAINT "k" UNIQUE (a)',
        'CREATE INDEX i ON public.t (b)',
      ],
    });
    expect(sql(change(strict, two), strict)).toEqual({
      expand: [
        'ALTER TABLE T DROP CONSTRAINT "k"',
        'DROP INDEX "public"."i"',
        'ALTER TABLE T ALTER COLUMN #1 DROP NOT NULL',
        'ALTER TABLE T ALTER COLUMN #2 TYPE integer',
      ],
      contract: [],
    });
    expect(sql(change(two, null), two)).toEqual({ expand: [], contract: ['DROP TABLE T'] });
  });

  it('puts labels of an enum where they belong', () => {
    const mood = (...labels: [number, string][]) => ({
      oid: 3,
      schema: 'public',
      name: 'mood',
      kind: 'e' as const,
      owner: 'app',
      schemaOwner: 'app',
      labels: labels.map(([oid, label]) => ({ oid, label })),
    });
    const before = mood([1, 'a'], [2, 'd']);
    const after = mood([1, 'z'], [3, 'b'], [4, 'c'], [2, 'd'], [5, 'e']);
    const { expand } = typeSteps({ oid: 3, before, after }, { type: before, ownerOf: (role) => role });
    expect(expand.map((a) => a.sql)).toEqual([
      `ALTER TYPE "public"."mood" RENAME VALUE 'a' TO 'z'`,
      `ALTER TYPE "public"."mood" ADD VALUE IF NOT EXISTS 'e'`,
      `ALTER TYPE "public"."mood" ADD VALUE IF NOT EXISTS 'c' BEFORE 'd'`,
      `ALTER TYPE "public"."mood" ADD VALUE IF NOT EXISTS 'b' BEFORE 'c'`,
    ]);
  });

  it.each([
    ['integer', 'bigint', true],
    ['bigint', 'integer', false],
    ['integer', 'numeric(12,2)', true],
    ['integer', 'numeric(10,2)', false],
    ['character varying(10)', 'text', true],
    ['character varying(10)', 'character varying(9)', false],
    ['text', 'character varying(10)', false],
    ['numeric(8,2)', 'numeric(10,4)', true],
    ['numeric(8,2)', 'numeric(9,4)', false],
    ['numeric', 'text', false],
    ['timestamp(3) without time zone', 'timestamp without time zone', true],
    ['timestamp without time zone', 'timestamp with time zone', false],
  ])('%s fits into %s: %s', (from, to, fits) => expect(widens(from, to)).toBe(fits));
});

describe('rows from before', () => {
  const target = (...columns: [number, string, number?][]): TargetTable => ({
    oid: 500,
    schema: 'public',
    name: 't',
    partitioned: false,
    columns: columns.map(
      ([attnum, name, typeOid = 23]) => ({ attnum, name, typeOid, generated: false }) as TargetColumn,
    ),
    primaryKey: null,
    otherUnique: false,
  });
  const relation = (...names: string[]) => ({
    oid: 9,
    schema: 'public',
    name: 't',
    identity: 'd' as const,
    columns: names.map((name) => ({ name, typeOid: 23, typmod: -1, key: false })),
  });
  // a, b -> b dropped, c added with 7 -> a becomes bigint -> a is called b.
  const known: Known = {
    targetOid: 500,
    pairs: { 1: 1, 2: 2, 3: 5 },
    shape: shape([column(1, 'b', { type: 'bigint', typeOid: 20 }), column(3, 'c')]),
    versions: [
      {
        generation: 1,
        lsn: lsn(100),
        at: lsn(90),
        shape: shape([column(1, 'a'), column(2, 'b')]),
        missing: { 3: '7' },
      },
      {
        generation: 1,
        lsn: lsn(200),
        at: lsn(150),
        shape: shape([column(1, 'a'), column(3, 'c')]),
        missing: {},
      },
      {
        generation: 1,
        lsn: lsn(200),
        at: lsn(160),
        shape: shape([column(1, 'a', { type: 'bigint', typeOid: 20 }), column(3, 'c')]),
        missing: {},
      },
    ],
  };
  const at = (commit: number, told = 0) => ({ generation: 1, lsn: lsn(commit), told: lsn(told) });

  it('are read by the version of their place', () => {
    expect(
      [at(50), at(100), at(100, 90), at(150), at(200), at(200, 150), at(200, 160), at(201)].map((p) =>
        versionOf(known, p),
      ),
    ).toEqual([0, 0, 1, 1, 1, 2, 3, 3]);
    expect(versionOf(known, { ...at(50), generation: 2 })).toBe(3); // of another slot: everything told came before it
  });

  it('find their columns by number, are converted, and get what came later', () => {
    const now = target([1, 'b', 20], [2, 'drover_gone_2'], [5, 'c']);
    const old = resolve(relation('a', 'b'), now, known, 0);
    expect(old.columns.map((c) => c?.to.name ?? null)).toEqual(['b', 'drover_gone_2']); // it is to go, and is still here
    const without = target([1, 'b', 20], [5, 'c']);
    expect(resolve(relation('a', 'b'), without, known, 0).columns.map((c) => c?.to.name ?? null)).toEqual([
      'b',
      null,
    ]);
    expect(old.columns[0]?.through).toEqual(['integer', 'bigint']);
    expect(old.constants).toEqual([{ name: '"c"', sql: `'7'::integer` }]);
    const current = resolve(
      {
        ...relation('b', 'c'),
        columns: relation('b', 'c').columns.map((c, i) => ({ ...c, typeOid: i === 0 ? 20 : 23 })),
      },
      now,
      known,
      3,
    );
    expect(current.columns.map((c) => [c?.to.attnum, c?.through])).toEqual([
      [1, []],
      [5, []],
    ]);
    expect(current.constants).toEqual([]);
    expect(() => resolve(relation('b', 'nowhere'), now, known, 3)).toThrow(
      expect.objectContaining({ code: 'apply.schema' }),
    );
  });

  it('find by its name a column that the replica had lost and was given again', () => {
    const again = target([1, 'b', 20], [7, 'c']);
    const columns = resolve(relation('c'), again, known, 3).columns;
    expect(columns.map((c) => c?.to.attnum)).toEqual([7]);
    // What the source has dropped goes nowhere, also not into a column of that name.
    const dropped = target([1, 'b', 20], [7, 'b2'], [8, 'c']);
    expect(resolve(relation('b'), dropped, known, 0).columns).toEqual([null]);
    expect(() => resolve(relation('c'), target([1, 'b', 20]), known, 3)).toThrow(/has no column "c"/);
  });

  it('stand where the first of them stands', () => {
    const mark = (before: number, told: string) => ({
      lsn: lsn(200),
      prefix: 'drover.ddl.mark',
      content: JSON.stringify({ told }),
      before,
    });
    const block = {
      header: {
        source: clusterId('east'),
        tenant: 'a' as TenantId,
        epoch: 1 as Epoch,
        generation: 1,
        lastLsn: lsn(200),
      },
      relations: [relation('a'), relation('b'), relation('c')],
      relation: Uint16Array.from([0, 0, 1, 2]),
      op: Uint8Array.from([1, 1, 1, 1]),
      truncates: new Map(),
      transactions: [
        { lsn: lsn(100), timeUs: 0n, from: 0, to: 1, messages: [] },
        { lsn: lsn(200), timeUs: 0n, from: 1, to: 4, messages: [mark(2, '0/96'), mark(3, '0/A0')] },
      ],
    } as unknown as DecodedBlock;
    expect([0, 1, 2].map((relationIndex) => placeOf(block, relationIndex))).toEqual([
      at(100),
      at(200, 0x96),
      at(200, 0xa0),
    ]);
  });
});

describe('the board', () => {
  it('knows when all have come so far, by generation, commit, and side of its rows', async () => {
    const board = new Board(2);
    const place = (n: number, end = false, generation = 1) => ({ generation, lsn: lsn(n), end });
    board.reach(0, place(10, true));
    expect(board.all(place(5))).toBe(false);
    board.reach(1, place(10));
    expect(board.all(place(10))).toBe(true);
    expect(board.all(place(10, true))).toBe(false);
    const waiting = board.wait(place(10, true), 5000, new AbortController().signal);
    board.reach(1, place(9, true)); // never back
    board.reach(1, place(11));
    expect(await waiting).toBe(true);
    expect(await board.wait(place(11, true), 1, new AbortController().signal)).toBe(false);
    board.reach(0, place(1, false, 2));
    expect(board.all(place(11))).toBe(true);
    // What stands at 11 has not been passed, what stood at 10 had been.
    expect(board.passedBy(1, 1)).toBe(lsn(11));
    expect([board.passedBy(0, 1), board.passedBy(7, 1)]).toEqual([null, null]);
    board.reach(0, place(2, true, 2));
    expect(board.passedBy(0, 2)).toBe(lsn(3));
    expect(await board.wait(place(99), 60_000, AbortSignal.abort())).toBe(false);
  });
});
