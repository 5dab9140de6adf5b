/**
 * Registers a tenant: an entry in one bucket, a placement in another. Whoever creates the placement has the name, and the placement says who
 * that is; the entry is that one's in the end, however many ask at once and wherever one of them dies.
 */
import type { Kv, KvEntry } from '@drover/bus';
import { DroverError, tenantToken } from '@drover/core';
import type { Placement } from './placement.ts';
import type { Tenant } from './tenant.ts';

interface Buckets {
  readonly tenants: Kv<Tenant>;
  readonly placements: Kv<Placement>;
}

const ATTEMPTS_MAX = 20;

/** @throws DroverError `tenant.exists` unless the placement is of this very request */
export async function register(
  { tenants, placements }: Buckets,
  tenant: Tenant,
  placement: Placement,
): Promise<void> {
  const { requestId } = tenant;
  const key = tenantToken(tenant.tenant);
  const mine = requestId === undefined ? placement : { ...placement, registeredBy: requestId };
  let made = false;
  /** @throws DroverError `placement.conflict` when another was faster: to be looked at again */
  const look = async () => {
    const entry = await tenants.get(key);
    const there = (await placements.get(key))?.value;
    if (there === undefined) {
      const revision = await write(tenants, tenant, entry); // over one whose placement was never made, too
      await placements.create(key, mine);
      made = true;
      // Others may have taken the entry for that of one who died half way, or be about to: with another revision they cannot any more.
      await write(tenants, tenant, { revision });
      return;
    }
    const ours = made || (requestId !== undefined && there.registeredBy === requestId);
    if (!ours) throw new DroverError('tenant.exists', `a tenant named ${tenant.tenant} exists already`);
    if (made || entry?.value.requestId !== requestId) await write(tenants, tenant, entry);
  };
  for (let attempt = 1; ; attempt++) {
    try {
      await look();
      return;
    } catch (error) {
      const conflict = error instanceof DroverError && error.code === 'placement.conflict';
      if (!conflict || attempt >= ATTEMPTS_MAX) throw error;
    }
  }
}

/** The revision written. @throws DroverError `placement.conflict` */
function write(tenants: Kv<Tenant>, tenant: Tenant, over: Pick<KvEntry<Tenant>, 'revision'> | null) {
  const key = tenantToken(tenant.tenant);
  return over === null ? tenants.create(key, tenant) : tenants.update(key, tenant, over.revision);
}
