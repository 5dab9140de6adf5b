import { BlockWriter, type Packer, type StreamedHeader } from '@drover/block';
import { clusterId, epoch, LSN_ZERO, type Lsn, tenantId } from '@drover/core';

export const ACME = tenantId('acme');

/** A message of the bus: a block of `acme` with one logical message for each of `contents`. */
export function messageOf(
  contents: readonly string[],
  { streamed, packer }: { streamed?: StreamedHeader | undefined; packer?: Packer } = {},
) {
  const writer = new BlockWriter();
  writer.begin(9n as Lsn, 0n, 1);
  for (const content of contents) writer.message(9n as Lsn, 'drover.test', Buffer.from(content));
  const header = {
    source: clusterId('east'),
    database: 'app',
    tenant: ACME,
    epoch: epoch(1),
    systemId: '1',
    generation: 1,
    firstLsn: 9n as Lsn,
    lastLsn: 9n as Lsn,
    part: 0,
    complete: true,
    commitTimeUs: 0n,
    ...(streamed === undefined ? {} : { streamed }),
  };
  const place = { seq: 7, firstSeq: 7, timeMs: 0, pending: 0, traceparent: undefined, safeLsn: LSN_ZERO };
  return { ...place, token: 'acme', data: writer.finish(header, packer) };
}
