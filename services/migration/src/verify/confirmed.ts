/** What two looks at a replica agree on. Pure. */
import { KEYS_MAX, type TableResult } from './compare-table.ts';

/** The second look, with only what differed in the first one, too; a table in which nothing did is equal. */
export function confirmed(
  first: readonly TableResult[],
  second: readonly TableResult[],
): readonly TableResult[] {
  return second.map((table) => {
    const earlier = first.find((t) => t.table === table.table);
    if (table.equal || earlier === undefined || earlier.equal)
      return { ...table, equal: true, differing: [] };
    // A full list may hide keys: then nothing is taken back.
    if (table.differing.length >= KEYS_MAX || earlier.differing.length >= KEYS_MAX) return table;
    const keys = table.differing.filter((key) => earlier.differing.includes(key));
    return { ...table, equal: keys.length === 0, differing: keys };
  });
}
