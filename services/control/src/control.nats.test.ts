/** The control plane on a real NATS; the services it asks are stand-ins, the failover controller's steps are taken by the test. */
import { setTimeout as delay } from 'node:timers/promises';
import { publishEvent } from '@drover/bus';
import { abortMove, advanceMove, beginAbort, finishMove } from '@drover/catalog';
import { DroverError, tenantId, until } from '@drover/core';
import { createClient, FailoverService, MoveOutcome, moveStep, replicaState } from '@drover/rpc';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ACME, all, change, makeWorld, nextOf, type World, type WorldOptions } from './world.testing.ts';

let world: World;
const start = async (options: WorldOptions = {}) => {
  world = await makeWorld(options);
};
const move = { requestId: 'm1', tenant: 'acme', to: 'west' };
const eventsOf = (events: { event: { case: string | undefined; value?: unknown } }[]) =>
  events.map(({ event }) => (event.case === 'step' ? moveStep.toWord(event.value as never) : event.case));

describe('a switch-over', () => {
  afterEach(() => world.close());

  it('is written into the placement, told step by step, and joined by who asks again', async () => {
    await start();
    await world.place();
    await world.lead();
    const first = world.failover.failoverTenant({ ...move, reason: 'a test' })[Symbol.asyncIterator]();
    expect((await nextOf(first)).event).toMatchObject({ case: 'step', value: moveStep.toProto('hold') });
    expect((await world.catalog.getPlacement(ACME))?.value).toMatchObject({
      state: 'moving',
      move: { id: 'm1', kind: 'switchover', from: 'east', to: 'west', step: 'hold', reason: 'a test' },
    });
    const again = all(world.failover.failoverTenant(move));
    await change(world, ACME, (p) => advanceMove(p, 'close'));
    await change(world, ACME, (p) => advanceMove(p, 'drain', { barrierLsn: '0/1' }));
    await change(world, ACME, (p) => advanceMove(p, 'open', { openSeq: 3 }));
    await change(world, ACME, (p) => finishMove(p, { holdMs: 12 }));
    const rest = [];
    for (let next = await first.next(); next.done !== true; next = await first.next()) rest.push(next.value);
    expect(eventsOf(rest)).toEqual(['close', 'drain', 'open', 'outcome']);
    expect(rest.at(-1)?.event.value).toMatchObject({
      tenant: 'acme',
      primary: 'west',
      epoch: 2n,
      users: ['app'],
      lastMove: { id: 'm1', outcome: MoveOutcome.DONE, holdMs: 12n },
    });
    expect(eventsOf(await again).at(-1)).toBe('outcome');
    // Asked once more when it is long over: the outcome, and no second move.
    expect(eventsOf(await all(world.failover.failoverTenant(move)))).toEqual(['outcome']);
    expect((await world.catalog.getPlacement(ACME))?.value.epoch).toBe(2);
  });

  it('that is called off is an error that says why, also for who asks again', async () => {
    await start();
    await world.place();
    await world.lead();
    const call = all(world.failover.failoverTenant(move));
    const failed = expect(call).rejects.toMatchObject({
      code: 'failover.drain_timeout',
      message: 'the switch-over of acme was called off: a transaction stayed open',
      hint: 'acme goes on at east',
    });
    await until(
      async () => ((await world.catalog.getPlacement(ACME))?.value.state === 'moving' ? true : undefined),
      {
        everyMs: 20,
        timeoutMs: 5000,
        onTimeout: () => new Error('no move'),
      },
    );
    await change(world, ACME, (p) => abortMove(beginAbort(p, 'a transaction stayed open')));
    await failed;
    await expect(all(world.failover.failoverTenant(move))).rejects.toMatchObject({
      code: 'failover.drain_timeout',
    });
  });

  it('is not begun while nobody would carry it out', async () => {
    await start();
    await world.place();
    await expect(all(world.failover.failoverTenant(move))).rejects.toMatchObject({
      code: 'failover.not_leader',
    });
    expect((await world.catalog.getPlacement(ACME))?.value.state).toBe('active');
  });

  it('whose controller dies is told so, and goes on when asked again', async () => {
    await start();
    await world.place();
    const controller = await world.lead();
    const call = all(world.failover.failoverTenant(move));
    const failed = expect(call).rejects.toMatchObject({
      code: 'failover.not_leader',
      message: /on record/,
      hint: /same request id/,
    });
    await delay(300);
    await controller.close();
    await failed;
    await world.lead();
    const joined = world.failover.failoverTenant(move)[Symbol.asyncIterator]();
    expect((await nextOf(joined)).event.case).toBe('step');
    await joined.return?.(undefined);
  });

  it('is refused to a replica that is under rules', async () => {
    await start({
      transform: [{ tables: ['public.people'], tenants: ['acme'], where: 'id > 0', target: 'west' }],
    });
    await world.place();
    await world.lead();
    await expect(all(world.failover.failoverTenant(move))).rejects.toMatchObject({
      code: 'tenant.transformed',
    });
    expect((await world.catalog.getPlacement(ACME))?.value).toMatchObject({
      state: 'active',
      primary: 'east',
    });
  });

  it('is refused with the reason', async () => {
    await start();
    await world.place();
    await world.place({ tenant: tenantId('bare'), replicas: {} });
    await world.lead();
    const code = (request: object) =>
      all(world.failover.failoverTenant({ ...move, ...request })).then(
        () => 'accepted',
        (error: DroverError) => `${error.code}: ${error.message}`,
      );
    expect(await code({ tenant: 'nobody' })).toMatch(/^tenant.unknown: there is no tenant nobody/);
    expect(await code({ tenant: 'bare' })).toMatch(/^tenant.no_replica: west holds no live replica of bare/);
    expect(await code({ to: 'east' })).toMatch(/^tenant.no_replica: .*served by east already/);
    expect(await code({ to: 'south' })).toMatch(/^rpc.invalid: to: there is no cluster south/);
    expect(await code({ to: '' })).toMatch(/^rpc.invalid: to is missing/);
    expect(await code({ tenant: '' })).toMatch(/^rpc.invalid: tenant is missing/);
    expect(await code({ requestId: '' })).toMatch(/^rpc.invalid: request_id is missing/);
    expect(await code({ tenant: '_x' })).toMatch(/^config.invalid_name/);
  });

  it('goes on when the caller goes away', async () => {
    await start();
    await world.place();
    await world.lead();
    for await (const _ of world.failover.failoverTenant(move)) break;
    expect((await world.catalog.getPlacement(ACME))?.value.move?.id).toBe('m1');
  });
});

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

describe('adding a replica', () => {
  afterEach(() => world.close());
  const request = { requestId: 'r1', tenant: 'acme', to: 'west' };

  it('is written into the placement and followed until it is live', async () => {
    await start();
    await world.place({ replicas: {} });
    await world.answer('migration.status', () => ({ ok: true, copies: 1 }));
    const call = world.tenants.addReplica(request)[Symbol.asyncIterator]();
    expect((await nextOf(call)).event).toMatchObject({
      case: 'progress',
      value: { phase: 'waiting for the migration service' },
    });
    const copying = (await world.catalog.getPlacement(ACME))?.value.replicas['west'];
    expect(copying?.state).toBe('copying');
    publishEvent(world.bus, 'copy.progress', {
      tenant: 'acme',
      to: 'west',
      phase: 'copying',
      table: 'public.a',
      rows: 10,
      total: 40,
    });
    // Other copies are none of its business.
    publishEvent(world.bus, 'copy.progress', { tenant: 'other', to: 'west', phase: 'x', rows: 1 });
    publishEvent(world.bus, 'copy.progress', { tenant: 'acme', to: 'north', phase: 'x', rows: 1 });
    expect((await nextOf(call)).event.value).toMatchObject({
      phase: 'copying',
      table: 'public.a',
      rows: 10n,
      total: 40n,
    });
    publishEvent(world.bus, 'copy.progress', { tenant: 'acme', to: 'west', error: 'disk full' });
    expect((await nextOf(call)).event.value).toMatchObject({
      phase: 'it will be tried again: disk full',
      rows: 10n,
    });
    await change(world, ACME, (p) => ({
      ...p,
      replicas: { west: { state: 'live', since: new Date().toISOString() } },
    }));
    expect((await nextOf(call)).event).toMatchObject({
      case: 'outcome',
      value: { replicas: [{ cluster: 'west', state: replicaState.toProto('live') }] },
    });
    expect((await call.next()).done).toBe(true);
  });

  it('that is live is left alone, unless it is to be copied anew', async () => {
    await start();
    const before = await world.place();
    await world.answer('migration.status', () => ({ ok: true, copies: 1 }));
    expect((await all(world.tenants.addReplica(request))).map((e) => e.event.case)).toEqual(['outcome']);
    expect((await world.catalog.getPlacement(ACME))?.value).toEqual(before);
    const call = world.tenants.addReplica({ ...request, anew: true })[Symbol.asyncIterator]();
    expect((await nextOf(call)).event.case).toBe('progress');
    expect((await world.catalog.getPlacement(ACME))?.value.replicas['west']?.state).toBe('copying');
    await delay(5);
    await change(world, ACME, (p) => ({
      ...p,
      replicas: { west: { state: 'live', since: new Date().toISOString() } },
    }));
    expect((await nextOf(call)).event.case).toBe('outcome');
  });

  it('is refused with the reason', async () => {
    await start();
    await world.place();
    const failing = (more: object) => expect(all(world.tenants.addReplica({ ...request, ...more }))).rejects;
    await failing({ to: 'east' }).toMatchObject({ code: 'rpc.invalid', message: /served by east/ });
    await failing({ to: 'south' }).toMatchObject({ code: 'rpc.invalid' });
    await failing({ tenant: 'nobody' }).toMatchObject({ code: 'tenant.unknown' });
    await failing({ requestId: '' }).toMatchObject({ code: 'rpc.invalid' });
  });

  it('without a migration service is on record, and said so', async () => {
    await start();
    await world.place({ replicas: {} });
    await expect(all(world.tenants.addReplica(request))).rejects.toMatchObject({
      code: 'rpc.unavailable',
      message: /on record/,
    });
    expect((await world.catalog.getPlacement(ACME))?.value.replicas['west']?.state).toBe('copying');
  });
});

describe('without NATS', () => {
  afterEach(() => world.close());

  it('nothing is served, and it is said; when NATS is back all is served again', async () => {
    await start();
    await world.place();
    const ready = async () => (await fetch(`${world.metricsUrl}/readyz`)).status;
    expect(await ready()).toBe(200);
    await world.nats.kill9();
    const wait = (what: string, probe: () => Promise<boolean>) =>
      until(async () => ((await probe()) ? true : undefined), {
        everyMs: 50,
        timeoutMs: 15_000,
        onTimeout: () => new Error(what),
      });
    await wait('not ready', async () => (await ready()) === 503);
    const asked = performance.now();
    await expect(world.tenants.listTenants({})).rejects.toMatchObject({ code: 'bus.unreachable' });
    await expect(all(world.failover.failoverTenant(move))).rejects.toMatchObject({ code: 'bus.unreachable' });
    expect(performance.now() - asked).toBeLessThan(1000);
    await world.nats.restart();
    await wait('ready again', async () => (await ready()) === 200);
    expect((await world.tenants.getTenant({ tenant: 'acme' })).tenant?.primary).toBe('east');
  });

  it('it stops at once when told to', async () => {
    await start();
    await world.nats.kill9();
    const began = performance.now();
    await world.stop();
    expect(performance.now() - began).toBeLessThan(5000);
  });
});

describe('with a token', () => {
  afterEach(() => world.close());

  it('only who shows it is served', async () => {
    await start({ sections: { control: { token: 'hush' } } });
    await world.place();
    expect((await world.tenants.listTenants({})).tenants).toHaveLength(1);
    const stranger = createClient(FailoverService, world.address);
    await expect(stranger.getFailoverStatus({})).rejects.toMatchObject({ code: 'rpc.unauthenticated' });
    stranger.close();
  });
});
