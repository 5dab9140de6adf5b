import { expect, test } from 'vitest';
import { parseServerError, ServerError, type StreamPhase, streamError } from './server-error.ts';

test('fields of an ErrorResponse', () => {
  const bytes = Buffer.from('xxSFEHLER\0VERROR\0C55006\0Mslot is active\0Ddetail\0Fslot.c\0L1\0\0yy');
  const error = parseServerError(bytes, 2, bytes.length - 2);
  expect(error).toMatchObject({
    severity: 'ERROR',
    code: '55006',
    message: 'slot is active',
    detail: 'detail',
  });
  expect(() => parseServerError(Buffer.from('SERROR'), 0, 6)).toThrow(
    expect.objectContaining({ code: 'pg.stream' }),
  );
});

test.each<[string, StreamPhase, string, string, string]>([
  ['55006', 'starting', 'replication slot "s" is active for PID 123', '', 'pg.slot_active'],
  ['42704', 'starting', 'replication slot "s" does not exist', '', 'pg.slot_missing'],
  ['42704', 'streaming', 'publication "drover" does not exist', '', 'pg.not_set_up'],
  [
    '55000',
    'starting',
    'can no longer get changes from replication slot "s"',
    'This slot has been invalidated',
    'pg.slot_lost',
  ],
  ['55000', 'starting', 'can no longer access replication slot "s"', 'due to "wal_removed".', 'pg.slot_lost'],
  ['55000', 'starting', 'replication slot "s" was not created in this database', '', 'pg.not_set_up'],
  ['57P01', 'streaming', 'terminating connection due to administrator command', '', 'pg.unreachable'],
  ['57P03', 'starting', 'the database system is shutting down', '', 'pg.unreachable'],
  ['53300', 'starting', 'too many', '', 'pg.unreachable'],
  ['28000', 'starting', 'no', '', 'pg.auth'],
  ['42501', 'starting', 'permission denied to use replication slots', '', 'pg.auth'],
  ['XX000', 'streaming', 'could not map filenumber', '', 'pg.stream'],
  ['22021', 'streaming', 'invalid byte sequence', '', 'pg.stream'],
])('%s while %s (%s): %s', (code, phase, message, detail, expected) => {
  const error = streamError(new ServerError('ERROR', code, message, detail), phase, 's');
  expect(error.code).toBe(expected);
  expect(error.facts).toMatchObject({ slot: 's' });
  expect(error.cause).toBeInstanceOf(ServerError);
});

test('the holder of the slot is a fact', () => {
  const message = 'replication slot "s" is active for PID 123';
  expect(streamError(new ServerError('ERROR', '55006', message, ''), 'starting', 's').facts['pid']).toBe(123);
});
