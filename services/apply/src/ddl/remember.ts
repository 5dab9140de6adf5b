/** What stands for what, and how rows from before are read: noted with each change. Within the caller's transaction. */
import { formatLsn, type Lsn } from '@drover/core';
import type { Flyer } from '../target/session.ts';
import type { TableChange, TableShape } from './message.ts';
import { findTable, readMap, readTable, writeMap } from './replica.ts';

export interface Where {
  readonly source: string;
  readonly generation: number;
  /** Commit of the transaction, and where in it the change was told. */
  readonly lsn: Lsn;
  readonly at: Lsn;
}

/** The replica's table that stands for the source's, by what is known or by name. */
export async function tableOf(
  session: Flyer,
  source: string,
  change: TableChange,
): Promise<TableShape | null> {
  const map = await readMap(session, source, change.oid);
  if (map?.targetOid != null) {
    const table = await readTable(session, map.targetOid);
    if (table !== null) return table;
  }
  for (const shape of [change.before, change.after]) {
    const found = shape === null ? null : await findTable(session, shape.schema, shape.name);
    if (found !== null && !(await standsForAnother(session, source, change.oid, found.oid))) return found;
  }
  return null;
}

async function standsForAnother(
  session: Flyer,
  source: string,
  oid: number,
  target: number,
): Promise<boolean> {
  const rows = await session.rows(
    `SELECT 1 FROM drover.ddl_map WHERE source = $1 AND kind = 'table' AND target_oid = $2::bigint AND oid <> $3::bigint`,
    [source, String(target), String(oid)],
  );
  return rows.length > 0;
}

/** Which of the replica's columns stand for the source's: those that did, and those of the same name. */
export async function remember(
  session: Flyer,
  where: Where,
  change: TableChange,
  anew: boolean,
): Promise<void> {
  const { source } = where;
  const { before, after, oid } = change;
  if (before !== null) {
    await session.rows(
      `INSERT INTO drover.ddl_version (source, oid, generation, lsn, at, shape, missing) VALUES ($1, $2::bigint, $3::int, $4::pg_lsn, $5::pg_lsn, $6::jsonb, $7::jsonb)
       ON CONFLICT DO NOTHING`,
      [
        source,
        String(oid),
        String(where.generation),
        formatLsn(where.lsn),
        formatLsn(where.at),
        JSON.stringify(before),
        JSON.stringify(change.missing),
      ],
    );
  }
  if (after === null) return; // what stands for it is dropped later
  const map = await readMap(session, source, oid);
  const table = await tableOf(session, source, change);
  const pairs: Record<string, number> = {};
  if (table !== null) {
    const known = !anew && map?.targetOid === table.oid ? map.pairs : {};
    const old = before?.columns ?? [];
    // Also of columns that are to go: rows from before find them by their number.
    Object.assign(pairs, known);
    const taken = new Set(Object.values(known));
    for (const column of after.columns) {
      if (pairs[String(column.n)] !== undefined) continue;
      const was = old.find((c) => c.n === column.n)?.name;
      const found = table.columns.find((c) => !taken.has(c.n) && (c.name === column.name || c.name === was));
      if (found === undefined) continue;
      pairs[String(column.n)] = found.n;
      taken.add(found.n);
    }
  }
  await writeMap(
    session,
    { source, oid, kind: 'table' },
    { targetOid: table?.oid ?? null, pairs, shape: after },
  );
}
