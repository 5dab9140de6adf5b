/**
 * What an error from PostgreSQL or from the way to it means for the caller. Decided by SQLSTATE (manual, appendix
 * A) and errno; by text only where the `pg` library gives no code. Pure.
 */
import { DroverError } from '@drover/core';

/**
 * connection: the connection is gone or was never made; starting: the server is up but takes no work or no writes
 * yet; auth: role, password, certificate; conflict: a constraint; schema: the statement and the objects or types do
 * not fit, or a right on them is missing; cancelled: by request or timeout; resource: disk, memory, connections;
 * stale_epoch: the write fence refused (DR001).
 */
export type PgErrorKind =
  | 'connection'
  | 'starting'
  | 'auth'
  | 'conflict'
  | 'schema'
  | 'serialization'
  | 'deadlock'
  | 'cancelled'
  | 'resource'
  | 'stale_epoch'
  | 'other';

export interface PgErrorClass {
  readonly kind: PgErrorKind;
  /** Present when the server said so itself. */
  readonly sqlstate?: string;
}

/** SQLSTATE of the write fence, raised by `drover.writer()`. */
export const STALE_EPOCH_SQLSTATE = 'DR001';

/** Whole codes first, where they differ from their class. */
const BY_CODE: Readonly<Record<string, PgErrorKind>> = {
  [STALE_EPOCH_SQLSTATE]: 'stale_epoch',
  '25006': 'starting', // read_only_sql_transaction: a standby, or a primary made read-only
  '25P03': 'connection', // idle_in_transaction_session_timeout ends the session
  '25P04': 'connection', // transaction_timeout ends the session
  '40001': 'serialization',
  '40002': 'conflict', // transaction_integrity_constraint_violation
  '40003': 'connection', // statement_completion_unknown
  '40P01': 'deadlock',
  '42601': 'other', // syntax_error: a bug of ours
  '44000': 'conflict', // with_check_option_violation
  '55P03': 'cancelled', // lock_not_available: lock_timeout or NOWAIT
  '57014': 'cancelled', // query_canceled, statement_timeout
  '57P01': 'connection', // admin_shutdown
  '57P02': 'connection', // crash_shutdown
  '57P03': 'starting', // cannot_connect_now
  '57P04': 'connection', // database_dropped
  '57P05': 'connection', // idle_session_timeout
  '58030': 'resource', // io_error
};

const BY_CLASS: Readonly<Record<string, PgErrorKind>> = {
  '08': 'connection',
  '22': 'schema', // data exceptions: value and type do not fit
  '23': 'conflict',
  '28': 'auth',
  '3D': 'schema',
  '3F': 'schema',
  '42': 'schema',
  '53': 'resource',
};

const ERRNO_CONNECTION: ReadonlySet<string> = new Set([
  'EADDRNOTAVAIL',
  'EAI_AGAIN',
  'EAI_FAIL',
  'ECONNABORTED',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTDOWN',
  'EHOSTUNREACH',
  'ENETDOWN',
  'ENETRESET',
  'ENETUNREACH',
  'ENOENT', // socket file of a server that is down
  'ENOTCONN',
  'ENOTFOUND',
  'EPIPE',
  'EPROTO', // a TLS record that is none
  'ETIMEDOUT',
  'ERR_SOCKET_CLOSED',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

const ERRNO_RESOURCE: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);

/** OpenSSL's verification results as Node names them, and Node's own. */
const CERTIFICATE = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA)/;

export function classifyPgError(error: unknown): PgErrorClass {
  let wrapped: PgErrorClass | undefined;
  const seen = new Set<unknown>();
  for (let at: unknown = error; at instanceof Error && !seen.has(at); at = at.cause) {
    seen.add(at);
    // The cause knows more than our wrapping, which speaks when the cause says nothing.
    if (at instanceof DroverError) wrapped ??= ofDroverError(at);
    else {
      const found = classifyOne(at);
      if (found !== undefined) return found;
    }
  }
  return wrapped ?? { kind: 'other' };
}

function classifyOne(error: Error): PgErrorClass | undefined {
  if (error.name === 'AbortError') return { kind: 'cancelled' };
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string') {
    // A server's error always has a severity beside its code; errno names may look like a SQLSTATE ("EPIPE").
    if ('severity' in error && /^[0-9A-Z]{5}$/.test(code)) {
      return { kind: BY_CODE[code] ?? BY_CLASS[code.slice(0, 2)] ?? 'other', sqlstate: code };
    }
    if (ERRNO_CONNECTION.has(code)) return { kind: 'connection' };
    if (ERRNO_RESOURCE.has(code)) return { kind: 'resource' };
    if (CERTIFICATE.test(code)) return { kind: 'auth' };
  }
  // Several addresses were tried: the first failure speaks for all.
  if (error instanceof AggregateError && error.errors.length > 0) return classifyPgError(error.errors[0]);
  return ofLibraryText(error.message);
}

function ofDroverError(error: DroverError): PgErrorClass | undefined {
  if (error.code === 'pg.unreachable') return { kind: 'connection' };
  if (error.code === 'pg.auth') return { kind: 'auth' };
  if (error.disposition === 'cancelled') return { kind: 'cancelled' };
  return undefined;
}

/** Errors `pg` 8 and `pg-pool` 3 throw without a code. */
function ofLibraryText(message: string): PgErrorClass | undefined {
  if (message.startsWith('Connection terminated')) return { kind: 'connection' };
  if (message === 'timeout expired' || message === 'Query read timeout') return { kind: 'connection' };
  if (/^Client (has encountered a connection error|was closed)/.test(message)) return { kind: 'connection' };
  if (message === 'There was an error establishing an SSL connection') return { kind: 'connection' };
  if (message === 'The server does not support SSL connections') return { kind: 'auth' };
  if (/^(SASL|SCRAM)/.test(message)) return { kind: 'auth' };
  if (message === 'timeout exceeded when trying to connect') return { kind: 'resource' };
  return undefined;
}
