/**
 * Values of hundreds of megabytes: PostgreSQL takes up to 1 GB, one message of the bus 1 MiB. They come whole, nobody's memory balloons beyond a few
 * times their size, and who writes small rows behind them gets those (I7, I9).
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, System } from '../e2e/system.ts';
import { Observer } from './observe.ts';

const MB = 1024 * 1024;
const SIZE = (process.env['DROVER_FULL'] === '1' ? 200 : 64) * MB;
/** Measured with 200 MB: 780 MB the reader, 880 MB apply. What they need without any row is in it. */
const RSS_MAX = 300 * MB + 5.5 * SIZE;

let system: System;
let see: Observer;

beforeAll(async () => {
  system = await System.start(System.folder(), ['--seed-tenants', '4', '--no-demo-load']);
  see = new Observer(system);
});
afterAll(async () => {
  await system.stop();
  system.remove();
});

/** The most that the process ever had in memory. */
function peak(service: string, cluster: string): number {
  const status = readFileSync(`/proc/${system.pidOf(service, cluster)}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) * 1024;
}

const md5 = async (cluster: string, kind: string) => {
  const rows = await system.sql<{ n: number; hash: string }>(
    cluster,
    `SELECT length(body) AS n, md5(body) AS hash FROM activity WHERE kind = $1`,
    [kind],
  );
  return rows[0];
};

describe('a value of tens and hundreds of megabytes', () => {
  it('that no codec makes smaller comes whole, and the tenants behind it come, too', async () => {
    await system.sql(
      'east',
      `INSERT INTO activity (tenant_id, kind, body)
       SELECT 't01', 'large', string_agg(md5(i::text), '') FROM generate_series(1, ${SIZE / 32}) i`,
    );
    await system.sql('east', `INSERT INTO activity (tenant_id, kind, body) VALUES ('t03', 'behind', 'x')`);
    const behind = () => eventually('behind it', async () => (await md5('west', 'behind'))?.n, 300_000);
    const large = () => eventually('whole', () => md5('west', 'large'), 300_000);
    const [there] = await Promise.all([large(), behind()]);
    expect(there).toEqual(await md5('east', 'large'));
    expect(there.n).toBe(SIZE);
    // It may have gone through a lane of its own.
    await see.live('t01');
    expect((await see.feeds()).filter(({ feed }) => feed !== 'live')).toEqual([]);
    expect(peak('cdc', 'east')).toBeLessThan(RSS_MAX);
    expect(peak('apply', 'west')).toBeLessThan(RSS_MAX);
  });

  it('that others leave alone is not sent again', async () => {
    await system.sql('east', `UPDATE activity SET kind = 'renamed' WHERE kind = 'large'`);
    await eventually('renamed', async () => (await md5('west', 'renamed'))?.n, 300_000);
    expect(await md5('west', 'renamed')).toEqual(await md5('east', 'renamed'));
  });
});
