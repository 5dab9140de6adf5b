/** What an ErrorResponse of the server means to the client's transaction. */
import type { PgErrorSink } from '../metrics.ts';
import { errorResponse } from '../protocol/builders.ts';
import { errorFields } from '../protocol/fields.ts';

/** The write fence: this cluster does not take the tenant's writes under this epoch. */
const STALE_EPOCH = 'DR001';

export type ErrorMeaning =
  /** Forwarded as it is. `planOutdated`: the plan of the statement bound last is of no use any more. */
  | { readonly kind: 'plain'; readonly planOutdated: boolean }
  /** The server ends the connection; it is told when the connection has ended. */
  | { readonly kind: 'farewell'; readonly code: string; readonly message: string }
  /** The tenant has moved. */
  | { readonly kind: 'moved' };

const PLAIN: ErrorMeaning = { kind: 'plain', planOutdated: false };
const OUTDATED: ErrorMeaning = { kind: 'plain', planOutdated: true };
const MOVED: ErrorMeaning = { kind: 'moved' };

export function meaningOf(b: Buffer, start: number, end: number, errors: PgErrorSink): ErrorMeaning {
  const { severity, code, message } = errorFields(b, start, end);
  if (severity === 'FATAL' || severity === 'PANIC') return { kind: 'farewell', code, message };
  if (code === STALE_EPOCH) return MOVED;
  errors.count(code);
  // plancache.c, RevalidateCachedQuery: "cached plan must not change result type".
  return code === '0A000' && /cached plan/.test(message) ? OUTDATED : PLAIN;
}

/** Told when a transaction cannot begin again at the tenant's new cluster. */
export const MOVED_IN_TRANSACTION = errorResponse({
  severity: 'ERROR',
  code: '40001',
  message: 'the tenant moved to another cluster during this transaction',
  hint: 'Retry the transaction.',
});
