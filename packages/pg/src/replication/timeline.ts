/** A timeline history file (manual, 26.3.6): one ancestor a line, and where the next one branched off. Pure. */
import { type Lsn, parseLsn } from '@drover/core';

/** Where `timeline` ended on the way to the one this history is of; null: it is no ancestor. */
export function branchInHistory(content: string, timeline: number): Lsn | null {
  for (const line of content.split('\n')) {
    const [, id, lsn] = /^\s*(\d+)\s+([0-9A-Fa-f]+\/[0-9A-Fa-f]+)/.exec(line) ?? [];
    if (id !== undefined && lsn !== undefined && Number(id) === timeline) return parseLsn(lsn);
  }
  return null;
}
