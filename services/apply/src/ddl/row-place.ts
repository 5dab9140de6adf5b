/** Where in the source's order the rows of one relation of a block were written. Pure. */
import { LSN_ZERO, type Lsn, parseLsn } from '@drover/core';
import { type DecodedBlock, TRUNCATE } from '../changes/decoded-block.ts';
import type { RowPlace } from './versions.ts';

/**
 * Of the first of them: a source describes a table anew after each change of it, so all rows of one relation have the same changes
 * before them.
 */
export function placeOf(block: DecodedBlock, relation: number): RowPlace {
  const { generation } = block.header;
  const index = firstOf(block, relation);
  const tx = block.transactions.find(({ from, to }) => from <= index && index < to);
  let told: Lsn = LSN_ZERO;
  for (const { prefix, content, before } of tx?.messages ?? []) {
    if (prefix === 'drover.ddl.mark' && before <= index) told = markOf(content) ?? told;
  }
  return { generation, lsn: tx?.lsn ?? block.header.lastLsn, told };
}

function firstOf(block: DecodedBlock, relation: number): number {
  const direct = block.relation.indexOf(relation);
  for (const [at, { relations }] of block.truncates) {
    if (relations.includes(relation) && (direct < 0 || at < direct || block.op[direct] === TRUNCATE))
      return at;
  }
  return Math.max(0, direct);
}

function markOf(content: string): Lsn | null {
  try {
    const { told } = JSON.parse(content) as { told?: unknown };
    return typeof told === 'string' ? parseLsn(told) : null;
  } catch {
    return null;
  }
}
