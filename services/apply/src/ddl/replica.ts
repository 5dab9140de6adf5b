/** The replica's side of a schema change: what it has, who owns it, what stands for what. Queries within the caller's transaction. */
import { ddlTableQuery, ddlTypeQuery, quoteIdent } from '@drover/pg';
import type { Flyer } from '../target/session.ts';
import { type Action, fill } from './action.ts';
import type { TableShape, TypeShape } from './message.ts';

export interface MapRow {
  readonly targetOid: number | null;
  readonly pairs: Readonly<Record<string, number>>;
  /** The source's; null: dropped. */
  readonly shape: TableShape | null;
}

export async function readMap(session: Flyer, source: string, oid: number): Promise<MapRow | null> {
  const [row] = await session.rows(
    `SELECT target_oid::text, pairs::text, shape::text FROM drover.ddl_map WHERE source = $1 AND oid = $2::bigint AND kind = 'table'`,
    [source, String(oid)],
  );
  if (row === undefined) return null;
  return {
    targetOid: row[0] == null ? null : Number(row[0]),
    pairs: JSON.parse(row[1] ?? '{}') as Record<string, number>,
    shape: row[2] == null ? null : (JSON.parse(row[2]) as TableShape),
  };
}

export async function writeMap(
  session: Flyer,
  key: { readonly source: string; readonly oid: number; readonly kind: 'table' | 'type' },
  row: { readonly targetOid: number | null; readonly pairs: object; readonly shape: object | null },
): Promise<void> {
  await session.rows(
    `INSERT INTO drover.ddl_map (source, oid, kind, target_oid, pairs, shape) VALUES ($1, $2::bigint, $3, $4::bigint, $5::jsonb, $6::jsonb)
     ON CONFLICT (source, oid) DO UPDATE SET kind = excluded.kind, target_oid = excluded.target_oid, pairs = excluded.pairs, shape = excluded.shape`,
    [
      key.source,
      String(key.oid),
      key.kind,
      row.targetOid === null ? null : String(row.targetOid),
      JSON.stringify(row.pairs),
      row.shape === null ? null : JSON.stringify(row.shape),
    ],
  );
}

export async function readTable(session: Flyer, oid: number): Promise<TableShape | null> {
  const [row] = await session.rows(ddlTableQuery('$1::oid'), [String(oid)]);
  return row?.[0] == null ? null : (JSON.parse(row[0]) as TableShape);
}

export async function findTable(session: Flyer, schema: string, name: string): Promise<TableShape | null> {
  const [row] = await session.rows(
    `SELECT c.oid::bigint FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p')`,
    [schema, name],
  );
  return row === undefined ? null : readTable(session, Number(row[0]));
}

/** By the name it has, or had. */
export async function findType(
  session: Flyer,
  names: readonly { schema: string; name: string }[],
): Promise<TypeShape | null> {
  for (const { schema, name } of names) {
    const [row] = await session.rows(
      `SELECT t.oid::bigint FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2`,
      [schema, name],
    );
    if (row === undefined) continue;
    const [shape] = await session.rows(ddlTypeQuery('$1::oid'), [String(row[0])]);
    if (shape?.[0] != null) return JSON.parse(shape[0]) as TypeShape;
  }
  return null;
}

export interface Server {
  readonly major: number;
  /** Owner of the database. */
  readonly owner: string;
  /** Roles as which changes can be made. */
  readonly roles: ReadonlySet<string>;
}

export async function readServer(session: Flyer): Promise<Server> {
  const rows = await session.rows(
    `SELECT pg_catalog.current_setting('server_version_num')::int / 10000, (SELECT pg_catalog.pg_get_userbyid(d.datdba) FROM pg_catalog.pg_database d WHERE d.datname = current_database()),
       r.rolname FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(session_user, r.oid, 'SET')`,
  );
  return {
    major: Number(rows[0]?.[0]),
    owner: rows[0]?.[1] ?? '',
    roles: new Set(rows.map((row) => row[2] ?? '')),
  };
}

/** Whose a new object is: the role of that name, where apply may act as it. */
export function ownerOf(server: Server, role: string, schemaOwner: string): string {
  return [role, schemaOwner, server.owner].find((name) => server.roles.has(name)) ?? role;
}

/** Runs the statement as its object's owner; false: the object is gone. */
export async function runAction(session: Flyer, action: Action): Promise<boolean> {
  const names = action.oid === null ? null : await nameOf(session, action.oid, action.column);
  if (action.oid !== null && (names === null || (action.column !== null && names.column === null)))
    return false;
  const sql = fill(action, names);
  await session.rows(`SET LOCAL ROLE ${quoteIdent(action.owner)}`);
  try {
    await session.rows(sql);
  } catch (error) {
    throw new StatementFailed(sql, error);
  }
  await session.rows('RESET ROLE');
  return true;
}

/** A statement of a schema change that the replica refused. */
export class StatementFailed extends Error {
  readonly sql: string;

  constructor(sql: string, cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause), { cause });
    this.sql = sql;
  }
}

async function nameOf(
  session: Flyer,
  oid: number,
  column: number | null,
): Promise<{ schema: string; name: string; column: string | null } | null> {
  const [row] = await session.rows(
    `SELECT n.nspname, c.relname, (SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = $2::int AND NOT a.attisdropped)
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid`,
    [String(oid), String(column ?? 0)],
  );
  return row === undefined ? null : { schema: row[0] ?? '', name: row[1] ?? '', column: row[2] ?? null };
}

export async function ensureSchema(
  session: Flyer,
  server: Server,
  schema: string,
  owner: string,
): Promise<void> {
  const rows = await session.rows('SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1', [schema]);
  if (rows.length > 0) return;
  const sql = `CREATE SCHEMA ${quoteIdent(schema)} AUTHORIZATION ${quoteIdent(owner)}`;
  await runAction(session, { key: '', sql, oid: null, column: null, owner: server.owner });
}
