/** The headers of a message that carries a block. Pure; the formats are a contract between readers of all versions. */
import { formatLsn, type Lsn, parseLsn } from '@drover/core';

export const H_GROUP = 'Drover-Group';
export const H_LAST = 'Drover-Last';
export const H_CHUNK = 'Drover-Chunk';
export const H_TRACE = 'traceparent';
export const H_ID = 'Nats-Msg-Id';

/** `<first sequence of the flush group>;<safe LSN>`: all of the partition up to the safe LSN is before the group. */
export function formatGroup(firstSeq: number, safeLsn: Lsn): string {
  return `${firstSeq};${formatLsn(safeLsn)}`;
}

export function parseGroup(text: string): { firstSeq: number; safeLsn: Lsn } | undefined {
  const m = /^(\d{1,16});([^;]+)$/.exec(text);
  const safeLsn = m?.[2] === undefined ? undefined : lsnOf(m[2]);
  return m === null || safeLsn === undefined ? undefined : { firstSeq: Number(m[1]), safeLsn };
}

/** `<last commit LSN>;<part>;<1 when the transaction is complete>` of the block. */
export function formatLast(lastLsn: Lsn, part: number, complete: boolean): string {
  return `${formatLsn(lastLsn)};${part};${complete ? 1 : 0}`;
}

export function parseLast(text: string): { lastLsn: Lsn; part: number; complete: boolean } | undefined {
  const m = /^([^;]+);(\d{1,16});([01])$/.exec(text);
  const lastLsn = m?.[1] === undefined ? undefined : lsnOf(m[1]);
  if (m === null || lastLsn === undefined) return undefined;
  return { lastLsn, part: Number(m[2]), complete: m[3] === '1' };
}

/** What others put into a stream is no reason to fail. */
function lsnOf(text: string): Lsn | undefined {
  try {
    return parseLsn(text);
  } catch {
    return undefined;
  }
}

/** `<index>/<count>`, index from 0. */
export function parseChunk(text: string): { index: number; count: number } | undefined {
  const m = /^(\d+)\/(\d+)$/.exec(text);
  if (m === null) return undefined;
  const index = Number(m[1]);
  const count = Number(m[2]);
  return index < count ? { index, count } : undefined;
}

/**
 * Id of one message: the block's, the chunk, the sequence it is meant for and who sends it. So a resend is recognised, and neither
 * another place nor another publisher's message can be taken for it: the server would swallow what it takes for a duplicate.
 */
export function messageId(blockId: string, chunk: number, seq: number, publisher: string): string {
  return `${blockId}.${chunk}@${seq}.${publisher}`;
}

export function isMessageOf(id: string, seq: number, publisher: string): boolean {
  return id.endsWith(`@${seq}.${publisher}`);
}

export interface BlockSource {
  readonly systemId: string;
  readonly generation: number;
  /** Whose LSNs can be compared: system, generation and, where several databases feed a stream, the database. */
  readonly origin: string;
  /** As a token; empty: not named. */
  readonly database: string;
}

/** Of a block id `<systemId>.<generation>.<token>.<first LSN>.<part>[.<database>]` or a message id made of it. */
export function parseMessageId(id: string): BlockSource | undefined {
  const [systemId, generation, , , part, database] = id.split('.');
  if (systemId === undefined || generation === undefined || !/^\d+$/.test(generation)) return undefined;
  const named = part !== undefined && database !== undefined && !database.includes('@') ? database : '';
  const origin = `${systemId}.${generation}.${named}`;
  return { systemId, generation: Number(generation), origin, database: named };
}
