/**
 * Random tables, random transactions of two sessions over several tenants, a first copy in their midst, capture and apply killed at random: each
 * replica ends as its source (I1 to I3, I10). Small blocks are stored by profiles learnt of a handful of others. `DROVER_SEED=<n> DROVER_CASES=1` repeats a case, `DROVER_CASES=1000` is the long run.
 */
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { RANDOM_TYPES, Random, randomTable, Writer } from './random-case.ts';
import { DataWorld } from './world.ts';

const CASES = Number(process.env['DROVER_CASES'] ?? 12);
const SEED = Number(process.env['DROVER_SEED'] ?? Math.floor(Math.random() * 1e9));
const TRANSACTIONS = 24;

let world: DataWorld;
/** Blocks stored by profiles. */
let profiled = 0;
beforeAll(async () => {
  vi.stubEnv('DROVER_EAGER', '1');
  // The types of the installation have other numbers at the replica.
  world = await DataWorld.start({
    processes: true,
    sections: { migration: { chunk_rows: 9 }, cdc: { chunk_bytes: '64KiB', stream_above_bytes: '128KiB' } },
  });
  await world.source.query(RANDOM_TYPES);
  await world.target.query(
    `CREATE TYPE elsewhere AS (a int); CREATE TYPE elsewhere2 AS (a int); ${RANDOM_TYPES}`,
  );
  await world.tenant('_shared');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await world.close();
});

it.each(Array.from({ length: CASES }, (_, i) => SEED + i))('DROVER_SEED=%i', async (seed) => {
  const random = new Random(seed);
  const tables = [
    ...Array.from({ length: 1 + random.below(3) }, (_, i) => randomTable(random, `t${seed}_${i}`, false)),
    randomTable(random, `shared.t${seed}`, true),
  ];
  await world.tables(tables.map((t) => t.source).join('; '), tables.map((t) => t.target).join('; '));
  const tenants = ['a', 'b', 'c'].map((name) => `${name}${seed}`);
  await world.tenant(...tenants.slice(0, 2));
  const third = await world.copied(`c${seed}`);
  const sessions = await Promise.all([0, 1].map(() => world.servers.east.connect('app')));
  let copying: Promise<void> | undefined;
  try {
    await Promise.all(
      sessions.map((s) =>
        s.query(
          `SET lock_timeout = '2s'; SET deadlock_timeout = '50ms'; SET timezone = 'UTC'; SET datestyle = ISO; SET array_nulls = on; SET xmloption = content`,
        ),
      ),
    );
    const writers = sessions.map(
      (s, i) => new Writer(s, new Random(seed * 2 + i), tables, tenants, i * 100_000),
    );
    for (let n = 0; n < TRANSACTIONS; n++) {
      await Promise.all(writers.map((w) => w.transaction()));
      if (n === 4) {
        copying = world.copy(third);
        copying.catch(() => undefined); // awaited below
      }
      if (random.chance(6)) {
        const service = random.pick(['cdc east', 'apply west'] as const);
        await world.end(service, 'kill');
        // Writing goes on meanwhile.
        await Promise.all([world.run(service), ...writers.map((w) => w.transaction())]);
      }
    }
    await copying;
    await world.same(tables.map((t) => t.name));
    profiled += await metricOf('drover_cdc_profile_blocks_total');
    expect(await metricOf('drover_cdc_profile_faults_total')).toBe(0);
    const ledger = await world.target.query(
      `SELECT tenant, kind, reason FROM drover.ledger WHERE status = 'open'`,
    );
    expect(ledger.rows).toEqual([]);
  } catch (error) {
    throw new Error(
      `${(error as Error).message}\n${tables.map((t) => `${t.source}\n  at the replica: ${t.target}`).join('\n')}`,
      { cause: error },
    );
  } finally {
    await copying?.catch(() => undefined);
    await Promise.all(sessions.map((s) => s.end()));
  }
  await world.settled();
  for (const client of [world.source, world.target])
    await client.query(`DROP TABLE ${tables.map((t) => t.name).join(', ')}`);
});

it.runIf(CASES >= 100)('some of it came by profiles', () => {
  expect(profiled).toBeGreaterThan(0);
});

/** Of the reader that runs now, since it was started. */
async function metricOf(name: string): Promise<number> {
  const text = await (await fetch(`${world.metricsUrl('cdc east')}/metrics`)).text();
  const value = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1];
  if (value === undefined && !text.includes(`# TYPE ${name} `)) throw new Error(`there is no metric ${name}`);
  return Number(value ?? 0);
}
