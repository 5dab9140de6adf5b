import { DroverError } from '@drover/core';
import { expect, test } from 'vitest';
import { classifyPgError, type PgErrorKind } from './classify.ts';

const server = (code: string) => Object.assign(new Error('x'), { code, severity: 'ERROR' });
const errno = (code: string) => Object.assign(new Error('x'), { code });

test.each<[string, PgErrorKind]>([
  ['DR001', 'stale_epoch'],
  ['08006', 'connection'],
  ['57P01', 'connection'],
  ['57P02', 'connection'],
  ['25P03', 'connection'],
  ['40003', 'connection'],
  ['57P03', 'starting'],
  ['25006', 'starting'],
  ['28P01', 'auth'],
  ['28000', 'auth'],
  ['23505', 'conflict'],
  ['23503', 'conflict'],
  ['23P01', 'conflict'],
  ['44000', 'conflict'],
  ['42P01', 'schema'],
  ['42703', 'schema'],
  ['42501', 'schema'],
  ['3D000', 'schema'],
  ['3F000', 'schema'],
  ['22P03', 'schema'],
  ['22003', 'schema'],
  ['40001', 'serialization'],
  ['40P01', 'deadlock'],
  ['57014', 'cancelled'],
  ['55P03', 'cancelled'],
  ['53100', 'resource'],
  ['53300', 'resource'],
  ['58030', 'resource'],
  ['42601', 'other'],
  ['XX000', 'other'],
  ['0A000', 'other'],
  ['P0001', 'other'],
])('SQLSTATE %s is %s', (code, kind) => {
  expect(classifyPgError(server(code))).toEqual({ kind, sqlstate: code });
});

test.each<[string, PgErrorKind]>([
  ['ECONNREFUSED', 'connection'],
  ['ECONNRESET', 'connection'],
  ['EPIPE', 'connection'],
  ['ETIMEDOUT', 'connection'],
  ['ENOTFOUND', 'connection'],
  ['EMFILE', 'resource'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'auth'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'auth'],
  ['CERT_HAS_EXPIRED', 'auth'],
  ['ERR_INVALID_ARG_TYPE', 'other'],
])('errno %s is %s', (code, kind) => expect(classifyPgError(errno(code))).toEqual({ kind }));

test.each<[string, PgErrorKind]>([
  ['Connection terminated unexpectedly', 'connection'],
  ['Connection terminated due to connection timeout', 'connection'],
  ['timeout expired', 'connection'],
  ['Query read timeout', 'connection'],
  ['Client has encountered a connection error and is not queryable', 'connection'],
  ['Client was closed and is not queryable', 'connection'],
  ['There was an error establishing an SSL connection', 'connection'],
  ['The server does not support SSL connections', 'auth'],
  ['SASL: SCRAM-SERVER-FINAL-MESSAGE: server signature does not match', 'auth'],
  ['timeout exceeded when trying to connect', 'resource'],
  ['anything else', 'other'],
])('text "%s" is %s', (text, kind) => expect(classifyPgError(new Error(text))).toEqual({ kind }));

test('an errno of five letters is no SQLSTATE', () => {
  expect(classifyPgError(errno('EPIPE'))).toEqual({ kind: 'connection' });
});

test('the cause decides before its wrapping, which decides before nothing', () => {
  const wrapped = new DroverError('pg.unreachable', 'x', { cause: server('53300') });
  expect(classifyPgError(wrapped)).toEqual({ kind: 'resource', sqlstate: '53300' });
  expect(classifyPgError(new DroverError('pg.unreachable', 'x', { cause: new Error('?') })).kind).toBe(
    'connection',
  );
  expect(classifyPgError(new DroverError('pg.auth', 'x')).kind).toBe('auth');
  expect(classifyPgError(new DroverError('internal.cancelled', 'x')).kind).toBe('cancelled');
});

test('several addresses: the first speaks', () => {
  const error = new AggregateError([errno('ECONNREFUSED'), errno('EINVAL')], '');
  expect(classifyPgError(error).kind).toBe('connection');
});

test('what is no error is other, and a circle of causes ends', () => {
  const a = new Error('a');
  a.cause = a;
  expect(classifyPgError(a).kind).toBe('other');
  expect(classifyPgError('text').kind).toBe('other');
  expect(classifyPgError(undefined).kind).toBe('other');
});
