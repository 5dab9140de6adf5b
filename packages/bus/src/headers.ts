/** The headers of a message that carries a block. Pure; the formats are a contract between readers of all versions. */
import { formatLsn, type Lsn, parseLsn } from '@drover/core';

export const H_GROUP = 'Drover-Group';
export const H_LAST = 'Drover-Last';
export const H_CHUNK = 'Drover-Chunk';
export const H_TRACE = 'traceparent';

/** `<first sequence of the flush group>;<safe LSN>`: all of the partition up to the safe LSN is before the group. */
export function formatGroup(firstSeq: number, safeLsn: Lsn): string {
  return `${firstSeq};${formatLsn(safeLsn)}`;
}

export function parseGroup(text: string): { firstSeq: number; safeLsn: Lsn } | undefined {
  const [seq, at] = text.split(';');
  if (seq === undefined || at === undefined || !/^\d+$/.test(seq)) return undefined;
  return { firstSeq: Number(seq), safeLsn: parseLsn(at) };
}

/** `<last commit LSN>;<part>;<1 when the transaction is complete>` of the block. */
export function formatLast(lastLsn: Lsn, part: number, complete: boolean): string {
  return `${formatLsn(lastLsn)};${part};${complete ? 1 : 0}`;
}

export function parseLast(text: string): { lastLsn: Lsn; part: number; complete: boolean } | undefined {
  const [at, part, complete] = text.split(';');
  if (at === undefined || part === undefined || (complete !== '0' && complete !== '1')) return undefined;
  return { lastLsn: parseLsn(at), part: Number(part), complete: complete === '1' };
}

/** `<index>/<count>`, index from 0. */
export function parseChunk(text: string): { index: number; count: number } | undefined {
  const m = /^(\d+)\/(\d+)$/.exec(text);
  if (m === null) return undefined;
  const index = Number(m[1]);
  const count = Number(m[2]);
  return index < count ? { index, count } : undefined;
}

/** `<systemId>.<generation>.…` of a message id, or undefined. */
export function parseMessageId(id: string): { systemId: string; generation: number } | undefined {
  const [systemId, generation] = id.split('.');
  if (systemId === undefined || generation === undefined || !/^\d+$/.test(generation)) return undefined;
  return { systemId, generation: Number(generation) };
}
