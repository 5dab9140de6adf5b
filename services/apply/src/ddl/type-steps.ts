/** Enums, domains and composite types: as `table-steps.ts`, only what the command changed and the replica has not got. Pure. */
import { quoteIdent, quoteLiteral, quoteTable } from '@drover/pg';
import type { Action, Steps } from './action.ts';
import type { TypeChange, TypeShape } from './message.ts';

export interface TypeReplica {
  readonly type: TypeShape | null;
  readonly ownerOf: (role: string, schemaOwner: string) => string;
}

export function typeSteps(change: TypeChange, replica: TypeReplica): Steps {
  const { before, after } = change;
  const { type } = replica;
  const key = `type:${change.oid}`;
  const expand: Action[] = [];
  const contract: Action[] = [];
  const touches = new Set([key]);
  const owner = type?.owner ?? replica.ownerOf(after?.owner ?? '', after?.schemaOwner ?? '');
  const admit = (sql: string): void => void expand.push({ key, sql, oid: null, column: null, owner });
  const restrict = (id: string, sql: string): void => {
    touches.add(id);
    contract.push({ key: id, sql, oid: null, column: null, owner });
  };
  const result = { expand, contract, touches: [] as string[] };
  if (after === null) {
    if (type !== null) restrict(key, `DROP ${word(type)} IF EXISTS ${quoteTable(type.schema, type.name)}`);
  } else if (type === null) {
    admit(create(after));
  } else if (before !== null) {
    let name = quoteTable(type.schema, type.name);
    if (before.schema !== after.schema && type.schema === before.schema) {
      admit(`ALTER ${word(after)} ${name} SET SCHEMA ${quoteIdent(after.schema)}`);
      name = quoteTable(after.schema, type.name);
    }
    if (before.name !== after.name && type.name === before.name) {
      admit(`ALTER ${word(after)} ${name} RENAME TO ${quoteIdent(after.name)}`);
      name = quoteTable(after.schema, after.name);
    }
    for (const sql of labels(before, after, type)) admit(`ALTER TYPE ${name} ${sql}`);
    for (const sql of attributes(before, after, type)) admit(`ALTER TYPE ${name} ${sql}`);
    if (after.kind === 'd') {
      const there = new Set((type.constraints ?? []).map((c) => c.name));
      for (const c of before.constraints ?? []) {
        if ((after.constraints ?? []).some((a) => a.oid === c.oid)) continue;
        touches.add(`con:${change.oid}:${c.oid}`);
        if (there.has(c.name)) admit(`ALTER DOMAIN ${name} DROP CONSTRAINT ${quoteIdent(c.name)}`);
      }
      if (before.notNull === true && after.notNull === false) {
        touches.add(`null:${change.oid}`);
        admit(`ALTER DOMAIN ${name} DROP NOT NULL`);
      }
      if (before.default !== after.default && type.default !== after.default)
        admit(
          `ALTER DOMAIN ${name} ${after.default == null ? 'DROP DEFAULT' : `SET DEFAULT ${after.default}`}`,
        );
      for (const c of after.constraints ?? []) {
        if ((before.constraints ?? []).some((b) => b.oid === c.oid) || there.has(c.name)) continue;
        restrict(
          `con:${change.oid}:${c.oid}`,
          `ALTER DOMAIN ${name} ADD CONSTRAINT ${quoteIdent(c.name)} ${c.def}`,
        );
      }
      if (before.notNull === false && after.notNull === true && type.notNull === false)
        restrict(`null:${change.oid}`, `ALTER DOMAIN ${name} SET NOT NULL`);
    }
  }
  result.touches.push(...touches);
  return result;
}

const word = (type: TypeShape): string => (type.kind === 'd' ? 'DOMAIN' : 'TYPE');

function create(type: TypeShape): string {
  const name = quoteTable(type.schema, type.name);
  switch (type.kind) {
    case 'e':
      return `CREATE TYPE ${name} AS ENUM (${(type.labels ?? []).map((l) => quoteLiteral(l.label)).join(', ')})`;
    case 'c':
      return `CREATE TYPE ${name} AS (${(type.attributes ?? []).map(attribute).join(', ')})`;
    case 'd': {
      const words = [`CREATE DOMAIN ${name} AS ${type.base}`];
      if (type.collation != null) words.push(`COLLATE ${type.collation}`);
      if (type.default != null) words.push(`DEFAULT ${type.default}`);
      if (type.notNull === true) words.push('NOT NULL');
      for (const c of type.constraints ?? []) words.push(`CONSTRAINT ${quoteIdent(c.name)} ${c.def}`);
      return words.join(' ');
    }
  }
}

const attribute = (a: { name: string; type: string; collation: string | null }): string =>
  `${quoteIdent(a.name)} ${a.type}${a.collation === null ? '' : ` COLLATE ${a.collation}`}`;

function* labels(before: TypeShape, after: TypeShape, there: TypeShape): Generator<string> {
  const old = new Map((before.labels ?? []).map((l) => [l.oid, l.label]));
  const present = (there.labels ?? []).map((l) => l.label);
  const list = after.labels ?? [];
  for (const { oid, label } of list) {
    const was = old.get(oid);
    if (was === undefined || was === label || !present.includes(was)) continue;
    yield `RENAME VALUE ${quoteLiteral(was)} TO ${quoteLiteral(label)}`;
    present[present.indexOf(was)] = label;
  }
  // From the end on, so that each finds its successor.
  for (let i = list.length - 1; i >= 0; i--) {
    const entry = list[i];
    if (entry === undefined || old.has(entry.oid) || present.includes(entry.label)) continue;
    const next = list.slice(i + 1).find((l) => present.includes(l.label));
    yield `ADD VALUE IF NOT EXISTS ${quoteLiteral(entry.label)}${next === undefined ? '' : ` BEFORE ${quoteLiteral(next.label)}`}`;
    present.push(entry.label);
  }
}

function* attributes(before: TypeShape, after: TypeShape, there: TypeShape): Generator<string> {
  const present = new Set((there.attributes ?? []).map((a) => a.name));
  for (const a of before.attributes ?? []) {
    const now = (after.attributes ?? []).find((b) => b.n === a.n);
    if (!present.has(a.name)) continue;
    if (now === undefined) yield `DROP ATTRIBUTE ${quoteIdent(a.name)}`;
    else if (now.name !== a.name && !present.has(now.name))
      yield `RENAME ATTRIBUTE ${quoteIdent(a.name)} TO ${quoteIdent(now.name)}`;
  }
  for (const a of after.attributes ?? []) {
    const old = (before.attributes ?? []).find((b) => b.n === a.n);
    if (old === undefined) {
      if (!present.has(a.name)) yield `ADD ATTRIBUTE ${attribute(a)}`;
    } else if (old.type !== a.type) {
      yield `ALTER ATTRIBUTE ${quoteIdent(a.name)} TYPE ${a.type}${a.collation === null ? '' : ` COLLATE ${a.collation}`}`;
    }
  }
}
