/**
 * A table that the replica holds otherwise, by rules: the primary's rows go through the rules into a temporary table beside the replica's, and
 * both are compared there. It needs room for the tenant's rows of the table, and the right to make temporary tables.
 */
import { pipeline } from 'node:stream/promises';
import { DroverError } from '@drover/core';
import { type PgPool, quoteIdent, quoteTable, readTables } from '@drover/pg';
import copyStreams from 'pg-copy-streams';
import { copyIn, copyOut } from '../copy/chunk.ts';
import type { RuledTable } from '../ruled.ts';
import { ruledCopy } from '../ruled-copy.ts';
import type { TenantTable } from '../scope.ts';
import { openSession, type SessionClient } from '../sessions.ts';
import { compareTable, type TableResult } from './compare-table.ts';

export interface RuledSides {
  /** Snapshots. */
  readonly left: SessionClient;
  readonly right: SessionClient;
  readonly replica: PgPool;
  readonly signal: AbortSignal;
}

const TEMP = 'drover_verify';

/** @throws DroverError `verify.failed` */
export async function compareRuled(
  { left, right, replica, signal }: RuledSides,
  table: TenantTable,
  ruled: RuledTable,
): Promise<TableResult> {
  const { schema, name, where } = table;
  const { ruled: _, ...plain } = table;
  const found = (await readTables(right)).find((t) => t.schema === schema && t.name === name);
  const key = found?.primaryKey ?? null;
  const typeOf = (column: string) => found?.columns.find((c) => c.name === column)?.typeName ?? 'text';
  const whole = key?.every((column) => ruled.columns.includes(column)) === true;
  const there: TenantTable = {
    ...plain,
    columns: ruled.columns,
    key: whole && key !== null ? key.map((column) => ({ name: column, type: typeOf(column) })) : null,
  };
  const temp: TenantTable = { ...there, schema: 'pg_temp', name: TEMP, where: 'true' };
  const session = await openSession(replica.options, 'drover verify', signal);
  try {
    const columns = ruled.columns.map(quoteIdent).join(', ');
    const empty = `SELECT ${columns} FROM ${quoteTable(schema, name)} WHERE false`;
    await session.client.query(`CREATE TEMPORARY TABLE ${TEMP} AS ${empty}`).catch((error: unknown) => {
      throw new DroverError(
        'verify.failed',
        `${schema}.${name} is under rules, and is compared in a temporary table`,
        {
          cause: error,
          hint: 'drover_admin needs the right TEMPORARY on the database',
        },
      );
    });
    await pipeline(
      left.query(copyStreams.to(copyOut({ ...plain, where }, null, null))),
      ruledCopy(ruled),
      session.client.query(copyStreams.from(copyIn(temp))),
    );
    const result = await compareTable(session.client, right, there, temp);
    return { ...result, table: `${schema}.${name}` };
  } finally {
    await session.close();
  }
}
