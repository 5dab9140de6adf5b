/** The rows of one part of a streamed transaction, by the subtransaction they are of. Pure. */
import { DroverError, type Lsn } from '@drover/core';
import type { DecodedBlock, Truncate } from '../changes/decoded-block.ts';

/** As the reader writes it (services/cdc, capture/streamed.ts). */
const RUN_PREFIX = 'drover.run';

/** Changes `from` to `to - 1` of the block. */
export interface Run {
  /** Counts the stretches of one subtransaction's rows in the source's order, over all tenants. */
  readonly number: number;
  readonly subxid: number;
  readonly from: number;
  readonly to: number;
}

/** @throws DroverError `block.corrupt` when rows are of no subtransaction */
export function runsOf(block: DecodedBlock): Run[] {
  const marks = block.transactions.flatMap((tx) => tx.messages).filter(({ prefix }) => prefix === RUN_PREFIX);
  const runs = marks.map(({ content, before }, i): Run => {
    const { n, x } = JSON.parse(content) as { n: number; x: number };
    return { number: n, subxid: x, from: before, to: marks[i + 1]?.before ?? block.count };
  });
  if (block.count > 0 && runs[0]?.from !== 0)
    throw new DroverError(
      'block.corrupt',
      'a part of a streamed transaction does not say whose its rows are',
    );
  return runs;
}

export interface CommitPlace {
  readonly lsn: Lsn;
  readonly timeUs: bigint;
  readonly xid: number;
}

/** The part as one of a transaction that has committed there. */
export function committedAt(block: DecodedBlock, { lsn, timeUs, xid }: CommitPlace): DecodedBlock {
  const messages = block.transactions.flatMap((tx) => tx.messages);
  const kept = messages.filter(({ prefix }) => prefix !== RUN_PREFIX);
  return { ...block, transactions: [{ lsn, timeUs, xid, from: 0, to: block.count, messages: kept }] };
}

/** Without the rows of subtransactions that were rolled back. */
export function withoutRolledBack(block: DecodedBlock, rolledBack: ReadonlySet<number>): DecodedBlock {
  const runs = runsOf(block);
  if (!runs.some(({ subxid }) => rolledBack.has(subxid))) return block;
  const kept: number[] = [];
  for (const { subxid, from, to } of runs) {
    if (!rolledBack.has(subxid)) for (let i = from; i < to; i++) kept.push(i);
  }
  const truncates = new Map<number, Truncate>();
  const at = new Int32Array(kept.length * 4);
  kept.forEach((old, i) => {
    at.set(block.at.subarray(old * 4, old * 4 + 4), i * 4);
    const truncate = block.truncates.get(old);
    if (truncate !== undefined) truncates.set(i, truncate);
  });
  const pick = <T extends Uint8Array | Uint16Array>(values: T, into: T): T => {
    kept.forEach((old, i) => {
      into[i] = values[old] as number;
    });
    return into;
  };
  return {
    ...block,
    count: kept.length,
    op: pick(block.op, new Uint8Array(kept.length)),
    relation: pick(block.relation, new Uint16Array(kept.length)),
    oldKind: pick(block.oldKind, new Uint8Array(kept.length)),
    at,
    truncates,
    transactions: block.transactions.map((tx) => ({ ...tx, from: 0, to: kept.length })),
  };
}
