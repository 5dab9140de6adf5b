/** Chunk by chunk, in one snapshot of the source: each chunk with its progress in one transaction of the target. */
import { pipeline } from 'node:stream/promises';
import { cancelled, DroverError, must, type Share, sleep } from '@drover/core';
import { inTransaction } from '@drover/pg';
import copyStreams from 'pg-copy-streams';
import { ruledCopy } from '../ruled-copy.ts';
import type { TenantTable } from '../scope.ts';
import type { SessionClient } from '../sessions.ts';
import type { Pass } from './begin.ts';
import { boundQuery, copyIn, copyOut, countLeft } from './chunk.ts';
import { type CopyContext, type Job, report } from './context.ts';
import { type TableProgress, tableName, writeProgress } from './record.ts';
import { requireWanted } from './wanted.ts';

const nothing = (table: TenantTable): TableProgress => ({
  oid: table.oid,
  key: table.key?.map(({ name }) => name) ?? null,
  rows: 0,
  cursor: null,
  done: false,
});

/** @throws DroverError `copy.failed` with the table's name */
export async function copyTables(
  context: CopyContext,
  job: Job,
  pass: Pass,
  reader: SessionClient,
): Promise<void> {
  const { tally } = job;
  const copied = Object.values(pass.progress).reduce((sum, p) => sum + p.rows, pass.start.copied);
  tally.begin(copied, await rowsLeft(pass, reader));
  report(context, job, { phase: 'copying', rows: tally.rows, total: tally.total });
  const turns = context.turnsOf?.(job.tenant);
  try {
    await copyAll(context, job, { pass, reader, snapshot: await snapshotOf(reader), turns });
  } finally {
    turns?.leave();
  }
}

async function copyAll(context: CopyContext, job: Job, copying: Copying): Promise<void> {
  const { pass, reader, turns } = copying;
  const { tally } = job;
  for (const table of pass.tables) {
    const name = tableName(table);
    let at = pass.progress[name] ?? nothing(table);
    while (!at.done) {
      if (context.signal.aborted) throw cancelled();
      await requireWanted(context, job);
      const turn = await turns?.take(context.signal);
      const started = performance.now();
      const snapshot = wholeBy(copying, table, at);
      const chunk: Chunk = { reader, table, at, snapshot, bytes: 0 };
      const next = await nextChunk(context, job, chunk).finally(() => turn?.done(chunk.bytes));
      if (next === null) break;
      const rows = next.rows - at.rows;
      at = next;
      tally.add(rows);
      context.onRows(rows);
      report(context, job, { phase: 'copying', table: name, rows: tally.rows, total: tally.total });
      await context.failpoint?.('chunk');
      const waitMs = await context.giveWayMs?.(job.to, performance.now() - started);
      if (waitMs !== undefined && waitMs > 0) await sleep(waitMs, context.signal);
    }
  }
}

/** The snapshot in which all of the table is copied, with this chunk; null: some of it came, or comes, by another. */
function wholeBy({ pass, snapshot }: Copying, table: TenantTable, at: TableProgress): string | null {
  if (table.key === null) return snapshot;
  const begins = at.cursor === null && at.rows === 0;
  return pass.start.missed === null && (begins || at.snapshot === snapshot) ? snapshot : null;
}

interface Copying {
  readonly pass: Pass;
  readonly reader: SessionClient;
  /** Of the reader: pg_snapshot as text. */
  readonly snapshot: string;
  readonly turns: Share | undefined;
}

interface Chunk {
  readonly reader: SessionClient;
  readonly table: TenantTable;
  readonly at: TableProgress;
  /** {@link wholeBy} */
  readonly snapshot: string | null;
  /** That were copied. */
  bytes: number;
}

/** Null: nothing is left of the table. */
async function nextChunk(context: CopyContext, job: Job, chunk: Chunk): Promise<TableProgress | null> {
  const { reader, table, at } = chunk;
  try {
    if (table.key === null) return await copyChunk(job, chunk, null);
    const found = await reader.query<Record<string, string>>(boundQuery(table, at.cursor, context.chunkRows));
    const row = found.rows[0];
    if (row === undefined) return null;
    return await copyChunk(
      job,
      chunk,
      table.key.map((_, i) => row[`k${i}`] ?? ''),
    );
  } catch (error) {
    throw tableError(error, job, table);
  }
}

/** Up to the key `upTo`; without one, all that there is. */
async function copyChunk(job: Job, chunk: Chunk, upTo: readonly string[] | null): Promise<TableProgress> {
  const { reader, table, at, snapshot } = chunk;
  const { target, tenant } = job;
  return inTransaction(target, async () => {
    const sink = target.query(copyStreams.from(copyIn(table)));
    const rows = reader.query(copyStreams.to(copyOut(table, at.cursor, upTo)));
    rows.on('data', (piece: Buffer) => {
      chunk.bytes += piece.length;
    });
    await (table.ruled === undefined ? pipeline(rows, sink) : pipeline(rows, ruledCopy(table.ruled), sink));
    const next = {
      ...nothing(table),
      ...{ rows: at.rows + sink.rowCount, cursor: upTo, done: upTo === null },
      ...(snapshot === null ? {} : { snapshot }),
    };
    await writeProgress(target, tenant, table, next);
    return next;
  });
}

async function snapshotOf(reader: SessionClient): Promise<string> {
  const { rows } = await reader.query<{ text: string }>(
    'SELECT pg_catalog.pg_current_snapshot()::text AS text',
  );
  return must(rows[0], 'the snapshot').text;
}

/** What a full read of the pass would still bring. */
async function rowsLeft(pass: Pass, reader: SessionClient): Promise<number> {
  let left = 0;
  for (const table of pass.tables) {
    const at = pass.progress[tableName(table)] ?? nothing(table);
    if (at.done) continue;
    const { rows } = await reader.query<{ n: number }>(countLeft(table, at.cursor));
    left += rows[0]?.n ?? 0;
  }
  return left;
}

function tableError(error: unknown, job: Job, table: TenantTable): unknown {
  if (error instanceof DroverError) return error;
  const { code } = error as { code?: unknown };
  const sqlstate = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
  return new DroverError('copy.failed', `${tableName(table)} could not be copied to ${job.to}`, {
    cause: error,
    facts: { table: tableName(table), ...(sqlstate === undefined ? {} : { sqlstate }) },
    ...(sqlstate === undefined
      ? {}
      : { hint: `the row is described at ${job.to} in drover.copy, column error` }),
  });
}
