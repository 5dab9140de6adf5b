/** One message of a stream as the pipelines pass it on: decoded once, cut by transactions where needed. */
import { type BlockHeader, readHeader } from '@drover/block';
import { HEARTBEAT_TOKEN, type InMessage } from '@drover/bus';
import { DroverError, tenantFromToken } from '@drover/core';
import { type DecodedBlock, decodeBlock } from './decoded-block.ts';

export interface Entry {
  /** Sequence of the message (of its last chunk). */
  readonly seq: number;
  /** Where a consumer must start to see it again. */
  readonly firstSeq: number;
  /** Stored bytes: what bounds batches and queues. */
  readonly size: number;
  readonly kind: 'block' | 'heartbeat' | 'elsewhere' | 'damaged';
  readonly tenant: string;
  readonly block: DecodedBlock | null;
  /** Transactions `from` to `to - 1` of the block; the rest is not this entry's. */
  readonly from: number;
  readonly to: number;
  readonly error: DroverError | null;
  readonly traceparent: string | undefined;
}

/** Never throws: a damaged block becomes an entry that parks its tenant. */
export function toEntry(message: InMessage, database: string): Entry {
  const base = {
    seq: message.seq,
    firstSeq: message.firstSeq,
    size: message.data.length,
    block: null,
    from: 0,
    to: 0,
    error: null,
    traceparent: message.traceparent,
  };
  try {
    const header = readHeader(message.data);
    const heartbeat = message.token === HEARTBEAT_TOKEN;
    if (header.database !== database) return { ...base, kind: 'elsewhere', tenant: '' };
    const block = decodeBlock(message.data, header);
    const kind = heartbeat ? 'heartbeat' : 'block';
    return { ...base, kind, tenant: heartbeat ? '' : header.tenant, block, to: block.transactions.length };
  } catch (error) {
    const wrapped =
      error instanceof DroverError
        ? error
        : new DroverError('block.corrupt', 'a block could not be read', { cause: error });
    return { ...base, kind: 'damaged', tenant: tenantOf(message.token), error: wrapped };
  }
}

function tenantOf(token: string): string {
  try {
    return tenantFromToken(token);
  } catch {
    return token;
  }
}

export function isWhole(entry: Entry): boolean {
  return entry.from === 0 && entry.block !== null && entry.to === entry.block.transactions.length;
}

/** The last transactions of the block are in the entry: when it is applied, so is the message. */
export function reachesEnd(entry: Entry): boolean {
  return entry.block === null || entry.to === entry.block.transactions.length;
}

/** One entry for each source transaction. */
export function byTransaction(entry: Entry): Entry[] {
  if (entry.block === null || entry.to - entry.from <= 1) return [entry];
  const out: Entry[] = [];
  for (let i = entry.from; i < entry.to; i++) out.push({ ...entry, from: i, to: i + 1 });
  return out;
}

export function headerOf(entry: Entry): BlockHeader | undefined {
  return entry.block?.header;
}
