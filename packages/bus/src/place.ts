/**
 * A place in a stream that somebody goes on from much later. A stream can be made anew, or lose its newest messages and be written on: then a
 * sequence alone means another message than before, and going on from it would pass changes over in silence.
 */
import type { ClusterId } from '@drover/core';
import { busError } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { streamName } from './names.ts';
import { lastBlock, streamState } from './stream.ts';

export interface StreamPlace {
  readonly seq: number;
  /** Which stream it was, and when the message there was stored: `<created>;<Unix ms>`. */
  readonly mark: string;
}

/** Times of one message, read in two ways, may differ by what a number of nanoseconds is rounded by. */
const SAME_MS = 1;

/** Where the newest whole block ends; see {@link lastBlock}. @throws DroverError `bus.unreachable` */
export async function lastPlace(bus: Bus, cluster: ClusterId, partition: number): Promise<StreamPlace> {
  try {
    const { seq, created, storedMs } = await lastBlock(bus, cluster, partition);
    return { seq, mark: `${created};${storedMs ?? 0}` };
  } catch (error) {
    throw busError(error, `stream ${streamName(cluster, partition)} cannot be read`);
  }
}

/** Whether the sequence means what it meant. True also when the message has left at the head of the stream: whoever reads on finds that out. */
export async function holdsPlace(
  bus: Bus,
  cluster: ClusterId,
  partition: number,
  { seq, mark }: StreamPlace,
): Promise<boolean> {
  const [created = '', storedMs = ''] = mark.split(';');
  const state = await streamState(bus, cluster, partition);
  if ((state?.created ?? '') !== created || (state?.lastSeq ?? 0) < seq) return false;
  if (seq === 0 || Number(storedMs) === 0) return true;
  const name = streamName(cluster, partition);
  const found = await bus.read(() => bus.jsm.streams.getMessage(name, { seq }));
  return found === null || Math.abs(found.time.getTime() - Number(storedMs)) <= SAME_MS;
}
