/** What nats.js throws, in our words: one meaning, one code. */
import { DroverError, describeError } from '@drover/core';
import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';

/** Error codes of the server (its errors.json) that mean "no room now": account, server, storage, memory, stream limits, too many at once. */
const FULL: ReadonlySet<number> = new Set([10002, 10023, 10047, 10028, 10077, 10167]);
/** Wrong last sequence, for a sequence named or not. */
const CONFLICT: ReadonlySet<number> = new Set([10071, 10164]);

export function isFull(error: unknown): boolean {
  return error instanceof JetStreamApiError && FULL.has(error.code);
}

export function isConflict(error: unknown): boolean {
  return error instanceof JetStreamApiError && CONFLICT.has(error.code);
}

export function isStreamMissing(error: unknown): boolean {
  return error instanceof JetStreamApiError && error.code === 10059;
}

/** Not ours to translate: wrong arguments are bugs. */
const OF_NATS = [
  JetStreamApiError,
  JetStreamError,
  errors.AuthorizationError,
  errors.ClosedConnectionError,
  errors.ConnectionError,
  errors.DrainingConnectionError,
  errors.NoRespondersError,
  errors.PermissionViolationError,
  errors.ProtocolError,
  errors.RequestError,
  errors.TimeoutError,
];

/** A DroverError that says the same; what is not of the bus stays as it is. */
export function busError(error: unknown, doing: string): unknown {
  if (error instanceof DroverError) return error;
  if (isFull(error)) {
    return new DroverError('bus.full', `${doing}: ${describeError(error)}`, {
      cause: error,
      hint: 'free storage of the nats-server, or raise max_bytes of the stream',
    });
  }
  const jetStreamOff = error instanceof Error && error.name === 'JetStreamNotEnabled'; // a class the library keeps to itself
  if (!jetStreamOff && !OF_NATS.some((kind) => error instanceof kind)) return error;
  return new DroverError('bus.unreachable', `${doing}: ${describeError(error)}`, {
    cause: error,
    hint: 'is NATS up, with JetStream? `drover status` says what answers',
  });
}
