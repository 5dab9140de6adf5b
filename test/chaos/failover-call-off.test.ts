/**
 * A switch-over whose drain cannot end, while clients write through the proxy (I4): it is called off, the source opens again, and no client
 * gets to see an error. The next one, with the replica at work again, goes through.
 */
import { callRpc } from '@drover/bus';
import { beginSwitchover } from '@drover/catalog';
import type { TenantId } from '@drover/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FailoverWorld, WEST } from './failover-world.ts';

let world: FailoverWorld;
let tenant: TenantId;

beforeAll(async () => {
  world = await FailoverWorld.start(
    'CREATE TABLE public.notes (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id))',
    { failover: { drain_timeout: '8s' }, proxy: { lease: '6s' } },
  );
  await world.run('cdc east', 'cdc west', 'apply east', 'apply west', 'failover', 'proxy');
  tenant = await world.tenant('acme');
});
afterAll(() => world.close());

/** Writes one row after the other; `outcomes` has what came of each. */
async function startWriter(from: number) {
  const client = await world.client(tenant);
  const outcomes: { id: number; error: string | null }[] = [];
  let going = true;
  const writing = (async () => {
    for (let id = from; going; id++) {
      const error = await client.query('INSERT INTO public.notes VALUES ($1, $2)', [tenant, id]).then(
        () => null,
        (e: unknown) => String(e),
      );
      outcomes.push({ id, error });
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    await client.end();
  })();
  return {
    outcomes,
    stop: async () => {
      going = false;
      await writing;
    },
  };
}

const ended = (id: string) =>
  world.waitFor(`the move ${id} has ended`, async () => {
    const p = await world.placement(tenant);
    return p.lastMove?.id === id && p.state === 'active' && p;
  });
const ask = (id: string) =>
  world.catalog.changePlacement(tenant, (p) => beginSwitchover(p, { id, to: WEST, reason: 'test' }));

describe('a switch-over under clients', () => {
  it('is called off when its replica does not move; the clients notice a pause, no error', async () => {
    const writer = await startWriter(0);
    await world.waitFor('clients write', async () => writer.outcomes.length > 20);
    await world.end('apply west');
    await ask('stuck');
    expect((await ended('stuck')).lastMove).toMatchObject({ outcome: 'aborted' });
    const then = writer.outcomes.length;
    await world.waitFor('clients go on', async () => writer.outcomes.length > then + 20);
    await writer.stop();
    expect(writer.outcomes.filter((o) => o.error !== null)).toEqual([]);
    expect(await world.writable(tenant)).toEqual(['east']);
    expect(await world.placement(tenant)).toMatchObject({ primary: 'east', epoch: 1 });
    const last = await world.waitFor('it is on record', async () => {
      const { events } = (await callRpc(
        world.bus,
        'failover.history',
        { tenant },
        { timeoutMs: 20_000 },
      )) as {
        events: { kind: string; fields: Record<string, unknown> }[];
      };
      return events.at(-1)?.kind === 'failover.moved' && events.at(-1);
    });
    expect(last).toMatchObject({
      kind: 'failover.moved',
      fields: { outcome: 'aborted', id: 'stuck' },
    });
  });

  it('goes through once the replica moves again, though the controller is ended and started meanwhile', async () => {
    const writer = await startWriter(100_000);
    await world.run('apply west');
    await ask('second');
    await world.end('failover');
    await world.run('failover');
    expect(await ended('second')).toMatchObject({ primary: 'west', epoch: 2, lastMove: { outcome: 'done' } });
    const then = writer.outcomes.length;
    await world.waitFor('clients go on', async () => writer.outcomes.length > then + 20);
    await writer.stop();
    expect(writer.outcomes.filter((o) => o.error !== null)).toEqual([]);
    expect(await world.writable(tenant)).toEqual(['west']);
    const rows = await world.query<{ n: number }>(
      'west',
      'SELECT count(*)::int AS n FROM notes WHERE id >= 100000',
    );
    expect(rows[0]?.n).toBe(writer.outcomes.length);
  });
});
