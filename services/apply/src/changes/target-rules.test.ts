/** Blocks as a target under rules reads them. */
import { BlockWriter, KnownRelations, Opener, type Relation } from '@drover/block';
import { configFromParts } from '@drover/config';
import { clusterId, epoch, type Lsn, tenantId } from '@drover/core';
import { rulesOf } from '@drover/transform';
import { expect, it } from 'vitest';
import { describeChanges } from './describe.ts';
import { toEntry } from './entry.ts';
import { TargetRules } from './target-rules.ts';

const PEOPLE: Relation = {
  oid: 1,
  schema: 'public',
  name: 'people',
  identity: 'd',
  columns: ['id', 'tenant', 'name'].map((name) => ({ name, typeOid: 25, typmod: -1, key: name !== 'name' })),
};

function rulesFor(raw: object, cluster = 'west'): TargetRules | null {
  const config = configFromParts({
    transform: [{ tables: ['public.people'], stage: 'apply', ...raw }],
    sections: { tiers: { gold: {} } },
  });
  const { tagging } = config;
  return TargetRules.of({
    ...{ rules: rulesOf(config), secret: 's', tagging: { ...tagging, mode: 'column', column: 'tenant' } },
    ...{ database: 'app', cluster, tierOf: (tenant: string) => (tenant === 'acme' ? 'gold' : undefined) },
  });
}

const row = (...texts: string[]) =>
  Buffer.concat([
    Buffer.from([0, texts.length]),
    ...texts.flatMap((text) => {
      const head = Buffer.from('b\0\0\0\0');
      head.writeUInt32BE(Buffer.byteLength(text), 1);
      return [head, Buffer.from(text)];
    }),
  ]);

function entryOf(rules: TargetRules | null, tenant = 'acme') {
  const writer = new BlockWriter();
  writer.begin(1n as Lsn, 0n, 1);
  for (const id of ['1', '2']) {
    const bytes = row(id, tenant, `name ${id}`);
    writer.insert(writer.relation(PEOPLE), bytes, 0, bytes.length);
  }
  const place = { firstLsn: 1n as Lsn, lastLsn: 1n as Lsn, part: 0, complete: true, commitTimeUs: 0n };
  const source = { source: clusterId('east'), database: 'app', systemId: '1', generation: 1 };
  const data = writer.finish({ ...source, ...place, tenant: tenantId(tenant), epoch: epoch(1) });
  const message = { seq: 1, firstSeq: 1, token: tenant, data, timeMs: 0, pending: 0, safeLsn: 0n as Lsn };
  return toEntry({ ...message, traceparent: undefined } as never, 'app', {
    unsealing: { opener: new Opener({ find: () => null }) },
    profiling: { known: { find: () => null } },
    relations: new KnownRelations(),
    rules,
  });
}

function rowsOf(rules: TargetRules | null, tenant?: string) {
  const { block } = entryOf(rules, tenant);
  return block === null ? null : describeChanges(block, 0, block.count).changes.map((change) => change.new);
}

it('rows come as the rules make them for this target, and as they are for others', () => {
  const raw = { target: 'west', where: "id = '2'", actions: [{ rename: 'name', to: 'called' }] };
  expect(rowsOf(rulesFor(raw))).toEqual([{ id: '2', tenant: 'acme', called: 'name 2' }]);
  expect(rulesFor(raw, 'east')).toBeNull();
  expect(rowsOf(null)).toHaveLength(2);
});

it('rules of a tier hold for its tenants, and stop those whose tier is not known', () => {
  const rules = rulesFor({ tier: 'gold', actions: [{ mask: 'name', with: 'null' }] });
  expect(rowsOf(rules)?.[0]).toEqual({ id: '1', tenant: 'acme', name: null });
  expect(entryOf(rules, 'bolt')).toMatchObject({
    kind: 'damaged',
    error: { code: 'apply.schema', message: expect.stringContaining('tier') as string },
  });
});

it('a rule that does not fit stops the tenant like a schema that does not', () => {
  expect(entryOf(rulesFor({ actions: [{ drop: 'ssn' }] }))).toMatchObject({
    kind: 'damaged',
    tenant: 'acme',
    error: { code: 'apply.schema', disposition: 'park' },
  });
});
