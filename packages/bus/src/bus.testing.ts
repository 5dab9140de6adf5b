/** What the tests of this package share: a stream of its own per test, blocks with content that tells who wrote them. */
import { type ClusterId, clusterId, type Lsn, lsn } from '@drover/core';
import { type Bus, connectBus } from './connect.ts';
import { consume, type InMessage } from './consume.ts';
import { streamName } from './names.ts';
import type { OutMessage } from './publisher.ts';
import { ensureStream, type StreamState } from './stream.ts';

export const EAST = clusterId('east');
export const MAX_BYTES = 256 * 1024 * 1024;

let partitions = 0;

export interface Lane {
  readonly cluster: ClusterId;
  readonly partition: number;
}

/** A partition nobody else uses, with its stream. */
export async function ownStream(bus: Bus, maxBytes = MAX_BYTES): Promise<Lane & { state: StreamState }> {
  const lane = { cluster: EAST, partition: partitions++ };
  const state = await ensureStream(bus, { ...lane, replicas: 1, maxBytes, maxAgeMs: 3_600_000 });
  return { ...lane, state };
}

export function connectTo(url: string, name = 'test'): Promise<Bus> {
  return connectBus({ url, name });
}

export function at(n: number): Lsn {
  return lsn(BigInt(n));
}

/** A block of tenant `token` that ends at LSN `n`; its content is `content`. */
export function out(token: string, n: number, content: string | Buffer = `${token}:${n}`): OutMessage {
  const block = Buffer.isBuffer(content) ? content : Buffer.from(content);
  return { token, block, id: `77.1.${token}.${n.toString(16)}.0`, lastLsn: at(n), part: 0, complete: true };
}

/** The first `count` blocks from `startSeq` on. */
export async function take(bus: Bus, lane: Lane, count: number, startSeq = 1): Promise<InMessage[]> {
  const stop = new AbortController();
  const found: InMessage[] = [];
  if (count === 0) return found;
  for await (const message of consume(bus, { ...lane, startSeq, signal: stop.signal })) {
    found.push(message);
    if (found.length === count) break;
  }
  return found;
}

/** The text of every block in the stream. */
export async function contents(bus: Bus, lane: Lane): Promise<string[]> {
  const name = streamName(lane.cluster, lane.partition);
  const { state } = await bus.jsm.streams.info(name);
  const found: string[] = [];
  if (state.messages === 0) return found;
  for await (const message of consume(bus, {
    ...lane,
    startSeq: state.first_seq,
    signal: AbortSignal.timeout(20_000),
  })) {
    found.push(message.data.toString());
    if (message.seq === state.last_seq) break;
  }
  return found;
}

export function range(n: number, from = 0): number[] {
  return Array.from({ length: n }, (_, i) => from + i);
}
