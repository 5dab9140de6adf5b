/**
 * The first copy of a tenant that is written to all the while (I1, I2, I10): with the real capture and apply, cut off at every step and begun
 * again, the replica ends equal to its source, and what was copied is not copied twice.
 */
import { onEvent } from '@drover/bus';
import type { TenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CHUNK, CopyWorld, ROWS, type Writer } from './copy-world.ts';

let world: CopyWorld;
let writers: Writer[] = [];
beforeAll(async () => {
  world = await CopyWorld.start();
});
afterEach(() => quiet());
afterAll(() => world.close());

async function writing(tenant: TenantId): Promise<void> {
  for (const seed of [7, 8]) writers.push(await world.writer(tenant, seed));
}
async function quiet(): Promise<void> {
  const ended = writers;
  writers = [];
  for (const writer of ended) await writer.stop();
}
const changes = (): number => writers.reduce((sum, writer) => sum + writer.changes, 0);

/** Goes on only when the writers have changed some more rows. */
async function busy(): Promise<void> {
  const before = changes();
  await world.failover.waitFor('the writers write', async () => changes() >= before + 10);
}
/** Throws when `step` is reached for the `at`-th time. */
function killedAt(step: string, at: number): (reached: string) => Promise<void> {
  let seen = 0;
  return async (reached) => {
    await busy();
    if (reached === step && ++seen === at) throw new Error(`killed at ${step}`);
  };
}

describe('a tenant that is written to', () => {
  it('is copied in one go; what is told only grows and ends complete; its neighbour is left alone', async () => {
    const neighbour = await world.failover.tenant('neighbour');
    const tenant = await world.tenant('one-go');
    const told: { phase?: string; rows?: number; total?: number }[] = [];
    const listening = onEvent(world.failover.bus, 'copy.progress', (_, fields) => void told.push(fields));
    writers.push(await world.writer(neighbour, 3));
    await writing(tenant);
    await world.copy(tenant, { failpoint: busy });
    expect(await world.stateOf(tenant)).toBe('live');
    expect(changes()).toBeGreaterThan((10 * ROWS) / CHUNK);
    await busy(); // the stream goes on
    await quiet();
    await world.expectEqual(tenant);
    await world.expectEqual(neighbour);
    await world.failover.waitFor('the end is told', async () => told.at(-1)?.phase === 'live');
    await listening.close();
    const rows = told.flatMap((t) => t.rows ?? []);
    expect(rows.length).toBeGreaterThan(ROWS / CHUNK);
    expect(rows).toEqual([...rows].sort((a, b) => a - b));
    const last = told.filter((t) => t.rows !== undefined).at(-1);
    expect(last?.rows).toBe(last?.total);
  });

  for (const [step, at, again] of [
    ['prepared', 1, null],
    ['chunk', 1, null],
    ['chunk', 7, null],
    // Rows that came in behind the last key meanwhile.
    ['copied', 1, CHUNK],
    ['following', 1, 0],
    ['done', 1, 0],
  ] as const) {
    it(`and whose copy dies at ${step} ${at} is copied on`, async () => {
      const tenant = await world.tenant(`dies-${step}-${at}`);
      await writing(tenant);
      await expect(world.copy(tenant, { failpoint: killedAt(step, at) })).rejects.toThrow(
        `killed at ${step}`,
      );
      const before = await world.record(tenant);
      expect(await world.stateOf(tenant)).toBe('copying');
      await busy();
      let rows = 0;
      let further = false;
      await world.copy(tenant, {
        failpoint: async (reached) => {
          if (reached === 'noted') further = true;
          await busy();
        },
        // Rows that moved between two snapshots may have to be read in a further pass; that is not counted.
        onRows: (more) => {
          if (!further) rows += more;
        },
      });
      if (again === null) {
        // What was inserted meanwhile is read too; what stands on record is not.
        const left = 2 * ROWS - (before?.rows ?? 0);
        expect(Math.abs(rows - left)).toBeLessThan(changes());
        expect(rows).toBeGreaterThan(0);
      } else expect(rows).toBeLessThanOrEqual(again);
      expect(await world.stateOf(tenant)).toBe('live');
      await quiet();
      await world.expectEqual(tenant);
      expect((await world.record(tenant))?.attempt).toBeGreaterThanOrEqual(before?.attempt ?? 1);
    });
  }

  it('and whose copy dies after every chunk ends all the same', async () => {
    const tenant = await world.tenant('dies-often');
    await writing(tenant);
    let attempts = 0;
    for (; (await world.stateOf(tenant)) === 'copying' && attempts < 100; attempts++) {
      await world.copy(tenant, { failpoint: killedAt('chunk', 2) }).catch((error: Error) => {
        expect(error.message).toBe('killed at chunk');
      });
    }
    expect(await world.stateOf(tenant)).toBe('live');
    expect(attempts).toBeGreaterThan(ROWS / CHUNK / 2);
    await quiet();
    await world.expectEqual(tenant);
  });
});
