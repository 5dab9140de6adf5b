/** Lists cut so that each part fits into a message: clients refuse those of 4 MiB and more unless told otherwise. Pure. */
import { create, type DescMessage, toBinary } from '@bufbuild/protobuf';
import type { Sent } from './definitions.ts';

/** Room for the items of a list, bytes: half of what clients take, so that one more large item and the other fields fit, too. */
const LIST_BYTES_MAX = 2 * 1024 * 1024;
/** Field number and length. */
const ITEM_OVERHEAD_BYTES = 6;

/** In order. An item larger than the room is alone in its part. */
export function* inMessages<D extends DescMessage>(
  schema: D,
  items: Iterable<Sent<D>>,
  room = LIST_BYTES_MAX,
): Generator<Sent<D>[]> {
  let part: Sent<D>[] = [];
  let size = 0;
  for (const item of items) {
    const bytes = toBinary(schema, create(schema, item)).length + ITEM_OVERHEAD_BYTES;
    if (part.length > 0 && size + bytes > room) {
      yield part;
      part = [];
      size = 0;
    }
    part.push(item);
    size += bytes;
  }
  if (part.length > 0) yield part;
}

/** As many items from the beginning as fit into one message. */
export function firstMessage<D extends DescMessage>(
  schema: D,
  items: Iterable<Sent<D>>,
  room = LIST_BYTES_MAX,
): Sent<D>[] {
  for (const part of inMessages(schema, items, room)) return part;
  return [];
}
