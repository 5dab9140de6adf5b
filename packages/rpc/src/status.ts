/**
 * Errors across gRPC: a DroverError travels as a status with its code in trailing metadata `drover-code` and its hint in
 * `drover-hint`, and comes out as the same DroverError. The status follows from the code alone, never from a text.
 */
import { CATALOGUE, DroverError, describeError, type ErrorCode } from '@drover/core';
import * as grpc from '@grpc/grpc-js';

const CODE_KEY = 'drover-code';
const HINT_KEY = 'drover-hint';

const { status } = grpc;

/** Codes that are not named here are `INTERNAL`, or `UNAVAILABLE` when trying again may help. */
const STATUS: Partial<Record<ErrorCode, grpc.status>> = {
  'rpc.invalid': status.INVALID_ARGUMENT,
  'config.invalid_name': status.INVALID_ARGUMENT,
  'rpc.unauthenticated': status.UNAUTHENTICATED,
  'tenant.unknown': status.NOT_FOUND,
  'tenant.exists': status.ALREADY_EXISTS,
  'tenant.no_replica': status.FAILED_PRECONDITION,
  'tenant.transformed': status.FAILED_PRECONDITION,
  'pg.not_set_up': status.FAILED_PRECONDITION,
  'pg.auth': status.FAILED_PRECONDITION,
  'tenant.busy': status.ABORTED,
  'placement.conflict': status.ABORTED,
  'placement.stale_epoch': status.ABORTED,
  'failover.drain_timeout': status.ABORTED,
  'verify.failed': status.ABORTED,
  'internal.cancelled': status.CANCELLED,
};

/** Statuses after which the very same request, with its request id, may be sent again. */
export const RETRYABLE: ReadonlySet<grpc.status> = new Set([status.UNAVAILABLE, status.ABORTED]);

export function statusCodeOf(code: ErrorCode): grpc.status {
  return STATUS[code] ?? (CATALOGUE[code].disposition === 'retry' ? status.UNAVAILABLE : status.INTERNAL);
}

/** What a caller is told. Of an error that is not ours it learns the message only; the server logs the rest. */
export function toStatus(error: unknown): Pick<grpc.StatusObject, 'code' | 'details' | 'metadata'> {
  const metadata = new grpc.Metadata();
  if (!(error instanceof DroverError))
    return { code: status.INTERNAL, details: describeError(error), metadata };
  metadata.set(CODE_KEY, error.code);
  // Metadata values are ASCII (gRPC over HTTP/2, Custom-Metadata).
  if (error.hint !== undefined) metadata.set(HINT_KEY, encodeURIComponent(error.hint));
  return { code: statusCodeOf(error.code), details: describeError(withoutHint(error)), metadata };
}

/** The causes are part of what is told, the hint travels by itself. */
function withoutHint(error: DroverError): DroverError {
  return error.hint === undefined
    ? error
    : new DroverError(error.code, error.message, { cause: error.cause });
}

/** The DroverError that a call to `address` failed with. */
export function fromStatus(error: unknown, address: string): DroverError {
  if (error instanceof DroverError) return error;
  const failure = isServiceError(error) ? error : undefined;
  const code = text(failure, CODE_KEY);
  if (isErrorCode(code)) {
    const hint = text(failure, HINT_KEY);
    return new DroverError(code, failure?.details ?? code, hint === undefined ? {} : { hint: decode(hint) });
  }
  return statusError(failure, error, address);
}

/** Of a status without a code of ours: from the transport, a proxy on the way, or another program. */
function statusError(failure: grpc.ServiceError | undefined, cause: unknown, address: string): DroverError {
  const at = `the control plane at ${address}`;
  if (failure?.code === status.UNAVAILABLE) {
    return new DroverError('rpc.unavailable', `the control plane does not answer at ${address}`, {
      hint: 'is it running? `drover up`, or `drover run control`',
      cause,
    });
  }
  if (failure?.code === status.DEADLINE_EXCEEDED) {
    return new DroverError('rpc.unavailable', `${at} did not answer in time`, { cause });
  }
  if (failure?.code === status.CANCELLED)
    return new DroverError('internal.cancelled', 'cancelled', { cause });
  if (failure?.code === status.UNIMPLEMENTED) {
    return new DroverError('rpc.invalid', `${at} does not know this request`, {
      hint: 'is it of the same version?',
      cause,
    });
  }
  return new DroverError('internal.assertion', `${at} failed: ${failure?.details ?? describeError(cause)}`, {
    cause,
  });
}

function isServiceError(error: unknown): error is grpc.ServiceError {
  return error instanceof Error && 'code' in error && 'details' in error && 'metadata' in error;
}

function text(error: grpc.ServiceError | undefined, key: string): string | undefined {
  return error?.metadata.get(key)[0]?.toString();
}

function isErrorCode(code: string | undefined): code is ErrorCode {
  return code !== undefined && Object.hasOwn(CATALOGUE, code);
}

function decode(hint: string): string {
  try {
    return decodeURIComponent(hint);
  } catch {
    return hint; // not sent by us
  }
}
