/**
 * A stream is not the one it was (I1): nobody goes on from a sequence that means something else now, and it is said once, for everybody.
 */
import { KnownRelations, Opener } from '@drover/block';
import { ensureStream } from '@drover/bus';
import { DroverError, Turns } from '@drover/core';
import { createLogger } from '@drover/telemetry';
import { testPassword } from '@drover/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Board } from '../ddl/board.ts';
import type { StreamedGroups } from '../streamed/groups.ts';
import { StreamedSlots } from '../streamed/slots.ts';
import { UpdateTurns } from '../target/update-turns.ts';
import { EAST, makeWorld, WEST, type World } from '../world.testing.ts';
import { Gate } from './gate.ts';
import { Lanes } from './lanes.ts';

const STREAM = 'DROVER_CDC_east_0';

let world: World;
beforeEach(async () => {
  const item = 'CREATE TABLE item (tenant text, id int, v int, PRIMARY KEY (tenant, id))';
  world = await makeWorld(item, { partitions: 1 });
});
afterEach(() => world.close());

const insert = (tenant: string, id: number) =>
  world.source.query('INSERT INTO item VALUES ($1, $2, 0)', [tenant, id]);
async function loseStream(): Promise<{ created: string }> {
  await world.bus.jsm.streams.delete(STREAM);
  const bounds = { replicas: 1, maxBytes: 1 << 30, maxAgeMs: 3_600_000 };
  return ensureStream(world.bus, { cluster: EAST, partition: 0, ...bounds });
}
const entries = async () =>
  (await world.ledger()).map(({ tenant, kind, status }) => [tenant, kind, status].join(' '));

it('parks also who was parked for a reason of its own: going on behind that would pass over what is missing', async () => {
  for (const tenant of ['poor', 'rich']) await world.tenant(tenant);
  await world.target.query('ALTER TABLE item ADD CHECK (id <> 7)');
  await world.start();
  await insert('rich', 1);
  await insert('poor', 7);
  await world.capture();
  await world.waitFor('parked', async () => (await world.row('poor'))['feed'] === 'parked');
  expect((await world.row('poor'))['reason']).toMatch(/^apply\.conflict/);

  await loseStream();
  await world.waitFor('told', async () => (await entries()).length === 3);
  expect(await entries()).toEqual(['poor poison open', 'poor resync open', 'rich resync open']);
  for (const tenant of ['poor', 'rich']) {
    const row = await world.row(tenant);
    expect(row['reason']).toMatch(/^bus\.recreated/);
    expect(row['stream_seq']).toBe(0);
  }
  // The stream is lost once more: it is known already who must be copied.
  const position = async () =>
    (await world.target.query('SELECT stream_created AS at FROM drover.stream_position')).rows[0]?.at;
  const { created } = await loseStream();
  await world.waitFor('told again', async () => (await position()) === created);
  expect(await entries()).toHaveLength(3);
});

it('in the lane of one tenant is not that tenant’s poison', async () => {
  await world.tenant('slow', 'catchup');
  await insert('slow', 1);
  await world.capture();
  const stop = new AbortController();
  const { host, port, database = '' } = world.target;
  const lanes = new Lanes({
    deps: {
      bus: world.bus,
      log: createLogger({ service: 'test', level: 'error' }),
      cluster: WEST,
      source: EAST,
      partition: 0,
      partitions: 1,
      database,
      connect: {
        host,
        port,
        database,
        user: 'drover_apply',
        password: testPassword('drover_apply'),
        ssl: false,
      },
      origin: 'drover_east_0',
      board: new Board(1),
      slots: new StreamedSlots(),
      unsealing: { opener: new Opener({ find: () => null }), ready: () => null },
      profiling: { known: { find: () => null }, ready: () => null },
      relations: new KnownRelations(),
      rules: null,
      updateTurns: new UpdateTurns(0),
      turns: new Turns({ atOnce: 2 }),
      weightOf: () => 1,
      batchBytes: 1 << 20,
      lingerMs: 0,
      durability: 'applied',
      stream: { replicas: 1, maxBytes: 1 << 30, maxAgeMs: 3_600_000 },
      applied: () => undefined,
      paused: () => undefined,
    },
    stream: STREAM,
    created: '2020-01-01T00:00:00Z', // the stream that the pipeline had begun with
    gate: new Gate(),
    position: () => 1000,
    anchor: () => undefined,
    groups: { holds: () => false } as unknown as StreamedGroups,
    signal: stop.signal,
  });
  lanes.want('slow');
  const ended = lanes.run().then(
    () => 'ended',
    (error: unknown) => (error instanceof DroverError ? error.code : String(error)),
  );
  let how = 'goes on';
  void ended.then((code) => {
    how = code;
  });
  await world.waitFor(
    'an end',
    async () => how !== 'goes on' || (await world.row('slow'))['feed'] === 'parked',
  );
  stop.abort();
  expect(await ended).toBe('bus.recreated');
  expect(await world.row('slow')).toMatchObject({ feed: 'catchup', reason: null });
  expect(await world.ledger()).toEqual([]);
});
