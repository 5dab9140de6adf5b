import { configFromParts } from '@drover/config';
import { SHARED, type TenantId, tenantId, UNASSIGNED } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { planTenant } from './plan-tenant.ts';

const clusters = ['east', 'west', 'north'].map((name) => ({
  name,
  host: name,
  databases: name === 'north' ? ['app'] : ['app', 'other'],
}));
const config = configFromParts({
  clusters,
  sections: { tiers: { gold: { replicas: 2 }, bronze: { replicas: 0 }, many: { replicas: 9 } } },
});

type Request = Parameters<typeof planTenant>[2];
const NOTHING = {
  requestId: 'r',
  tenant: '',
  primary: '',
  replicas: [],
  noReplicas: false,
  tier: '',
  database: '',
  user: '',
  password: '',
  hasData: false,
};
const plan = (request: Partial<Request> = {}, tenant: TenantId = tenantId('acme'), of = config) =>
  planTenant(of, tenant, { ...NOTHING, ...request } as Request);

describe('the plan of a new tenant', () => {
  it('fills in what is not given', () => {
    expect(plan()).toEqual({
      tenant: 'acme',
      primary: 'east',
      replicas: ['west'],
      tier: 'standard',
      database: 'app',
      user: 'app',
    });
  });

  it('has as many replicas as the tier asks for and there are clusters, or those that are named, or none', () => {
    expect(plan({ tier: 'gold' }).replicas).toEqual(['west', 'north']);
    expect(plan({ tier: 'many', primary: 'west' }).replicas).toEqual(['east', 'north']);
    expect(plan({ tier: 'bronze' }).replicas).toEqual([]);
    expect(plan({ replicas: ['north', 'north'] }).replicas).toEqual(['north']);
    expect(plan({ noReplicas: true, tier: 'gold' }).replicas).toEqual([]);
  });

  it('gives reference data no login', () => {
    expect(plan({ user: 'app' }, SHARED).user).toBeNull();
  });

  it('finds the database by the tenant where databases tell tenants apart', () => {
    const own = configFromParts({
      clusters: [{ name: 'east', host: 'e', databases: ['tenant_acme'] }],
      sections: { tagging: { mode: 'database' } },
    });
    expect(plan({}, tenantId('acme'), own).database).toBe('tenant_acme');
    expect(() => plan({}, tenantId('other'), own)).toThrow(/east has no database tenant_other/);
    expect(() => plan({ database: 'x' }, tenantId('acme'), own)).toThrow(
      /the database of acme is tenant_acme/,
    );
  });

  it.each<[string, Partial<Request>, RegExp]>([
    ['an unknown primary', { primary: 'south' }, /^primary: there is no cluster south/],
    ['an unknown tier', { tier: 'toString' }, /^tier: there is no tier/],
    ['an unknown replica', { replicas: ['south'] }, /^replicas: there is no cluster south/],
    ['the primary as its own replica', { replicas: ['east'] }, /^replicas: east is the primary/],
    ['replicas and none', { replicas: ['west'], noReplicas: true }, /^replicas: named, and/],
    ['a database that is not captured', { database: 'x' }, /^database: east has no database x/],
    [
      'a database that a replica lacks',
      { database: 'other', replicas: ['north'] },
      /^database: north has no database other/,
    ],
    ['a login with a dot', { user: 'a.b' }, /^user: "a.b" is not a login/],
  ])('refuses %s, naming the field', (_what, request, message) => {
    expect(() => plan(request)).toThrow(
      expect.objectContaining({ code: 'rpc.invalid', message: expect.stringMatching(message) }),
    );
  });

  it('refuses what is no tenant', () => {
    expect(() => plan({}, UNASSIGNED)).toThrow(/is not a tenant/);
  });
});
