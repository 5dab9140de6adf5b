/** FailoverService. */
import { callRpc } from '@drover/bus';
import type { FailoverService, Handlers, ListFailoverHistoryRequest } from '@drover/rpc';
import { type ControlContext, limitOf, requestIdOf, tenantOf } from '../context.ts';
import { time, verdictMessage } from '../messages.ts';
import { ask, askFailover, list, table, text } from '../peers.ts';
import { failoverTenant } from './failover-tenant.ts';

const HISTORY_DEFAULT = 100;
const HISTORY_MAX = 1000;
/** Longest silence while the history is read. */
const HISTORY_PATIENCE_MS = 15_000;

export function failoverHandlers(context: ControlContext): Handlers<typeof FailoverService> {
  const { bus } = context;
  const setPaused = async (paused: boolean, request: { requestId: string; who: string }) => {
    requestIdOf(request.requestId);
    const by = request.who === '' ? 'unknown' : request.who;
    const answer = table(await ask(bus, paused ? 'failover.pause' : 'failover.resume', { by }));
    context.log.info(paused ? 'automatic failover paused' : 'automatic failover resumed', { by });
    return { paused: answer['paused'] === true };
  };
  return {
    failoverTenant: (request, { signal }) => failoverTenant(context, request, signal),
    getFailoverStatus: async () => {
      const { leader, auto, paused, clusters } = await askFailover(bus);
      return { leader, auto, paused, clusters: clusters.map(verdictMessage) };
    },
    pauseFailover: (request) => setPaused(true, request),
    resumeFailover: (request) => setPaused(false, request),
    listFailoverHistory: (request, { signal }) => listHistory(context, request, signal),
  };
}

async function listHistory(
  context: ControlContext,
  request: ListFailoverHistoryRequest,
  signal: AbortSignal,
) {
  const question = {
    limit: limitOf(request.limit, HISTORY_DEFAULT, HISTORY_MAX),
    ...(request.tenant === '' ? {} : { tenant: tenantOf(request.tenant) }),
  };
  const answer = await callRpc(context.bus, 'failover.history', question, {
    timeoutMs: HISTORY_PATIENCE_MS,
    signal,
  });
  return {
    events: list(table(answer)['events']).map((event) => {
      const fields = table(event['fields']);
      return {
        ...time('at', text(event['at'])),
        kind: text(event['kind']),
        tenant: text(fields['tenant']),
        detail: JSON.stringify(fields),
      };
    }),
  };
}
