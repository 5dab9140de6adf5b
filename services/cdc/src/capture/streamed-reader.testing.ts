/** For tests: a stream read as apply does, by the rules of docs/adr/0007-streamed-transactions.md and nothing else. */
import { type BlockHeader, type StreamedCommit, walkBlock } from '@drover/block';
import { BARRIER_PREFIX } from '@drover/pg';
import { columnsOf } from './source-script.testing.ts';
import { RUN_PREFIX } from './streamed.ts';

/** Of each tenant the first column of its inserted rows, and the numbers that its barriers have for names. */
export type Rows = Record<string, number[]>;

export interface Stored {
  readonly token: string;
  readonly block: Buffer;
  readonly header: BlockHeader;
}

interface Tenant {
  lsn: bigint;
  readonly rows: number[];
  /** Of a transaction in parts that is not complete. */
  parts: { readonly lsn: bigint; readonly rows: number[] } | null;
}

interface Read {
  readonly transactions: {
    readonly lsn: bigint;
    readonly rows: { readonly id: number; readonly sub: number }[];
  }[];
}

export function rowsOfStream(stream: readonly Stored[]): Rows {
  const tenants = new Map<string, Tenant>();
  stream.forEach((message, i) => {
    const { token, header } = message;
    const { streamed } = header;
    if (token.startsWith('_') || streamed?.kind === 'part') return;
    const tenant = tenants.get(token) ?? { lsn: 0n, rows: [], parts: null };
    tenants.set(token, tenant);
    if (header.lastLsn <= tenant.lsn) return;
    if (streamed !== undefined && tenant.parts?.lsn === header.lastLsn)
      throw new Error('a commit where the next part should be');
    if (streamed?.kind === 'commit') tenant.rows.push(...again(stream.slice(0, i), token, streamed));
    else if (header.complete && header.part === 0) whole(tenant, read(message));
    else if (!part(tenant, header, read(message))) return;
    tenant.lsn = header.lastLsn;
    tenant.parts = null;
  });
  return Object.fromEntries(
    [...tenants].flatMap(([token, { rows }]) => (rows.length > 0 ? [[token, rows]] : [])),
  );
}

function whole(tenant: Tenant, { transactions }: Read): void {
  for (const { lsn, rows } of transactions)
    if (lsn > tenant.lsn) tenant.rows.push(...rows.map(({ id }) => id));
}

/** True: the transaction is complete with it. */
function part(tenant: Tenant, header: BlockHeader, { transactions }: Read): boolean {
  if (header.part === 0) tenant.parts = { lsn: header.lastLsn, rows: [] };
  const { parts } = tenant;
  if (parts === null || parts.lsn !== header.lastLsn) throw new Error('a part without those before it');
  parts.rows.push(...transactions.flatMap(({ rows }) => rows.map(({ id }) => id)));
  if (header.complete) tenant.rows.push(...parts.rows);
  return header.complete;
}

/** Sequences count from 1, and what a commit is of stands behind `fromSeq`. */
function again(before: readonly Stored[], token: string, commit: StreamedCommit): number[] {
  const { attempt, xid, fromSeq, parts } = commit;
  const mine = before.slice(fromSeq).filter(({ header: { streamed } }) => {
    return (
      streamed !== undefined &&
      streamed.kind !== 'session' &&
      streamed.attempt === attempt &&
      streamed.xid === xid
    );
  });
  const rolledBack = new Set<number>();
  for (const { header } of mine)
    if (header.streamed?.kind === 'rollback') rolledBack.add(header.streamed.subxid);
  if (rolledBack.size > 0 && !commit.rollbacks)
    throw new Error('the commit does not say that there were rollbacks');
  const found = mine.filter((m) => m.token === token && m.header.streamed?.kind === 'part');
  found.forEach(({ header }, i) => {
    if (header.part !== i) throw new Error(`part ${header.part} in the place of part ${i}`);
  });
  if (found.length !== parts) throw new Error(`${found.length} of ${parts} parts`);
  const rows = found.flatMap((m) => read(m).transactions.flatMap((tx) => tx.rows));
  return rows.flatMap(({ id, sub }) => (rolledBack.has(sub) ? [] : [id]));
}

function read({ block }: Stored): Read {
  const transactions: Read['transactions'] = [];
  let sub = 0;
  walkBlock(block, {
    relation: () => {},
    begin: (lsn) => transactions.push({ lsn, rows: [] }),
    insert: (_, bytes, start, end) => {
      const id = Number(columnsOf(bytes, start, end).split(',')[0]);
      transactions.at(-1)?.rows.push({ id, sub });
    },
    update: () => {},
    delete: () => {},
    truncate: () => {},
    message: (_, prefix, content) => {
      const said = JSON.parse(content.toString()) as { readonly x: number; readonly id: string };
      if (prefix === RUN_PREFIX) sub = said.x;
      if (prefix === BARRIER_PREFIX) transactions.at(-1)?.rows.push({ id: Number(said.id), sub });
    },
  });
  return { transactions };
}
