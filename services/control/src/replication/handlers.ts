/** ReplicationService. */
import { DroverError, sleep } from '@drover/core';
import {
  firstMessage,
  type Handlers,
  inMessages,
  type ReplicationService,
  type Sent,
  TenantLagSchema,
  timestampFromDate,
  type WatchLagResponseSchema,
} from '@drover/rpc';
import { type ControlContext, limitOf } from '../context.ts';
import { type LagAnswer, lagOf } from './lag.ts';
import { ledgerOf, resolveEntry } from './ledger.ts';
import { statusOf } from './status.ts';
import { verifyTenant } from './verify.ts';

const WATCH_DEFAULT_MS = 1000;
const WATCH_MIN_MS = 100;
const LAG_DEFAULT = 1000;
const LAG_MAX = 5000;

export function replicationHandlers(context: ControlContext): Handlers<typeof ReplicationService> {
  return {
    getStatus: () => statusOf(context),
    getLag: async (request) => {
      const { lags, unreachable } = await lagOf(context, request.tenant);
      const largest = lags.slice(0, limitOf(request.limit, LAG_DEFAULT, LAG_MAX));
      return { lags: firstMessage(TenantLagSchema, largest), unreachable, total: lags.length };
    },
    watchLag: async function* (request, { signal }) {
      const everyMs = request.intervalMs === 0 ? WATCH_DEFAULT_MS : request.intervalMs;
      if (everyMs < WATCH_MIN_MS)
        throw new DroverError('rpc.invalid', `interval_ms: ${everyMs} is less than ${WATCH_MIN_MS}`);
      do {
        yield* moment(await lagOf(context, request.tenant));
      } while (await sleep(everyMs, signal));
    },
    verifyTenant: (request, { signal }) => verifyTenant(context, request, signal),
    listLedger: (request) => ledgerOf(context, request),
    resolveLedger: (request) => resolveEntry(context, request),
  };
}

/** As many messages as it takes. */
function* moment({ lags, unreachable }: LagAnswer): Generator<Sent<typeof WatchLagResponseSchema>> {
  const at = timestampFromDate(new Date());
  const pages = [...inMessages(TenantLagSchema, lags)];
  if (pages.length === 0) pages.push([]);
  for (const [i, page] of pages.entries()) yield { at, lags: page, unreachable, more: i < pages.length - 1 };
}
