/** A switch-over as its caller sees it, on a real NATS; the failover controller's steps are taken by the test. */
import { abortMove, advanceMove, beginAbort, finishMove } from '@drover/catalog';
import { type DroverError, tenantId, until } from '@drover/core';
import { MoveOutcome, moveStep } from '@drover/rpc';
import { afterEach, describe, expect, it } from 'vitest';
import { ACME, all, change, makeWorld, nextOf, type World, type WorldOptions } from '../world.testing.ts';

let world: World;
const start = async (options: WorldOptions = {}) => {
  world = await makeWorld(options);
};
const move = { requestId: 'm1', tenant: 'acme', to: 'west' };
const begun = () =>
  until(async () => ((await world.catalog.getPlacement(ACME))?.value.state === 'moving' ? true : undefined), {
    everyMs: 20,
    timeoutMs: 60_000,
    onTimeout: () => new Error('no move'),
  });
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
    // Each is told before the next one takes its place in the bucket.
    for (const [step, mark] of [
      ['close', {}],
      ['drain', { barrierLsn: '0/1' }],
      ['open', { openSeq: 3 }],
    ] as const) {
      await change(world, ACME, (p) => advanceMove(p, step, mark));
      expect(eventsOf([await nextOf(first)])).toEqual([step]);
    }
    await change(world, ACME, (p) => finishMove(p, { holdMs: 12 }));
    const rest = [];
    for (let next = await first.next(); next.done !== true; next = await first.next()) rest.push(next.value);
    expect(eventsOf(rest)).toEqual(['outcome']);
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
    await begun();
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
    await begun();
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
