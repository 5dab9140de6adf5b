/** A replica under rules of [[transform]] never serves its tenant: not planned, not when the primary is dead. */
import { beginSwitchover } from '@drover/catalog';
import { configFromParts } from '@drover/config';
import type { TenantId } from '@drover/core';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { unable } from './moves/candidate.ts';
import { runSwitchover } from './moves/switchover.ts';
import { transformedBy } from './moves/transformed.ts';
import { EAST, makeWorld, WEST, type World } from './world.testing.ts';

let world: World;
let tenant: TenantId;

beforeAll(async () => {
  world = await makeWorld();
});
afterAll(() => world.close());
beforeEach(async () => {
  tenant = await world.tenant();
});

const rule = { tables: ['public.notes'], where: 'id > 0' };
const by = (...transform: object[]) => transformedBy(configFromParts({ transform: transform as never[] }));

async function switchOver(transformed: ReturnType<typeof by>) {
  const replicating = new AbortController();
  const replication = world.replicate(replicating.signal);
  const id = crypto.randomUUID();
  await world.catalog.changePlacement(tenant, (p) => beginSwitchover(p, { id, to: WEST, reason: 'test' }));
  const { context } = world.leader(undefined, { transformed });
  await runSwitchover(context, await world.placement(tenant));
  replicating.abort();
  await replication;
  return world.placement(tenant);
}

it.each([
  ['published under it', { ...rule, stage: 'publish' }],
  ['applied under it', { ...rule, target: 'west' }],
  ['of its tier', { ...rule, tier: 'standard' }],
])('a planned move to a replica whose rows are %s is called off', async (_, raw) => {
  const after = await switchOver(by(raw));
  expect(after).toMatchObject({ primary: EAST, state: 'active', epoch: 1 });
  expect(after.lastMove).toMatchObject({
    outcome: 'aborted',
    error: expect.stringContaining('under rules of [[transform]]') as string,
  });
  expect(await world.writable(tenant)).toEqual(['east']);
});

it('nor is it a candidate when the primary is dead', async () => {
  const placement = await world.placement(tenant);
  const { context } = world.leader(undefined, { transformed: by({ ...rule, target: 'west' }) });
  expect(await unable(context, placement, WEST)).toMatchObject({ code: 'transformed' });
  const other = { ...context, transformed: by({ ...rule, tenants: ['someone-else'] }) };
  expect(await unable(other, placement, WEST)).not.toMatchObject({ code: 'transformed' });
});

it('a primary that is to be such a replica is copied anew when it has been moved', async () => {
  const after = await switchOver(by({ ...rule, target: 'east' }));
  expect(after).toMatchObject({ primary: WEST, epoch: 2, replicas: { east: { state: 'copying' } } });
});
