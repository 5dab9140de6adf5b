/** The tenants' tiers, where a rule of the apply stage asks for one. */
import type { Bus } from '@drover/bus';
import { openCatalog } from '@drover/catalog';
import type { TenantId } from '@drover/core';
import { needTiers, type Rule } from '@drover/transform';

/** Resolves when the tenants that there are are known. @throws DroverError `bus.unreachable` */
export async function openTiers(
  bus: Bus,
  rules: readonly Rule[],
  replicas: number,
  signal: AbortSignal,
): Promise<(tenant: TenantId) => string | undefined> {
  if (!needTiers(rules, 'apply')) return () => undefined;
  const catalog = await openCatalog(bus, { replicas });
  const view = catalog.watchPlacements(signal);
  await view.synced;
  return (tenant) => view.get(tenant)?.tier;
}
