/**
 * In which form values came. A reader whose tables cannot all be sent in binary form takes everything as text (services/cdc, reader/form.ts); a
 * block is all of one form. In binary form some column of a row that has values is binary: each row names its tenant or has a key. Pure.
 */
import type { DecodedBlock } from './decoded-block.ts';
import { BINARY, columnCount, nextColumn, TEXT } from './tuple.ts';

/** By relation index: did the values of the relation's changes come as text? */
export function textRelations(block: DecodedBlock): boolean[] {
  const found = block.relations.map(() => false);
  const open = new Set(block.relations.keys());
  for (let i = 0; i < block.count && open.size > 0; i++) {
    const relation = block.relation[i] as number;
    if (!open.has(relation)) continue;
    const n = i * 4;
    const side = (block.at[n + 3] as number) > 0 ? n + 2 : n;
    const text = isText(block, block.at[side] as number, block.at[side + 1] as number);
    if (text === null) continue;
    found[relation] = text;
    open.delete(relation);
  }
  return found;
}

/** Null: the tuple has no values. */
function isText({ bytes }: DecodedBlock, start: number, end: number): boolean | null {
  if (end <= start) return null;
  let text: boolean | null = null;
  let at = start + 2;
  for (let i = 0, count = columnCount(bytes, start); i < count; i++) {
    const kind = bytes[at];
    if (kind === BINARY) return false;
    if (kind === TEXT) text = true;
    at = nextColumn(bytes, at, end);
  }
  return text;
}
