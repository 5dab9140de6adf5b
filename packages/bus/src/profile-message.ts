/** Reads the message of a profile: by its sequence, which the blocks that need it name. */
import type { ClusterId } from '@drover/core';
import { busError } from './bus-error.ts';
import type { Bus } from './connect.ts';
import { PROFILE_TOKEN, parseSubject, streamName } from './names.ts';

/** Its block; null: what stands there is none, or has left the stream. @throws DroverError `bus.unreachable` */
export async function readProfileMessage(
  bus: Bus,
  lane: { readonly cluster: ClusterId; readonly partition: number },
  seq: number,
): Promise<Buffer | null> {
  const name = streamName(lane.cluster, lane.partition);
  try {
    const found = await bus.read(() => bus.jsm.streams.getMessage(name, { seq }));
    if (found === null || parseSubject(found.subject)?.token !== PROFILE_TOKEN) return null;
    return Buffer.from(found.data);
  } catch (error) {
    throw busError(error, `stream ${name} cannot be read`);
  }
}
