/** One message of a stream as the pipelines pass it on: decoded once, cut by transactions where needed. */
import { type BlockHeader, readHeader, type StreamedHeader } from '@drover/block';
import { HEARTBEAT_TOKEN, type InMessage } from '@drover/bus';
import { DroverError, LSN_ZERO, type Lsn, tenantFromToken } from '@drover/core';
import { parseMessage } from '../apply/messages.ts';
import { type DecodedBlock, decodeBlock, type Reading } from './decoded-block.ts';
import { unopenedBlock } from './unseal.ts';

export interface Entry {
  /** Sequence of the message (of its last chunk). */
  readonly seq: number;
  /** Where a consumer must start to see it again. */
  readonly firstSeq: number;
  /** Bytes it takes up while it waits: what bounds batches and queues. Of a part nothing is kept but its header. */
  readonly size: number;
  /** Bytes of its message in the stream. */
  readonly stored: number;
  readonly kind: 'block' | 'heartbeat' | 'elsewhere' | 'damaged' | 'part';
  readonly tenant: string;
  readonly block: DecodedBlock | null;
  /** Transactions `from` to `to - 1` of the block; the rest is not this entry's. */
  readonly from: number;
  readonly to: number;
  /** Why its body could not be read. A `block` with one is whole and lacks a key or a profile: of that the header alone is known. */
  readonly error: DroverError | null;
  readonly traceparent: string | undefined;
  /** Everything of the source that commits at or before it stands before this message. */
  readonly safeLsn: Lsn;
  /** When the bus stored it, Unix ms. */
  readonly timeMs: number;
  /** The stream has lost what was before: everything from this commit on follows. */
  readonly begin: Lsn | null;
  /** It speaks of a transaction that had not committed. A `part` is not decoded here: who writes it reads it. */
  readonly early: EarlyHeader | null;
}

/** An entry of which nothing is known but what is said of it. */
export const NO_ENTRY: Omit<Entry, 'kind' | 'tenant' | 'seq' | 'firstSeq'> = {
  size: 0,
  stored: 0,
  block: null,
  from: 0,
  to: 0,
  error: null,
  traceparent: undefined,
  safeLsn: LSN_ZERO,
  timeMs: 0,
  begin: null,
  early: null,
};

export type EarlyHeader = BlockHeader & { readonly streamed: StreamedHeader };

/** {@link Entry.size} of a part. */
const PART_BYTES = 256;

/** Never throws: a damaged block becomes an entry that parks its tenant. */
export function toEntry(message: InMessage, database: string, reading?: Reading): Entry {
  const { seq, firstSeq, traceparent, safeLsn, timeMs } = message;
  const bytes = message.data.length;
  const base = { ...NO_ENTRY, seq, firstSeq, size: bytes, stored: bytes, traceparent, safeLsn, timeMs };
  let header: BlockHeader | undefined;
  try {
    header = readHeader(message.data);
    const heartbeat = message.token === HEARTBEAT_TOKEN;
    if (header.database !== database) return { ...base, kind: 'elsewhere', tenant: '' };
    const early = earlyOf(header);
    if (early?.streamed.kind === 'part')
      return { ...base, kind: 'part', tenant: header.tenant, size: PART_BYTES, early };
    const block = decodeBlock(message.data, header, reading);
    const kind = heartbeat ? 'heartbeat' : 'block';
    const tenant = heartbeat ? '' : header.tenant;
    return {
      ...base,
      kind,
      tenant,
      block,
      to: block.transactions.length,
      begin: heartbeat ? beginOf(block) : null,
      early,
    };
  } catch (error) {
    const wrapped =
      error instanceof DroverError
        ? error
        : new DroverError('block.corrupt', 'a block could not be read', { cause: error });
    if (header !== undefined && LACKS.has(wrapped.code))
      return {
        ...base,
        kind: 'block',
        tenant: header.tenant,
        block: unopenedBlock(header),
        error: wrapped,
        early: earlyOf(header),
      };
    return { ...base, kind: 'damaged', tenant: tenantOf(message.token), error: wrapped };
  }
}

/** What the block is not to blame for. */
const LACKS: ReadonlySet<string> = new Set(['block.sealed', 'block.profile']);

function earlyOf(header: BlockHeader): EarlyHeader | null {
  const { streamed } = header;
  return streamed === undefined ? null : { ...header, streamed };
}

/** Only readers write such a block, under a token that is no tenant's. */
function beginOf(block: DecodedBlock): Lsn | null {
  for (const { messages } of block.transactions) {
    for (const raw of messages) {
      const message = parseMessage(raw);
      if (message?.kind === 'begin') return message.lsn;
    }
  }
  return null;
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
