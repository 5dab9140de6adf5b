/**
 * PostgreSQL's own row filter as the oracle: one slot is decoded through a publication with WHERE, and through one without whose stream goes
 * through a plan. Both must send the same changes with the same bytes.
 */
import type { Relation } from '@drover/block';
import { parsePgoutput } from '@drover/pg';
import { testPostgres } from '@drover/testkit';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rulesOfTest } from '../rules.testing.ts';
import { type Change, Changer } from './change.ts';
import { compileTransform } from './compile.ts';
import type { TuplePlan } from './tuple-plan.ts';

const FILTERS = {
  whole: "kind = 'a' OR n > 2 AND note IS NOT NULL",
  keyed: 'id <> 2 AND n IN (1, 3)',
};

let client: pg.Client;
beforeAll(async () => {
  const server = await testPostgres();
  client = await server.connect(await server.createDatabase('rowfilter'));
  await client.query(`
    CREATE TABLE public.whole (id int, n int, kind text, note text, big text, PRIMARY KEY (id));
    ALTER TABLE public.whole REPLICA IDENTITY FULL;
    ALTER TABLE public.whole ALTER big SET STORAGE EXTERNAL;
    CREATE TABLE public.keyed (id int, n int, note text, PRIMARY KEY (id, n));
    CREATE PUBLICATION everything FOR TABLE public.whole, public.keyed;
    CREATE PUBLICATION filtered FOR TABLE public.whole WHERE (${FILTERS.whole}), TABLE public.keyed WHERE (${FILTERS.keyed});`);
  await client.query(`SELECT pg_create_logical_replication_slot('rowfilter', 'pgoutput')`);
});
afterAll(async () => {
  await client?.query(`SELECT pg_drop_replication_slot('rowfilter')`);
  await client?.end();
});

type Seen = [table: string, kind: string, old: string, now: string];

async function decoded(publication: string, plans: boolean): Promise<Seen[]> {
  const { rows } = await client.query<{ data: Buffer }>(
    `SELECT data FROM pg_logical_slot_peek_binary_changes('rowfilter', NULL, NULL, 'proto_version', '2', 'binary', 'true', 'publication_names', $1)`,
    [publication],
  );
  const seen: Seen[] = [];
  const relations = new Map<number, { relation: Relation; plan: TuplePlan | null }>();
  const changer = new Changer();
  const through = (oid: number, raw: Change, ask: (plan: TuplePlan) => Change) => {
    const { relation, plan } = relations.get(oid)!;
    const { kind, oldKind, bytes, oldStart, oldEnd, newStart, newEnd } = plan === null ? raw : ask(plan);
    const old = `${kind === 'insert' ? '' : (oldKind ?? '')}${bytes.toString('hex', oldStart, oldEnd)}`;
    const now = bytes.toString('hex', newStart, newEnd);
    if (kind !== 'none') seen.push([relation.name, kind, kind === 'insert' ? '' : old, now]);
  };
  for (const { data } of rows) {
    parsePgoutput(data, 0, data.length, {
      begin() {},
      commit() {},
      type() {},
      truncate() {},
      message() {},
      origin() {},
      relation(oid, relation) {
        const where = FILTERS[relation.name as keyof typeof FILTERS];
        const rules = rulesOfTest({ tables: [`public.${relation.name}`], where });
        relations.set(oid, {
          relation,
          plan: plans ? compileTransform(rules, relation, { secret: 's' }) : null,
        });
      },
      insert(oid, newStart, newEnd, bytes) {
        const raw: Change = {
          kind: 'insert',
          oldKind: null,
          bytes,
          oldStart: 0,
          oldEnd: 0,
          newStart,
          newEnd,
        };
        through(oid, raw, (plan) => changer.insert(plan, bytes, newStart, newEnd));
      },
      update(oid, oldKind, oldStart, oldEnd, newStart, newEnd, bytes) {
        const raw: Change = { kind: 'update', oldKind, bytes, oldStart, oldEnd, newStart, newEnd };
        through(oid, raw, (plan) => changer.update(plan, oldKind, bytes, oldStart, oldEnd, newStart, newEnd));
      },
      delete(oid, oldKind, oldStart, oldEnd, bytes) {
        const raw: Change = { kind: 'delete', oldKind, bytes, oldStart, oldEnd, newStart: 0, newEnd: 0 };
        through(oid, raw, (plan) => changer.delete(plan, oldKind, bytes, oldStart, oldEnd));
      },
    });
  }
  return seen;
}

const value = {
  id: fc.nat(4),
  n: fc.option(fc.nat(4), { nil: null }),
  kind: fc.constantFrom('a', 'b', null),
  note: fc.constantFrom('x', null),
};
const statement = fc.oneof(
  fc
    .record(value)
    .map(
      (v) =>
        `INSERT INTO public.whole VALUES (${v.id}, ${v.n}, ${text(v.kind)}, ${text(v.note)}, repeat('long', 2000)) ON CONFLICT DO NOTHING`,
    ),
  fc
    .record(value)
    .map(
      (v) => `INSERT INTO public.keyed VALUES (${v.id}, ${v.n ?? 0}, ${text(v.note)}) ON CONFLICT DO NOTHING`,
    ),
  fc
    .record(value)
    .map((v) => `UPDATE public.whole SET n = ${v.n}, kind = ${text(v.kind)} WHERE id = ${v.id}`),
  fc
    .record(value)
    .map(
      (v) => `UPDATE public.whole SET note = ${text(v.note)}, big = coalesce(note, big) WHERE id = ${v.id}`,
    ),
  fc.record(value).map((v) => `UPDATE public.keyed SET n = n + 1, note = ${text(v.note)} WHERE id = ${v.id}`),
  fc.record(value).map((v) => `UPDATE public.keyed SET note = ${text(v.note)} WHERE id = ${v.id}`),
  fc.record(value).map((v) => `DELETE FROM public.whole WHERE id = ${v.id}`),
  fc.record(value).map((v) => `DELETE FROM public.keyed WHERE id = ${v.id}`),
);
function text(v: string | null): string {
  return v === null ? 'NULL' : `'${v}'`;
}

test('a plan sends what a publication with the same WHERE sends', async () => {
  const kinds = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(statement, { minLength: 30, maxLength: 60 }), async (statements) => {
      for (const sql of statements) await client.query(sql).catch(duplicate);
      const theirs = await decoded('filtered', false);
      expect(await decoded('everything', true)).toEqual(theirs);
      for (const [table, kind] of theirs) kinds.add(`${table} ${kind}`);
      await client.query(`SELECT pg_replication_slot_advance('rowfilter', pg_current_wal_lsn())`);
    }),
    { numRuns: 25 },
  );
  expect([...kinds].sort()).toEqual([
    'keyed delete',
    'keyed insert',
    'keyed update',
    'whole delete',
    'whole insert',
    'whole update',
  ]);
});

/** `n = n + 1` may meet a key that is there. */
function duplicate(error: unknown): void {
  if ((error as { code?: string }).code !== '23505') throw error;
}
