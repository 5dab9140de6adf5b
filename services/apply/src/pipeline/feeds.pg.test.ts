/** Who is held for a snapshot stays so until its own pause is over, whatever was known of an earlier one. */
import { clusterId, sleep, until } from '@drover/core';
import { createLogger } from '@drover/telemetry';
import { preparedDatabase, testPassword, testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { Feeds } from './feeds.ts';

const WEST = clusterId('west');
/** A look each half second: so many of them. */
const LOOKS = 3;
const LOOKS_MS = LOOKS * 500 + 200;

let root: pg.Client;
let feeds: Feeds;
let stop: AbortController;
let running: Promise<void>;
let wanted: string[];
let connect: ConstructorParameters<typeof Feeds>[0]['connect'];

beforeAll(async () => {
  const server = await testPostgres();
  const sql = 'CREATE TABLE item (tenant text, id int, PRIMARY KEY (tenant, id))';
  const database = await preparedDatabase(server, { cluster: WEST, sql });
  root = await server.connect(database);
  const user = 'drover_apply';
  const password = testPassword(user);
  connect = { host: '127.0.0.1', port: server.port, ssl: false, database, user, password };
});
afterAll(() => root.end());
beforeEach(async () => {
  await root.query('TRUNCATE drover.tenant');
  await root.query(`SELECT drover.follow_tenant('acme', 1, 'east', 'live', NULL, NULL, NULL)`);
  wanted = [];
  stop = new AbortController();
  feeds = new Feeds({
    connect,
    partitions: 1,
    log: createLogger({ service: 'test', level: 'error' }),
    reopen: async () => undefined,
    wantLane: (_source, _partition, tenant) => void wanted.push(tenant),
  });
  running = feeds.run(stop.signal);
});
afterEach(async () => {
  stop.abort();
  await running;
});

const hold = (id: string) =>
  root.query(
    `UPDATE drover.tenant SET feed = 'held', reason = 'pause:' || $1::text, updated_at = clock_timestamp()`,
    [id],
  );
const paused = (id: string, ms: number) => feeds.paused({ tenant: 'acme', reason: `pause:${id}`, ms });
const row = async () => (await root.query('SELECT feed, reason FROM drover.tenant')).rows[0];
const goesOn = () =>
  until(async () => ((await row()).feed === 'catchup' ? true : undefined), {
    everyMs: 10,
    timeoutMs: 60_000,
    onTimeout: () => new Error('it does not go on'),
  });

it('is not let go by the end of an earlier pause, seen before its own is told', async () => {
  await hold('one');
  paused('one', 1);
  await goesOn();
  await hold('two'); // committed, and whoever did so has not come to tell it
  paused('another', 0);
  feeds.nudge();
  await sleep(LOOKS_MS);
  expect(await row()).toEqual({ feed: 'held', reason: 'pause:two' });
  paused('two', 50);
  await goesOn();
});

it('goes on when its pause is over, not before', async () => {
  await hold('one');
  const begun = performance.now();
  paused('one', 600);
  await goesOn();
  expect(performance.now() - begun).toBeGreaterThan(550);
});

it('that others let go is looked at as often as anybody', async () => {
  await hold('one');
  paused('one', 50);
  await root.query(`UPDATE drover.tenant SET feed = 'catchup', reason = NULL`);
  await sleep(100);
  wanted = [];
  const begun = performance.now();
  await until(() => wanted.length >= LOOKS + 2 || undefined, {
    everyMs: 10,
    timeoutMs: 60_000,
    onTimeout: () => new Error(`it is looked at ${wanted.length} times`),
  });
  expect(performance.now() - begun).toBeGreaterThan((LOOKS - 1) * 500);
});
