/**
 * Sessions that do whatever comes to their mind in transactions large and small, with subtransactions of which some are rolled back, while reader
 * and apply are killed: in the end the replica holds what the source holds (I1, I2, I3, I10; pitfalls 49 to 51, 53).
 */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { StreamedWorld } from './streamed-world.ts';

let world: StreamedWorld;
let id = 0;

beforeAll(async () => {
  world = await StreamedWorld.start(6);
  await world.both();
});
afterAll(() => world?.close());

/** A number from 0 to 1 after the other; the same for the same seed. */
function dice(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

function statement(roll: () => number): string {
  const below = (n: number): number => Math.floor(roll() * n);
  const tenant = `t${below(6)}`;
  const some = `tenant = '${tenant}' AND id % ${2 + below(5)} = 0`;
  const count = 1 + below(400);
  const from = id;
  switch (below(8)) {
    case 0:
    case 1:
    case 2:
      id += count;
      return `INSERT INTO doc SELECT '${tenant}', g, 0, repeat(md5(g::text), ${1 + below(12)}) FROM generate_series(${from + 1}, ${id}) g`;
    case 3:
      return `UPDATE doc SET n = n + 1 WHERE ${some}`;
    case 4:
      return `DELETE FROM doc WHERE ${some} AND id % 3 = 0`;
    case 5:
      return `UPDATE doc SET tenant = 't${below(6)}', id = id + 10000000 WHERE ${some} AND id < 10000000 AND id % 7 = 0`;
    case 6:
      return `INSERT INTO line SELECT '${tenant}', 'line ' || g % 7 FROM generate_series(1, ${count}) g`;
    default:
      return `DELETE FROM line WHERE ctid IN (SELECT ctid FROM line WHERE tenant = '${tenant}' LIMIT ${count})`;
  }
}

async function transaction(roll: () => number): Promise<void> {
  const client = await world.failover.servers.east.connect('app');
  const open: string[] = [];
  try {
    await client.query(`SET deadlock_timeout = '50ms'; BEGIN`);
    for (let i = 1 + Math.floor(roll() ** 2 * 25); i > 0; i--) {
      const what = roll();
      const last = open.at(-1);
      if (what < 0.15) {
        open.push(`s${i}`);
        await client.query(`SAVEPOINT s${i}`);
      } else if (what < 0.25 && last !== undefined) await client.query(`ROLLBACK TO ${last}`);
      else if (what < 0.3 && last !== undefined) await client.query(`RELEASE ${open.pop()}`);
      else await client.query(statement(roll));
    }
    await client.query(roll() < 0.8 ? 'COMMIT' : 'ROLLBACK');
  } catch (error) {
    // Sessions meet each other's rows: one of two is rolled back.
    if ((error as { code?: string }).code !== '40P01' && (error as { code?: string }).code !== '23505')
      throw error;
  } finally {
    await client.end();
  }
}

describe('whatever is done', () => {
  test.each([1, 2, 3, 4])('comes out the same: seed %i', async (seed) => {
    const sessions = [1, 2, 3].map(async (n) => {
      const roll = dice(seed * 1000 + n);
      for (let i = 0; i < 12; i++) await transaction(roll);
    });
    const roll = dice(seed);
    const going = Promise.all(sessions);
    for (const name of seed % 2 === 0 ? (['cdc', 'apply'] as const) : (['apply'] as const)) {
      await new Promise((resolve) => setTimeout(resolve, 200 + roll() * 1500));
      await world.kill(name);
      await world.run(name);
    }
    await going;
    await world.equal(180_000);
  });
});
