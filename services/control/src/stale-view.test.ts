/** Streams over a view of the placements that lags behind what the catalog holds: old news must not be taken for the outcome. */
import {
  advanceMove,
  beginSwitchover,
  finishMove,
  type Placement,
  type PlacementListener,
} from '@drover/catalog';
import { configFromParts } from '@drover/config';
import { clusterId, epoch, must, tenantId } from '@drover/core';
import { silentLogger } from '@drover/telemetry';
import { describe, expect, it } from 'vitest';
import type { ControlContext } from './context.ts';
import { failoverTenant } from './failover/failover-tenant.ts';
import { addReplica } from './tenants/add-replica.ts';

const ACME = tenantId('acme');
const at = (s: number) => new Date(s * 1000).toISOString();
const OLD: Placement = {
  tenant: ACME,
  epoch: epoch(1),
  epochSeq: 0,
  primary: clusterId('east'),
  database: 'app',
  tier: 'standard',
  replicas: { west: { state: 'live', since: at(1) } },
  state: 'active',
  updatedAt: at(1),
};

/** The catalog holds `stored`; the view knows `seen` until it is shown something newer. */
function lagging(stored: Placement, seen: Placement) {
  const listeners = new Set<PlacementListener>();
  let inCatalog = stored;
  let inView = seen;
  const context = {
    config: configFromParts(),
    log: silentLogger,
    bus: { nc: { subscribe: () => ({ unsubscribe: () => undefined }) } },
    catalog: {
      getTenant: async () => null,
      getPlacement: async () => ({ value: inCatalog, revision: 1 }),
      changePlacement: async (_: unknown, fn: (p: Placement) => Placement | null) => {
        inCatalog = fn(inCatalog) ?? inCatalog;
        return inCatalog;
      },
    },
    view: {
      get: () => inView,
      onChange: (listener: PlacementListener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
    },
  } as unknown as ControlContext; // what these two handlers use of it
  return {
    context,
    listeners,
    stored: () => inCatalog,
    show: (placement: Placement) => {
      inCatalog = placement;
      inView = placement;
      for (const listener of listeners) listener(ACME, placement);
    },
  };
}

const never = new AbortController().signal;
const next = async <T>(stream: AsyncIterator<{ event?: T }>) =>
  must((await stream.next()).value as { event?: { case: string } } | undefined, 'value').event?.case;

describe('a view that lags', () => {
  it('does not make a replica that is copied anew look live already', async () => {
    const world = lagging(OLD, OLD);
    const stream = addReplica(
      world.context,
      { requestId: 'r', tenant: 'acme', to: 'west', anew: true } as never,
      never,
    );
    expect(await next(stream)).toBe('progress');
    expect(world.stored().replicas['west']?.state).toBe('copying');
    world.show(OLD); // late news of the time before
    world.show({ ...world.stored(), replicas: { west: { state: 'live', since: at(9) } } });
    expect(await next(stream)).toBe('outcome');
    expect((await stream.next()).done).toBe(true);
    expect(world.listeners.size).toBe(0);
  });

  it('does not make a switch-over that has just begun look superseded', async () => {
    const moving = beginSwitchover(OLD, { id: 'm1', to: clusterId('west'), reason: 'x' });
    const world = lagging(moving, OLD);
    const stream = failoverTenant(
      world.context,
      { requestId: 'm1', tenant: 'acme', to: 'west', reason: '' } as never,
      never,
    );
    expect(await next(stream)).toBe('step');
    const waiting = next(stream);
    await new Promise((resolve) => setTimeout(resolve, 10));
    world.show(OLD);
    world.show(moving);
    const open = advanceMove(
      advanceMove(advanceMove(moving, 'close'), 'drain', { barrierLsn: '0/1' }),
      'open',
      { openSeq: 1 },
    );
    world.show(open);
    expect(await waiting).toBe('step');
    world.show(finishMove(open, { holdMs: 1 }));
    expect(await next(stream)).toBe('outcome');
    await stream.next();
    expect(world.listeners.size).toBe(0);
  });

  it('does not hide that another move has ended since', async () => {
    const moving = beginSwitchover(OLD, { id: 'm1', to: clusterId('west'), reason: 'x' });
    const world = lagging(moving, moving);
    const stream = failoverTenant(
      world.context,
      { requestId: 'm1', tenant: 'acme', to: 'west', reason: '' } as never,
      never,
    );
    expect(await next(stream)).toBe('step');
    const failed = expect(stream.next()).rejects.toMatchObject({ code: 'placement.conflict' });
    await new Promise((resolve) => setTimeout(resolve, 10));
    const other = {
      id: 'm2',
      kind: 'failover',
      from: clusterId('west'),
      to: clusterId('east'),
      outcome: 'done',
      endedAt: at(9),
    } as const;
    world.show({ ...OLD, lastMove: other, updatedAt: at(9) });
    await failed;
  });

  it('ends with its signal', async () => {
    const stop = new AbortController();
    const moving = beginSwitchover(OLD, { id: 'm1', to: clusterId('west'), reason: 'x' });
    const world = lagging(moving, moving);
    const stream = failoverTenant(
      world.context,
      { requestId: 'm1', tenant: 'acme', to: 'west', reason: '' } as never,
      stop.signal,
    );
    expect(await next(stream)).toBe('step');
    const ended = stream.next();
    stop.abort();
    expect((await ended).done).toBe(true);
    expect(world.listeners.size).toBe(0);
  });
});
