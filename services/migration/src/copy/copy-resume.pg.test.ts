/** A copy that is cut off at any point and begun again (I10), or that is not wanted any more. */
import { epoch } from '@drover/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CopyWorld, type Worker } from '../world.testing.ts';

const SQL = `
CREATE TABLE note (tenant text, id int, body text, PRIMARY KEY (tenant, id));
CREATE TABLE bare (tenant text, line text, n int); ALTER TABLE bare REPLICA IDENTITY FULL;`;
const ROWS = 100;
const CHUNK = 10;

let world: CopyWorld;
let apply: Worker;
let n = 0;
beforeAll(async () => {
  world = await CopyWorld.start(SQL);
});
beforeEach(() => {
  apply = world.standIn();
});
afterEach(() => apply.stop());
afterAll(() => world.close());

async function filled() {
  const tenant = await world.tenant(`t${n++}`);
  await world.source.query(`INSERT INTO note SELECT $1, i, 'body ' || i FROM generate_series(1, ${ROWS}) i`, [
    tenant,
  ]);
  await world.source.query(`INSERT INTO bare SELECT $1, 'line', i FROM generate_series(1, 3) i`, [tenant]);
  return tenant;
}

/** Throws when `step` is reached for the `at`-th time. */
function failingAt(step: string, at = 1): (reached: string) => Promise<void> {
  let seen = 0;
  return async (reached) => {
    if (reached === step && ++seen === at) throw new Error(`killed at ${step}`);
  };
}

describe('a copy that died', () => {
  for (const [step, at, again] of [
    ['prepared', 1, ROWS + 3],
    ['chunk', 1, ROWS],
    ['chunk', 5, ROWS - 4 * CHUNK],
    ['chunk', 11, 0],
    ['copied', 1, 0],
    ['following', 1, 0],
    ['done', 1, 0],
  ] as const) {
    it(`at ${step} ${at} goes on without copying a chunk twice`, async () => {
      const tenant = await filled();
      await expect(world.copy(tenant, { failpoint: failingAt(step, at) })).rejects.toThrow(
        `killed at ${step}`,
      );
      expect(await world.stateOf(tenant)).toBe('copying');
      let rows = 0;
      await world.copy(tenant, {
        onRows: (more) => {
          rows += more;
        },
      });
      expect(rows).toBe(again);
      await world.same(['note', 'bare'], tenant);
      expect(await world.record(tenant)).toMatchObject({ attempt: 1, state: 'done' });
      expect(await world.stateOf(tenant)).toBe('live');
    });
  }

  it('and dies at every chunk ends all the same, and what it tells only grows', async () => {
    const tenant = await filled();
    world.told.length = 0;
    let attempts = 0;
    for (; (await world.stateOf(tenant)) === 'copying'; attempts++) {
      await world
        .copy(tenant, { failpoint: failingAt('chunk') })
        .catch((error: Error) => expect(error.message).toBe('killed at chunk'));
    }
    expect(attempts).toBe(1 + ROWS / CHUNK + 1);
    await world.same(['note', 'bare'], tenant);
    await world.waitFor('the end is told', async () => world.told.at(-1)?.phase === 'live');
    const told = world.told.filter((t) => t.rows !== undefined);
    const rows = told.map((t) => t.rows ?? Number.NaN);
    expect(rows).toEqual([...rows].sort((a, b) => a - b));
    expect(told.at(-1)).toMatchObject({ rows: ROWS + 3, total: ROWS + 3 });
  });

  it('goes on behind its last chunk in a new snapshot, while rows move, come and go', async () => {
    const tenant = await filled();
    await expect(world.copy(tenant, { failpoint: failingAt('chunk', 6) })).rejects.toThrow('killed');
    // Behind the cursor nothing is read again: the stream brings it (the stand-in does not).
    await world.source.query(`DELETE FROM note WHERE tenant = $1 AND id BETWEEN 91 AND 95`, [tenant]);
    await world.source.query(`INSERT INTO note SELECT $1, i, 'new' FROM generate_series(200, 230) i`, [
      tenant,
    ]);
    world.told.length = 0;
    await world.copy(tenant);
    await world.same(['note'], tenant);
    await world.waitFor('the end is told', async () => world.told.at(-1)?.phase === 'live');
    const told = world.told.filter((t) => t.rows !== undefined).at(-1);
    expect(told?.rows).toBe(told?.total);
  });

  it('before the row was told about the first attempt is one attempt more, not a mixture', async () => {
    const tenant = await filled();
    await expect(world.copy(tenant, { failpoint: failingAt('chunk', 5) })).rejects.toThrow('killed');
    // Asked for once more under the same epoch: what the first one left is another copy's.
    await world.target.query(`UPDATE note SET body = 'of the other copy' WHERE tenant = $1`, [tenant]);
    await world.anew(tenant);
    await world.copy(tenant);
    await world.same(['note', 'bare'], tenant);
  });
});

describe('a source that cannot be reached', () => {
  it('in the midst of a chunk ends the attempt soon, and the next goes on', async () => {
    const tenant = await filled();
    await world.source.query(
      `INSERT INTO note SELECT $1, i, repeat('x', 100000) FROM generate_series(101, 300) i`,
      [tenant],
    );
    const failed = world.copy(tenant, {
      chunkRows: 150,
      failpoint: async (step) => {
        if (step === 'chunk') world.link.resetAfter(3_000_000, 'toClient');
      },
    });
    await expect(failed).rejects.toThrow();
    const before = await world.count(world.target, 'note', tenant);
    expect(before % 150).toBe(0);
    expect(before).toBeLessThan(300);
    world.link.pass();
    let rows = 0;
    await world.copy(tenant, {
      chunkRows: 150,
      onRows: (more) => {
        rows += more;
      },
    });
    await world.same(['note', 'bare'], tenant);
    expect(rows).toBeLessThan(303);
    expect(await world.record(tenant)).toMatchObject({ attempt: 1 });
  });

  it('and falls silent does not keep the copy from being stopped', async () => {
    const tenant = await filled();
    await world.source.query(
      `INSERT INTO note SELECT $1, i, repeat('x', 100000) FROM generate_series(101, 300) i`,
      [tenant],
    );
    const stop = new AbortController();
    world.told.length = 0;
    const failed = world.copy(tenant, {
      chunkRows: 1000,
      signal: stop.signal,
      failpoint: async (step) => {
        if (step === 'chunk') world.link.blackhole();
      },
    });
    failed.catch(() => undefined);
    await world.waitFor('the first chunk is copied', async () => world.told.some((t) => t.rows === 3));
    const begun = performance.now();
    stop.abort();
    await expect(failed).rejects.toMatchObject({ code: 'internal.cancelled' });
    expect(performance.now() - begun).toBeLessThan(60_000); // the source stays silent
    world.link.pass();
    await world.waitFor('the session at the target is gone', async () => {
      const { rows } = await world.target.query(
        `SELECT count(*)::int AS n FROM pg_stat_activity WHERE application_name = 'drover copy' AND usename = 'drover_apply'`,
      );
      return rows[0].n === 0;
    });
    await world.copy(tenant);
    await world.same(['note', 'bare'], tenant);
  });
});

describe('a copy that is not wanted any more', () => {
  it('stops between two chunks, quietly, when its replica is gone', async () => {
    const tenant = await filled();
    await world.copy(tenant, {
      failpoint: async (step) => {
        if (step === 'chunk') await world.change(tenant, (p) => ({ ...p, replicas: {} }));
      },
    });
    expect(await world.count(world.target, 'note', tenant)).toBeLessThan(ROWS);
    expect(await world.stateOf(tenant)).toBeUndefined();
    expect(await world.record(tenant)).toMatchObject({ state: 'copying' });
  });

  it('stops waiting for the stream when its replica is gone', async () => {
    await apply.stop();
    const tenant = await filled();
    await world.copy(tenant, {
      failpoint: async (step) => {
        if (step === 'following') await world.change(tenant, (p) => ({ ...p, replicas: {} }));
      },
    });
    expect(await world.stateOf(tenant)).toBeUndefined();
  });

  it('under its epoch begins anew under the next', async () => {
    const tenant = await filled();
    await expect(
      world.copy(tenant, {
        failpoint: async (step) => {
          if (step === 'chunk') await world.change(tenant, (p) => ({ ...p, epoch: epoch(p.epoch + 1) }));
        },
      }),
    ).rejects.toMatchObject({ code: 'copy.failed', message: expect.stringContaining('moved') });
    await world.copy(tenant);
    await world.same(['note', 'bare'], tenant);
    expect(await world.record(tenant)).toMatchObject({ attempt: 2, state: 'done' });
    expect(await world.stateOf(tenant)).toBe('live');
  });
});

describe('two services that both believe they copy', () => {
  it('are one: the second is refused as long as the first is at work (I4)', async () => {
    const tenant = await filled();
    const second: unknown[] = [];
    await world.copy(tenant, {
      failpoint: async (step) => {
        if (step === 'chunk' && second.length === 0)
          second.push(await world.copy(tenant, {}, 1).catch((error: unknown) => error));
      },
    });
    expect(second[0]).toMatchObject({ code: 'copy.failed', message: expect.stringContaining('already') });
    await world.same(['note', 'bare'], tenant);
  });
});
