/** Rules of the publish stage, and the tenants' tiers where a rule asks for one. */
import type { Bus } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import type { Config } from '@drover/config';
import { needTiers, type Rule } from '@drover/transform';
import type { PublishRules } from '../capture/ruled.ts';

/** Null: everything is published as it is. Resolves when the tenants that there are are known. @throws DroverError `bus.unreachable` */
export async function openPublishRules(
  config: Config,
  rules: readonly Rule[],
  bus: Bus,
  signal: AbortSignal,
): Promise<PublishRules | null> {
  if (!rules.some((rule) => rule.stage === 'publish')) return null;
  const { secret } = config.security;
  if (!needTiers(rules, 'publish')) return { rules, secret, tierOf: () => undefined };
  const catalog = await openCatalog(bus, { replicas: config.nats.replicas });
  const view = catalog.watchPlacements(signal);
  await view.synced;
  return { rules, secret, tierOf: (tenant) => view.get(tenant)?.tier };
}
