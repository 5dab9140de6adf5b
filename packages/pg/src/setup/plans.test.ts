/** The pure halves of setup: from a state found to the statements that are missing. */
import { describe, expect, it } from 'vitest';
import { grantStatements, wantedRights } from './grants.ts';
import {
  type PolicyState,
  protectStatements,
  type SecurityState,
  tenantColumnKind,
  tenantPolicies,
} from './protect-plan.ts';
import { publicationStatements } from './publication.ts';
import { attributeChange, roleStatements } from './roles.ts';
import { scramVerifier } from './scram.ts';

const table = { schema: 'public', table: 'orders', column: 'tenant', type: 'text' };
const fresh: SecurityState = {
  enabled: false,
  forced: false,
  owner: 'app',
  ownerBypasses: false,
  grantees: [],
  policies: [],
};

const passThrough = (roles: string[], goesOn: string): PolicyState => ({
  name: 'drover_passthrough',
  permissive: true,
  command: '*',
  roles,
  using: 'true',
  check: 'true',
  comment: `drover: goes on: ${goesOn}`,
});

describe('protectStatements', () => {
  it('makes restrictive policies before it switches row security on', () => {
    const statements = protectStatements(table, fresh);
    expect(statements.at(-1)).toBe('ALTER TABLE "public"."orders" ENABLE ROW LEVEL SECURITY');
    expect(statements.filter((s) => s.includes('AS RESTRICTIVE'))).toHaveLength(4);
    expect(statements).toContain(
      'CREATE POLICY "drover_delete" ON "public"."orders" AS RESTRICTIVE FOR DELETE TO "drover_tenant" USING ("tenant" OPERATOR(pg_catalog.=) (SELECT drover.writer()))',
    );
  });

  it('lets the owner and grantees of an open table go on, and forces only who does not care', () => {
    const created = (state: Partial<SecurityState>) =>
      protectStatements(table, { ...fresh, ...state }).find((s) =>
        s.startsWith('CREATE POLICY "drover_passthrough"'),
      );
    expect(created({ grantees: ['b', 'a'] })).toContain('TO "a", "app", "b", "drover_cdc"');
    expect(created({ grantees: ['a', 'public'] })).toContain('TO PUBLIC');
    expect(created({ grantees: ['a'], enabled: true })).toContain('TO "app", "drover_cdc"');
    expect(created({ grantees: ['a'], enabled: true, forced: true })).toContain('TO "drover_cdc"');
    const forces = (state: Partial<SecurityState>) =>
      protectStatements(table, { ...fresh, ...state }).some((s) => s.endsWith('FORCE ROW LEVEL SECURITY'));
    expect(forces({})).toBe(false);
    expect(forces({ ownerBypasses: true })).toBe(true);
    expect(forces({ enabled: true, forced: true })).toBe(false); // it is already
  });

  it('remembers who went on, whatever policies came since', () => {
    const state = { ...fresh, enabled: true, grantees: ['late'] };
    const next = (roles: string[], goesOn: string) =>
      protectStatements(table, { ...state, policies: [passThrough(roles, goesOn)] }).find((s) =>
        s.includes('CREATE POLICY "drover_passthrough"'),
      );
    expect(next(['app', 'drover_cdc'], 'all')).toContain('"late"');
    expect(next(['app', 'drover_cdc'], 'owner')).toBeUndefined();
    expect(next(['drover_cdc'], 'none')).toBeUndefined();
  });

  it('compares each type so that indexes serve, and refuses others', () => {
    const select = (column: object) =>
      tenantPolicies({ ...table, ...column } as typeof table).find((p) => p.command === 'r')?.using;
    expect(select({ type: 'integer' })).toContain('drover.tenant_bigint()');
    expect(select({ type: 'uuid' })).toContain('drover.tenant_uuid()');
    expect(select({ type: 'character varying(20)' })).toContain('drover.tenant()');
    expect(() => tenantPolicies({ ...table, type: 'numeric' })).toThrow(RangeError);
    expect(tenantPolicies({ schema: 's', table: 't', tenant: "o'neil" })[1]?.using).toBe(
      "'o''neil' OPERATOR(pg_catalog.=) (SELECT drover.tenant())",
    );
    for (const type of ['character(3)', 'numeric', 'json', 'text[]', 'citext'])
      expect(tenantColumnKind(type), type).toBeNull();
  });
});

describe('grantStatements', () => {
  it('grants what is missing and takes what is too much', () => {
    const all = grantStatements('TABLE t', wantedRights('tenant'), {
      drover_admin: ['SELECT'],
      drover_cdc: ['SELECT'],
      drover_apply: ['DELETE', 'INSERT', 'SELECT', 'TRUNCATE', 'UPDATE'],
      drover_tenant: ['SELECT', 'TRUNCATE'],
    });
    expect(all).toEqual([
      'REVOKE TRUNCATE ON TABLE t FROM "drover_tenant"',
      'GRANT INSERT, UPDATE, DELETE ON TABLE t TO "drover_tenant"',
    ]);
    expect(wantedRights('reference').drover_tenant).toEqual(['SELECT']);
    expect(wantedRights('hidden').drover_tenant).toEqual([]);
  });
});

describe('publicationStatements', () => {
  const state = { allTables: false, viaRoot: true, complete: true, schemas: 0 };
  const t = (name: string, partial = false) => ({ schema: 's', name, partial });

  it('names the difference only', () => {
    expect(publicationStatements(null, [], [])).toEqual([
      'CREATE PUBLICATION "drover" WITH (publish_via_partition_root = true)',
    ]);
    expect(publicationStatements(state, [t('a')], [t('a')])).toEqual([]);
    expect(publicationStatements(state, [t('a'), t('b')], [t('b'), t('c')])).toEqual([
      'ALTER PUBLICATION "drover" DROP TABLE "s"."a"',
      'ALTER PUBLICATION "drover" ADD TABLE "s"."c"',
    ]);
    expect(publicationStatements(state, [t('a', true)], [t('a')])).toEqual([
      'ALTER PUBLICATION "drover" DROP TABLE "s"."a"',
      'ALTER PUBLICATION "drover" ADD TABLE "s"."a"',
    ]);
    expect(publicationStatements({ ...state, viaRoot: false }, [], [])[0]).toContain(
      'publish_via_partition_root = true',
    );
  });
});

describe('roles', () => {
  const have = {
    login: true,
    superuser: false,
    createdb: false,
    createrole: false,
    replication: false,
    bypassrls: false,
  };

  it('changes attributes that differ', () => {
    expect(attributeChange(null, have)).toBe('LOGIN');
    expect(attributeChange(have, have)).toBe('');
    expect(attributeChange({ ...have, superuser: true, login: false }, { ...have, replication: true })).toBe(
      'LOGIN NOSUPERUSER REPLICATION',
    );
  });

  it('sets a password only when it differs, and never in clear', () => {
    expect(roleStatements('drover_tenant', have, scramVerifier('right'), 'right')).toEqual([]);
    const [sql] = roleStatements('drover_tenant', have, scramVerifier('wrong'), 'right');
    expect(sql).toMatch(/^ALTER ROLE "drover_tenant" PASSWORD 'SCRAM-SHA-256\$4096:/);
    expect(roleStatements('drover_cdc', null, null, 'right')[0]).toMatch(
      /^CREATE ROLE "drover_cdc" LOGIN REPLICATION PASSWORD /,
    );
  });
});
