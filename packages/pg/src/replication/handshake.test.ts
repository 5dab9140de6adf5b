import { once } from 'node:events';
import { Socket } from 'node:net';
import { parseLsn } from '@drover/core';
import { expect, test } from 'vitest';
import { enterCopyBoth, startCommand } from './handshake.ts';

test('every name is quoted, and once more inside the list of publications', () => {
  expect(
    startCommand({
      slot: 'drover_app',
      publication: 'a"b',
      startLsn: parseLsn('16/B374D848'),
      protoVersion: 4,
      binary: true,
    }),
  ).toBe(
    `START_REPLICATION SLOT "drover_app" LOGICAL 16/B374D848 (proto_version '4', publication_names '"a""b"', messages 'true', origin 'none', binary 'true')`,
  );
});

test('a connection lost before the command is noticed at once, not after the time of an answer', async () => {
  const socket = new Socket();
  socket.destroy();
  await once(socket, 'close');
  await expect(enterCopyBoth(socket, 'START_REPLICATION')).rejects.toMatchObject({ code: 'pg.unreachable' });
});
