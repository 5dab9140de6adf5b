/**
 * A row that no attempt has read and whose large value the stream does not bring: it moved to where the copy had been already (I1). It is
 * read again, and while that goes on nothing of the tenant's other rows is lost.
 */
import { streamName } from '@drover/bus';
import { partitionOf, type TenantId } from '@drover/core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CopyWorld } from './copy-world.ts';
import { EAST } from './failover-world.ts';

let world: CopyWorld;
beforeAll(async () => {
  world = await CopyWorld.start();
});
afterAll(() => world.close());

const east = (sql: string, tenant: TenantId) => world.failover.query('east', sql, [tenant]);

/** An attempt read the low keys and died; then a high row became a low one, its 3 kB unchanged. */
async function withMissedRow(name: string): Promise<TenantId> {
  const tenant = await world.tenant(name);
  await world.published(); // or the stream would bring the row itself
  let chunks = 0;
  const died = world.copy(tenant, {
    failpoint: async (step) => {
      if (step === 'chunk' && ++chunks === 7) throw new Error('killed');
    },
  });
  await expect(died).rejects.toThrow('killed');
  await east('UPDATE doc SET id = 1 WHERE tenant = $1 AND id = 3600', tenant);
  return tenant;
}

it('it is read again', async () => {
  const tenant = await withMissedRow('missed');
  const steps: string[] = [];
  await world.copy(tenant, {
    failpoint: async (step) => {
      steps.push(step);
    },
  });
  expect(steps.filter((step) => step === 'following')).toHaveLength(2);
  await world.expectEqual(tenant);
  expect(await world.stateOf(tenant)).toBe('live');
});

it('changes of other rows that apply has not come to yet when the further pass begins are not passed over', async () => {
  const tenant = await withMissedRow('behind');
  const stream = streamName(EAST, partitionOf(tenant, world.failover.config.nats.partitions));
  const lastSeq = async () => (await world.failover.bus.jsm.streams.info(stream)).state.last_seq;
  let followed = 0;
  await world.copy(tenant, {
    failpoint: async (step) => {
      if (step === 'following') followed++;
      if (step === 'noted') {
        await world.failover.end('apply west');
        const before = await lastSeq();
        await east('UPDATE doc SET n = 99 WHERE tenant = $1 AND id BETWEEN 100 AND 300', tenant);
        await east('DELETE FROM doc WHERE tenant = $1 AND id BETWEEN 301 AND 400', tenant);
        await world.failover.waitFor('they are on the bus', async () => (await lastSeq()) >= before + 2);
      }
      if (step === 'copied' && followed === 1) await world.failover.run('apply west');
    },
  });
  expect(followed).toBe(2);
  await world.expectEqual(tenant);
});

for (const step of ['noted', 'stopped', 'prepared', 'chunk', 'copied', 'following']) {
  it(`it is not forgotten when the copy dies at ${step} of the further pass`, async () => {
    const tenant = await withMissedRow(`missed-${step}`);
    let further = false;
    const died = world.copy(tenant, {
      failpoint: async (reached) => {
        if (reached === 'noted') further = true;
        if (further && reached === step) throw new Error('killed again');
      },
    });
    await expect(died).rejects.toThrow('killed again');
    await east('UPDATE doc SET n = 5 WHERE tenant = $1 AND id < 200', tenant);
    await world.copy(tenant);
    await world.expectEqual(tenant);
    expect(await world.stateOf(tenant)).toBe('live');
  });
}
