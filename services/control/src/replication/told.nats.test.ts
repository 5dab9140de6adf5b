/** What the control plane tells of the others, on a real NATS; the services it asks are stand-ins. */
import { DroverError, tenantId } from '@drover/core';
import { replicaState } from '@drover/rpc';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { all, makeWorld, type World, type WorldOptions } from '../world.testing.ts';

let world: World;
const start = async (options: WorldOptions = {}) => {
  world = await makeWorld(options);
};

describe('what the control plane tells', () => {
  beforeAll(async () => {
    await start();
    await world.place();
    await world.place({ tenant: tenantId('zoo'), replicas: { west: { state: 'copying', since: 'never' } } });
  });
  afterAll(() => world.close());
  const standIns: { close(): Promise<void> }[] = [];
  const answer: World['answer'] = async (method, fn) => {
    const made = await world.answer(method, fn);
    standIns.push(made);
    return made;
  };
  const answerList: World['answerList'] = async (method, fn) => {
    const made = await world.answerList(method, fn);
    standIns.push(made);
    return made;
  };
  afterEach(async () => {
    for (const standIn of standIns.splice(0)) await standIn.close();
  });

  it('names the parts that do not answer, and tells the rest', async () => {
    standIns.push(await world.lead());
    await answer('cdc.east.status', () => ({
      trouble: null,
      databases: [{ database: 'app', state: 'streaming', confirmedLsn: '0/1' }],
    }));
    await answer('cdc.west.status', () => ({ trouble: 'database app: no slot', databases: [] }));
    await answerList('apply.west.status', () => [
      { source: 'east', partition: 0, pending: 3, error: null },
      'nonsense',
    ]);
    await answerList('apply.west.lag', () => [
      { tenant: 'acme', source: 'east', feed: 'parked', lagSeconds: 4 },
    ]);
    await answer('migration.status', () => {
      throw new DroverError('pg.unreachable', 'cannot connect');
    });
    const status = await world.replication.getStatus({});
    expect(Object.fromEntries(status.components.map((c) => [c.name, [c.ok, c.detail]]))).toEqual({
      'cdc-east': [true, 'app streaming, confirmed 0/1'],
      'cdc-west': [false, 'database app: no slot'],
      'apply-east': [false, expect.stringContaining('nobody serves apply.east.status')],
      'apply-west': [true, '2 partitions, 3 messages waiting'],
      failover: [true, 'led by l1, automatic failover on'],
      migration: [false, 'cannot connect'],
      nats: [true, expect.stringMatching(/^nats-server \d+\.\d+\.\d+, \d+\.\d ms$/)],
      proxy: [false, 'no proxy holds a lease'],
    });
    expect(status.clusters).toMatchObject([
      {
        verdict: { cluster: 'east', score: 80, failing: ['cdc.stream'] },
        primaries: 2,
        replicas: 0,
        parked: 0,
      },
      { verdict: { cluster: 'west', state: 0 }, primaries: 0, replicas: 2, parked: 1 },
    ]);
    expect([status.tenants, status.moving]).toEqual([2, 0]);
  });

  it('is lag of all or one, the largest first, with what is unknown and unreachable', async () => {
    await answerList('apply.west.lag', () => [
      { tenant: 'acme', source: 'east', feed: 'live', lagSeconds: 0.5, commitLsn: '0/5', reason: null },
      { tenant: 'zoo', source: 'east', feed: 'copying', lagSeconds: null, commitLsn: null, reason: null },
      { tenant: 'big', source: 'east', feed: 'live', lagSeconds: 9, commitLsn: '0/4', reason: null },
    ]);
    const { lags, unreachable } = await world.replication.getLag({});
    expect(lags.map((l) => [l.tenant, l.target, l.lagSeconds])).toEqual([
      ['zoo', 'west', undefined],
      ['big', 'west', 9],
      ['acme', 'west', 0.5],
    ]);
    expect(unreachable).toEqual(['east']);
    expect((await world.replication.getLag({ tenant: 'acme' })).lags.map((l) => l.commitLsn)).toEqual([
      '0/5',
    ]);
    let seen = 0;
    for await (const now of world.replication.watchLag({ tenant: 'acme', intervalMs: 100 })) {
      expect(now).toMatchObject({ lags: [{ tenant: 'acme' }], unreachable: ['east'] });
      expect(now.at?.seconds).toBeGreaterThan(0n);
      if (++seen === 3) break;
    }
    await expect(all(world.replication.watchLag({ intervalMs: 5 }))).rejects.toMatchObject({
      code: 'rpc.invalid',
    });
  });

  it('is the result of a verification after its progress, with what was not compared', async () => {
    const asked: unknown[] = [];
    await answer('migration.verify', async (request, progress) => {
      asked.push(request);
      progress({ line: 'waiting for the barrier' });
      progress({ line: 'comparing public.a' });
      return { equal: false, tables: [{ table: 'public.a', rows: 3, equal: false, differing: ['["1"]'] }] };
    });
    const events = await all(world.replication.verifyTenant({ tenant: 'acme' }));
    expect(events.map((e) => e.event.value)).toMatchObject([
      'comparing east and west',
      'west: waiting for the barrier',
      'west: comparing public.a',
      {
        equal: false,
        notCompared: [],
        tables: [{ table: 'public.a', target: 'west', rows: 3n, differingKeys: ['["1"]'] }],
      },
    ]);
    expect(asked).toEqual([{ tenant: 'acme', target: 'west' }]);
    await expect(all(world.replication.verifyTenant({ tenant: 'zoo' }))).rejects.toMatchObject({
      code: 'tenant.no_replica',
      message: /west is copying/,
    });
  });

  it('is the failure of a verification, with its code', async () => {
    await answer('migration.verify', () => {
      throw new DroverError('verify.failed', 'the barrier did not arrive', { hint: 'is apply running?' });
    });
    await expect(all(world.replication.verifyTenant({ tenant: 'acme' }))).rejects.toMatchObject({
      code: 'verify.failed',
      hint: 'is apply running?',
    });
  });

  it('are the tenants', async () => {
    const { tenants, nextPageToken } = await world.tenants.listTenants({});
    expect(nextPageToken).toBe('');
    await expect(world.tenants.listTenants({ pageToken: 'no token' })).rejects.toMatchObject({
      code: 'rpc.invalid',
    });
    expect(tenants.map((t) => [t.tenant, t.users, replicaState.toWord(t.replicas[0]!.state)])).toEqual([
      ['acme', ['app'], 'live'],
      ['zoo', ['app'], 'copying'],
    ]);
    expect((await world.tenants.getTenant({ tenant: 'zoo' })).tenant).toMatchObject({
      tenant: 'zoo',
      database: 'app',
    });
    await expect(world.tenants.getTenant({ tenant: 'nobody' })).rejects.toMatchObject({
      code: 'tenant.unknown',
    });
  });

  it('is whether automatic failover is on, and who changed it', async () => {
    standIns.push(await world.lead());
    const asked: unknown[] = [];
    await answer('failover.pause', (request) => {
      asked.push(request);
      return { paused: true };
    });
    await answer('failover.resume', () => ({ paused: false }));
    expect(await world.failover.getFailoverStatus({})).toMatchObject({
      leader: 'l1',
      auto: true,
      paused: false,
      clusters: [{ cluster: 'east' }],
    });
    expect(await world.failover.pauseFailover({ requestId: 'r', who: 'ann' })).toMatchObject({
      paused: true,
    });
    expect(await world.failover.resumeFailover({ requestId: 'r', who: 'ann' })).toMatchObject({
      paused: false,
    });
    expect(asked).toEqual([{ by: 'ann' }]);
    await expect(world.failover.pauseFailover({ who: 'ann' })).rejects.toMatchObject({ code: 'rpc.invalid' });
  });

  it('is what was moved', async () => {
    const asked: unknown[] = [];
    await answer('failover.history', (request) => {
      asked.push(request);
      return {
        events: [
          { at: '2026-01-01T00:00:00.000Z', kind: 'failover.moved', fields: { tenant: 'acme', to: 'west' } },
        ],
      };
    });
    const { events } = await world.failover.listFailoverHistory({ tenant: 'acme', limit: 5 });
    expect(events).toMatchObject([
      { kind: 'failover.moved', tenant: 'acme', at: { seconds: 1_767_225_600n } },
    ]);
    expect(JSON.parse(events[0]!.detail)).toEqual({ tenant: 'acme', to: 'west' });
    expect(asked).toEqual([{ limit: 5, tenant: 'acme' }]);
  });

  it('is the metric of each call', async () => {
    await world.tenants.listTenants({});
    const text = await (await fetch(`${world.metricsUrl}/metrics`)).text();
    expect(text).toMatch(/^drover_control_calls_total\{method="ListTenants",code="ok"\} \d+$/m);
    expect(text).toMatch(/^drover_control_calls_total\{method="GetTenant",code="tenant.unknown"\} 1$/m);
    expect(text).toMatch(/^drover_control_serving 1$/m);
  });
});
