/** For tests: rows as PostgreSQL itself writes them, in either form, as tuples of pgoutput. */
import type { Relation } from '@drover/block';
import {
  COLUMN_BINARY,
  COLUMN_NULL,
  COLUMN_TEXT,
  COLUMN_UNCHANGED,
  quoteIdent,
  readTables,
} from '@drover/pg';
import type pg from 'pg';
import { relationOf } from './check/live-table.ts';
import type { Form } from './values/codec.ts';

/** Strings become text cells, buffers binary ones. */
export function tuple(cells: readonly (Buffer | string | null | undefined)[]): Buffer {
  const parts = [Buffer.from([cells.length >> 8, cells.length & 255])];
  for (const cell of cells) {
    if (cell === null) parts.push(Buffer.from([COLUMN_NULL]));
    else if (cell === undefined) parts.push(Buffer.from([COLUMN_UNCHANGED]));
    else {
      const value = Buffer.from(cell as string); // copies buffers, too
      const head = Buffer.alloc(5);
      head[0] = typeof cell === 'string' ? COLUMN_TEXT : COLUMN_BINARY;
      head.writeUInt32BE(value.length, 1);
      parts.push(head, value);
    }
  }
  return Buffer.concat(parts);
}

/** The inverse of {@link tuple}. */
export function cellsOf(bytes: Buffer): (Buffer | string | null | undefined)[] {
  const out: (Buffer | string | null | undefined)[] = [];
  let at = 2;
  for (let i = bytes.readUInt16BE(0); i > 0; i--) {
    const kind = bytes[at];
    if (kind === COLUMN_NULL || kind === COLUMN_UNCHANGED) {
      out.push(kind === COLUMN_NULL ? null : undefined);
      at++;
      continue;
    }
    const end = at + 5 + bytes.readUInt32BE(at + 1);
    const value = Buffer.from(bytes.subarray(at + 5, end));
    out.push(kind === COLUMN_TEXT ? value.toString() : value);
    at = end;
  }
  if (at !== bytes.length) throw new Error('the tuple does not end at its end');
  return out;
}

export async function liveRelation(client: pg.Client, name: string): Promise<Relation> {
  const found = (await readTables(client)).find((t) => t.name === name);
  if (found === undefined) throw new Error(`no table ${name}`);
  return relationOf(found);
}

/** All rows of the table, sorted by its first column: binary cells by the types' send functions, as pgoutput makes them. */
export async function liveRows(client: pg.Client, relation: Relation, form: Form): Promise<Buffer[]> {
  const { rows: sends } = await client.query<{ oid: number; send: string }>(
    'SELECT oid::int, typsend::text AS send FROM pg_type WHERE oid = ANY ($1)',
    [relation.columns.map((c) => c.typeOid)],
  );
  const send = new Map(sends.map((row) => [row.oid, row.send]));
  const columns = relation.columns.map(({ name, typeOid }) =>
    form === 'text' ? quoteIdent(name) : `${send.get(typeOid)}(${quoteIdent(name)})`,
  );
  const raw = { getTypeParser: () => (value: unknown) => value };
  const { rows } = await client.query<(string | Buffer | null)[]>({
    text: `SELECT ${columns.join(', ')} FROM ${quoteIdent(relation.schema)}.${quoteIdent(relation.name)} t ORDER BY t.${quoteIdent(relation.columns[0]?.name ?? '')}`,
    rowMode: 'array',
    ...(form === 'text' ? { types: raw } : {}),
  } as pg.QueryArrayConfig);
  return rows.map(tuple);
}
