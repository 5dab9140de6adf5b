/** Tenants and placements in JetStream KV: compare-and-set writes, watched reads. */
import { type Bus, Kv } from '@drover/bus';
import { type Closeable, DroverError, type TenantId, tenantToken } from '@drover/core';
import type { Placement } from './placement.ts';
import { PlacementView } from './placement-view.ts';
import { register } from './register.ts';
import type { Tenant } from './tenant.ts';

export interface Catalog extends Closeable {
  readonly tenants: Kv<Tenant>;
  readonly placements: Kv<Placement>;
  getTenant(tenant: TenantId): Promise<Tenant | null>;
  getPlacement(tenant: TenantId): Promise<{ value: Placement; revision: number } | null>;
  /** Compare-and-set loop. `fn` may throw to refuse and gives null to leave things as they are. @throws `tenant.unknown` */
  changePlacement(tenant: TenantId, fn: (placement: Placement) => Placement | null): Promise<Placement>;
  /**
   * Registers a tenant and its placement. Repeating a request (same `requestId`) is success and changes nothing; a registration that
   * died half way is taken over. @throws DroverError `tenant.exists`
   */
  createTenant(tenant: Tenant, placement: Placement): Promise<void>;
  /** By name. */
  listTenants(): Promise<Tenant[]>;
  listPlacements(): Promise<Placement[]>;
  /** A live view; ends with the signal. */
  watchPlacements(signal: AbortSignal): PlacementView;
}

const CAS_ATTEMPTS_MAX = 50;

export async function openCatalog(bus: Bus, options: { replicas: number }): Promise<Catalog> {
  const tenants = await Kv.open<Tenant>(bus, 'drover_tenants', options);
  const placements = await Kv.open<Placement>(bus, 'drover_placements', { ...options, history: 16 });

  const changePlacement: Catalog['changePlacement'] = async (tenant, fn) => {
    for (let attempt = 1; ; attempt++) {
      const found = await placements.get(tenantToken(tenant));
      if (found === null) throw unknown(tenant);
      const next = fn(found.value);
      if (next === null) return found.value;
      try {
        await placements.update(tenantToken(tenant), next, found.revision);
        return next;
      } catch (error) {
        const conflict = error instanceof DroverError && error.code === 'placement.conflict';
        if (!conflict || attempt >= CAS_ATTEMPTS_MAX) throw error;
      }
    }
  };

  return {
    tenants,
    placements,
    changePlacement,
    getTenant: async (tenant) => (await tenants.get(tenantToken(tenant)))?.value ?? null,
    getPlacement: (tenant) => placements.get(tenantToken(tenant)),
    createTenant: (tenant, placement) => register({ tenants, placements }, tenant, placement),
    listTenants: () => readAll(tenants),
    listPlacements: () => readAll(placements),
    watchPlacements: (signal) => new PlacementView(placements, signal),
    close: async () => undefined,
  };
}

const READS_AT_ONCE = 32;

/** Every value, by key. */
async function readAll<T>(kv: Kv<T>): Promise<T[]> {
  const keys = await kv.keys();
  const out: T[] = [];
  for (let i = 0; i < keys.length; i += READS_AT_ONCE) {
    const found = await Promise.all(keys.slice(i, i + READS_AT_ONCE).map((key) => kv.get(key)));
    for (const entry of found) if (entry !== null) out.push(entry.value);
  }
  return out;
}

function unknown(tenant: TenantId): DroverError {
  return new DroverError('tenant.unknown', `there is no tenant ${tenant}`, {
    hint: '`drover tenant list` shows the known ones',
  });
}
