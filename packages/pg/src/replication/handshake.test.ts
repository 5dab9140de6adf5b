import { parseLsn } from '@drover/core';
import { expect, test } from 'vitest';
import { startCommand } from './handshake.ts';

test('every name is quoted, and once more inside the list of publications', () => {
  expect(
    startCommand({
      slot: 'drover_app',
      publication: 'a"b',
      startLsn: parseLsn('16/B374D848'),
      protoVersion: 4,
    }),
  ).toBe(
    `START_REPLICATION SLOT "drover_app" LOGICAL 16/B374D848 (proto_version '4', publication_names '"a""b"', messages 'true', origin 'none', binary 'true')`,
  );
});
