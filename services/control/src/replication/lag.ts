/** Lag of tenants, from the apply workers. One that does not answer is named, and the rest is told. */
import type { ClusterId } from '@drover/core';
import type { Sent, TenantLagSchema } from '@drover/rpc';
import type { ControlContext } from '../context.ts';
import { lagMessage } from '../messages.ts';
import { askLag, type TenantFeed } from '../peers.ts';

export interface Feeds {
  readonly byCluster: ReadonlyMap<ClusterId, readonly TenantFeed[]>;
  readonly unreachable: readonly ClusterId[];
}

/** `tenant` empty: all. */
export async function askFeeds(context: ControlContext, tenant = ''): Promise<Feeds> {
  const byCluster = new Map<ClusterId, readonly TenantFeed[]>();
  const unreachable: ClusterId[] = [];
  await Promise.all(
    context.config.clusters.map(async ({ name }) => {
      try {
        byCluster.set(name, await askLag(context.bus, name, tenant));
      } catch {
        unreachable.push(name);
      }
    }),
  );
  return { byCluster, unreachable: unreachable.sort() };
}

export interface LagAnswer {
  readonly lags: Sent<typeof TenantLagSchema>[];
  readonly unreachable: string[];
}

/** `tenant` empty: all. The largest first; what is not known stands before it, for it may be larger. */
export async function lagOf(context: ControlContext, tenant: string): Promise<LagAnswer> {
  const { byCluster, unreachable } = await askFeeds(context, tenant);
  const lags = [...byCluster].flatMap(([target, feeds]) =>
    feeds.filter((feed) => tenant === '' || feed.tenant === tenant).map((feed) => ({ target, feed })),
  );
  const size = ({ feed }: { feed: TenantFeed }) => feed.lagSeconds ?? Number.MAX_VALUE;
  const name = ({ target, feed }: { target: ClusterId; feed: TenantFeed }) => `${feed.tenant} ${target}`;
  lags.sort((a, b) => size(b) - size(a) || (name(a) < name(b) ? -1 : 1));
  return { lags: lags.map(({ target, feed }) => lagMessage(target, feed)), unreachable: [...unreachable] };
}
