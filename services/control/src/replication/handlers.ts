/** ReplicationService. */
import { DroverError, sleep } from '@drover/core';
import { type Handlers, type ReplicationService, timestampFromDate } from '@drover/rpc';
import type { ControlContext } from '../context.ts';
import { lagOf } from './lag.ts';
import { ledgerOf, resolveEntry } from './ledger.ts';
import { statusOf } from './status.ts';
import { verifyTenant } from './verify.ts';

const WATCH_DEFAULT_MS = 1000;
const WATCH_MIN_MS = 100;

export function replicationHandlers(context: ControlContext): Handlers<typeof ReplicationService> {
  return {
    getStatus: () => statusOf(context),
    getLag: (request) => lagOf(context, request.tenant),
    watchLag: async function* (request, { signal }) {
      const everyMs = request.intervalMs === 0 ? WATCH_DEFAULT_MS : request.intervalMs;
      if (everyMs < WATCH_MIN_MS)
        throw new DroverError('rpc.invalid', `interval_ms: ${everyMs} is less than ${WATCH_MIN_MS}`);
      do {
        yield { at: timestampFromDate(new Date()), ...(await lagOf(context, request.tenant)) };
      } while (await sleep(everyMs, signal));
    },
    verifyTenant: (request, { signal }) => verifyTenant(context, request, signal),
    listLedger: (request) => ledgerOf(context, request),
    resolveLedger: (request) => resolveEntry(context, request),
  };
}
