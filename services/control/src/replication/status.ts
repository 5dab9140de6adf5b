/** GetStatus: every part is asked; what does not answer is reported as such and fails nothing. */
import type { Bus } from '@drover/bus';
import { describeError, sleep } from '@drover/core';
import type { GetStatusResponseSchema, Sent } from '@drover/rpc';
import type { ControlContext } from '../context.ts';
import { verdictMessage } from '../messages.ts';
import {
  askApply,
  askFailover,
  askMigration,
  askReader,
  type FailoverState,
  type PartState,
} from '../peers.ts';
import { askFeeds } from './lag.ts';

interface Component {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

/** Leases of proxies are `proxy.<id>`. */
const PROXY_LEASES = 'proxy.';
/** A server that stands still keeps its connections: only an answer shows that it is there. */
const NATS_PATIENCE_MS = 2000;

export async function statusOf(context: ControlContext): Promise<Sent<typeof GetStatusResponseSchema>> {
  const { bus, config, view } = context;
  const names = config.clusters.map((cluster) => cluster.name);
  const [parts, failover, feeds] = await Promise.all([
    Promise.all([
      ...names.map((name) => component(`cdc-${name}`, () => askReader(bus, name))),
      ...names.map((name) => component(`apply-${name}`, () => askApply(bus, name))),
      component('migration', () => askMigration(bus)),
      component('nats', () => askNats(bus)),
    ]),
    askFailover(bus).catch((error: unknown) => describeError(error)),
    askFeeds(context),
  ]);
  const placements = [...view.all()];
  const components = [...parts, controller(failover), proxies(context)];
  return {
    components: components.sort((a, b) => (a.name < b.name ? -1 : 1)),
    clusters: names.map((cluster) => {
      const verdict =
        typeof failover === 'string' ? undefined : failover.clusters.find((c) => c.cluster === cluster);
      return {
        verdict: verdictMessage(verdict ?? { cluster, state: '', score: 0, failing: [], observers: [] }),
        primaries: placements.filter((p) => p.primary === cluster).length,
        replicas: placements.filter((p) => p.replicas[cluster] !== undefined).length,
        parked: (feeds.byCluster.get(cluster) ?? []).filter((feed) => feed.feed === 'parked').length,
      };
    }),
    tenants: placements.length,
    moving: placements.filter((p) => p.state === 'moving').length,
  };
}

async function component(name: string, ask: () => Promise<PartState>): Promise<Component> {
  try {
    const { trouble, detail } = await ask();
    return { name, ok: trouble === null, detail: trouble ?? detail };
  } catch (error) {
    return { name, ok: false, detail: describeError(error) };
  }
}

async function askNats(bus: Bus): Promise<PartState> {
  const late = new AbortController();
  const answer = bus.nc.rtt().then(
    (ms) => ({ trouble: null, detail: `nats-server ${bus.serverVersion}, ${ms.toFixed(1)} ms` }),
    (error: unknown) => ({ trouble: `NATS does not answer: ${describeError(error)}`, detail: '' }),
  );
  const silence = sleep(NATS_PATIENCE_MS, late.signal).then(() => ({
    trouble: `NATS does not answer within ${NATS_PATIENCE_MS} ms`,
    detail: '',
  }));
  return Promise.race([answer, silence]).finally(() => late.abort());
}

function controller(state: FailoverState | string): Component {
  if (typeof state === 'string') return { name: 'failover', ok: false, detail: state };
  const automatic = state.paused ? 'paused' : state.auto ? 'on' : 'off';
  return { name: 'failover', ok: true, detail: `led by ${state.leader}, automatic failover ${automatic}` };
}

function proxies(context: ControlContext): Component {
  const live = [...context.leases.live(PROXY_LEASES)].sort();
  return {
    name: 'proxy',
    ok: live.length > 0,
    detail: live.length > 0 ? live.join(', ') : 'no proxy holds a lease',
  };
}
