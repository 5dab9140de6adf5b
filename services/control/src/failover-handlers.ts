/**
 * FailoverService. A switch-over is asked for by writing it into the placement; the failover controller does it; this watches. So a
 * request that was taken is carried out even when this process dies, and asking again with the same request id only watches.
 */
import { callRpc } from '@drover/bus';
import { beginSwitchover, type Placement } from '@drover/catalog';
import { DroverError } from '@drover/core';
import type { FailoverService, Handlers } from '@drover/rpc';
import { clusterOf, type ControlContext, tenantOf } from './context.ts';
import { tenantMessage } from './messages.ts';

const RPC_TIMEOUT_MS = 5000;
const MOVE_TIMEOUT_MS = 120_000;

export function failoverHandlers(context: ControlContext): Handlers<typeof FailoverService> {
  return {
    failoverTenant: async function* (request, signal) {
      const tenant = tenantOf(request.tenant);
      const to = clusterOf(context, request.to, 'to');
      const id = request.requestId === '' ? crypto.randomUUID() : request.requestId;
      const placement = await context.catalog.changePlacement(tenant, (p) =>
        p.move?.id === id || p.lastMove?.id === id
          ? null
          : beginSwitchover(p, { id, to, reason: request.reason === '' ? 'asked for' : request.reason }),
      );
      let step = '';
      const deadline = performance.now() + MOVE_TIMEOUT_MS;
      for (let at: Placement | undefined = placement; ; ) {
        if (at?.lastMove?.id === id) {
          if (at.lastMove.outcome === 'aborted') {
            throw new DroverError('failover.drain_timeout', `called off: ${at.lastMove.error ?? 'unknown reason'}`, {
              hint: `${tenant} goes on at ${at.primary}`,
            });
          }
          yield { done: true, tenant: tenantMessage(at) };
          return;
        }
        if (at?.move?.id === id && at.move.step !== step) {
          step = at.move.step;
          yield { step };
        }
        const left = deadline - performance.now();
        if (left <= 0) {
          throw new DroverError('rpc.unavailable', `no controller has finished the move within ${MOVE_TIMEOUT_MS / 1000} s`, {
            hint: 'it stays requested; is `drover run failover` running?',
          });
        }
        const seen = step;
        at = await context.view.waitFor(
          tenant,
          (p) => p.lastMove?.id === id || (p.move?.id === id && p.move.step !== seen),
          { timeoutMs: left, signal },
        );
      }
    },

    getFailoverStatus: async () => {
      const status = (await callRpc(context.bus, 'failover.status', {}, { timeoutMs: RPC_TIMEOUT_MS })) as FailoverStatus;
      return {
        leader: status.leader,
        auto: status.auto,
        paused: status.paused,
        clusters: status.clusters.map((c) => ({ ...c, failing: [...c.failing], observers: [...c.observers] })),
      };
    },

    setFailoverPaused: async (request) => {
      const method = request.paused ? 'failover.pause' : 'failover.resume';
      await callRpc(context.bus, method, { by: request.who }, { timeoutMs: RPC_TIMEOUT_MS });
      return { paused: request.paused };
    },

    listFailoverHistory: async (request) => {
      const history = (await callRpc(
        context.bus,
        'failover.history',
        { limit: request.limit === 0 ? 100 : request.limit, ...(request.tenant === '' ? {} : { tenant: request.tenant }) },
        { timeoutMs: RPC_TIMEOUT_MS },
      )) as { events: { at: string; kind: string; fields: Record<string, unknown> }[] };
      return {
        events: history.events.map((event) => ({
          at: event.at,
          kind: event.kind,
          tenant: typeof event.fields['tenant'] === 'string' ? event.fields['tenant'] : '',
          detail: JSON.stringify(event.fields),
        })),
      };
    },
  };
}

/** Answer of `failover.status`. */
export interface FailoverStatus {
  readonly leader: string;
  readonly auto: boolean;
  readonly paused: boolean;
  readonly clusters: readonly {
    readonly cluster: string;
    readonly state: string;
    readonly score: number;
    readonly failing: readonly string[];
    readonly observers: readonly string[];
  }[];
}
