import type { SealingKeys } from '@drover/block';
import { DroverError, type TenantId, tenantId } from '@drover/core';
import { createLogger } from '@drover/telemetry';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KeyWait, sealedTenantOf } from './key-wait.ts';

const ACME = tenantId('acme');
const GLOBEX = tenantId('globex');
const PATIENCE_MS = 60_000;
const unavailable = (why: string, cause?: unknown) =>
  new DroverError('key.unavailable', why, {
    facts: { tenant: ACME },
    ...(cause === undefined ? {} : { cause }),
  });

/** Answers one after the other, the last one for ever; null: it is there. */
function answering(answers: (Error | null)[]): SealingKeys & { asked: TenantId[] } {
  const asked: TenantId[] = [];
  return {
    asked,
    current: (tenant) => {
      asked.push(tenant);
      const next = answers.length > 1 ? answers.shift() : answers[0];
      if (next != null) throw next;
      return null;
    },
  };
}

let counts: number[];
const waitFor = (keys: SealingKeys) =>
  new KeyWait({
    keys,
    patienceMs: PATIENCE_MS,
    log: createLogger({ service: 'test', level: 'error', sink: () => undefined }),
    onCount: (n) => counts.push(n),
  });
const never = new AbortController().signal;

beforeEach(() => {
  counts = [];
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Milliseconds until it resolves. */
async function timeOf(waiting: Promise<void>): Promise<number> {
  const begun = performance.now();
  let over = false;
  const done = waiting.finally(() => {
    over = true;
  });
  done.catch(() => undefined);
  while (!over) await vi.advanceTimersByTimeAsync(100);
  await done;
  return performance.now() - begun;
}

describe('a reader that lacks a key', () => {
  it('knows whose', () => {
    expect(sealedTenantOf(unavailable('no'))).toBe(ACME);
    expect(sealedTenantOf(new DroverError('pg.unreachable', 'no', { facts: { tenant: ACME } }))).toBeNull();
    expect(sealedTenantOf(new Error('no'))).toBeNull();
  });

  it('waits until it is there, and tells why it is not, each time that changes', async () => {
    const wait = waitFor(answering([unavailable('one'), unavailable('one'), unavailable('two'), null]));
    const told: string[] = [];
    expect(await timeOf(wait.wait(ACME, never, ({ message }) => told.push(message)))).toBeLessThan(
      PATIENCE_MS / 10,
    );
    expect(told).toEqual(['one', 'two']);
    expect([...wait.withheld]).toEqual([]);
    expect(counts).toEqual([1, 0]);
  });

  it('withholds the tenant’s rows when its patience is over, and hardly waits for the next one', async () => {
    const wait = waitFor(answering([unavailable('no')]));
    const ms = await timeOf(wait.wait(ACME, never, () => undefined));
    expect(ms).toBeGreaterThanOrEqual(PATIENCE_MS);
    expect(ms).toBeLessThan(PATIENCE_MS * 1.1);
    expect([...wait.withheld]).toEqual([ACME]);
    expect(await timeOf(wait.wait(GLOBEX, never, () => undefined))).toBeLessThan(PATIENCE_MS / 10);
    expect([...wait.withheld]).toEqual([ACME, GLOBEX]);
    expect(counts).toEqual([1, 1, 2, 2]);
  });

  it('does not lose its patience while keys cannot be watched: that is the bus’s trouble, and everybody’s', async () => {
    const troubles = Array.from({ length: 1000 }, () =>
      unavailable('not watched', new Error('the bus is away')),
    );
    const wait = waitFor(answering([...troubles, unavailable('no'), null]));
    expect(await timeOf(wait.wait(ACME, never, () => undefined))).toBeGreaterThan(PATIENCE_MS * 2);
    expect([...wait.withheld]).toEqual([]);
  });

  it('lets a tenant go on whose key is there again, and no other', async () => {
    const there = new Set<TenantId>();
    const wait = waitFor({
      current: (tenant) => {
        if (there.has(tenant)) return null;
        throw unavailable('no');
      },
    });
    for (const tenant of [ACME, GLOBEX]) await timeOf(wait.wait(tenant, never, () => undefined));
    wait.look();
    expect(wait.withheld.size).toBe(2);
    there.add(GLOBEX);
    wait.look();
    expect([...wait.withheld]).toEqual([ACME]);
    expect(counts.at(-1)).toBe(1);
  });

  it('stops waiting when it is stopped, and does not swallow other errors', async () => {
    const stop = new AbortController();
    const wait = waitFor(answering([unavailable('no')]));
    const waiting = wait.wait(ACME, stop.signal, () => undefined);
    await vi.advanceTimersByTimeAsync(1000);
    stop.abort();
    await waiting;
    expect([...wait.withheld]).toEqual([]);
    const broken = waitFor(answering([new Error('a bug')]));
    await expect(broken.wait(ACME, never, () => undefined)).rejects.toThrow('a bug');
  });
});
