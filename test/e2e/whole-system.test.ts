/**
 * What must be shown of the whole system (I1, I2, I4, I7, I8, I10), on `drover up` with real processes. Small numbers in CI;
 * DROVER_FULL=1 runs the full ones: 100 kills, 200 switch-overs.
 */
import { until } from '@drover/core';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, System } from './system.ts';
import { type Book, longestGap, percentile, startWriters } from './writers.ts';

const FULL = process.env['DROVER_FULL'] === '1';
const KILLS = FULL ? 100 : 12;
const SWITCHES = FULL ? 200 : 16;
const SEED = Number(process.env['DROVER_SEED'] ?? Date.now() % 1_000_000);

interface TenantJson {
  readonly tenant: string;
  readonly primary: string;
  readonly epoch: number;
  readonly replicas: { cluster: string; state: string }[];
  readonly lastMove: { holdMs: number } | null;
}

let system: System;
const dir = System.folder();

beforeAll(async () => {
  system = await System.start(dir, ['--fresh', '--seed-tenants', '8', '--no-demo-load']);
  await system.patient({ drain_timeout: '"20s"' });
});
afterAll(async () => {
  await system.stop();
  system.remove();
});

/** Deterministic choice (mulberry32); the seed is printed. */
function dice(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % n;
  };
}

async function expectAllEqual(): Promise<void> {
  const answer = await system.drover('verify', '--all');
  expect(answer.stdout + answer.stderr).toMatch(/tenants equal/);
  expect(answer.code).toBe(0);
}

/** Every acknowledged write is there once where the tenant is served, or in the ledger; nothing else is there twice. */
async function expectNothingLost(books: readonly Book[]): Promise<{ ledgered: number }> {
  const tenants = await system.json<TenantJson[]>('tenant', 'list');
  const ledger = JSON.stringify(await system.json('ledger', 'list', '--limit', '1000'));
  let ledgered = 0;
  for (const book of books) {
    const primary = tenants.find((t) => t.tenant === book.tenant)?.primary ?? '';
    const client = new pg.Client({ connectionString: system.ready.clusters[primary] });
    await client.connect();
    const { rows } = await client.query<{ body: string; n: number }>(
      `SELECT body, count(*)::int AS n FROM activity WHERE tenant_id = $1 AND kind = 'e2e' GROUP BY body`,
      [book.tenant],
    );
    await client.end();
    const there = new Map(rows.map((r) => [Number(r.body), r.n]));
    for (const [seq, n] of there) expect(n, `${book.tenant} ${seq} is there ${n} times`).toBe(1);
    for (const { seq, result } of book.outcomes) {
      if (result !== 'ok' || there.has(seq)) continue;
      const kept = ledger.includes(`"body":"${seq}"`) && ledger.includes(book.tenant);
      expect(kept, `${book.tenant} ${seq} was acknowledged and is neither served nor in the ledger`).toBe(
        true,
      );
      ledgered++;
    }
    // The next test counts from 1 again.
    await clear(book.tenant, primary);
  }
  return { ledgered };
}

async function clear(tenant: string, primary: string): Promise<void> {
  const url = new URL(system.ready.proxy);
  url.username = `${tenant}.app`;
  const client = new pg.Client({ connectionString: url.href });
  await client.connect();
  await client.query(`DELETE FROM activity WHERE kind = 'e2e'`);
  await client.end();
  expect(primary).not.toBe('');
}

const errorsOf = (books: readonly Book[]) =>
  books.flatMap((b) => b.outcomes.filter((o) => o.result !== 'ok').map((o) => `${b.tenant}: ${o.error}`));

describe('the whole system', () => {
  it('answers the verbs, and says how clusters and services are', async () => {
    const status = await eventually('status is well', async () => {
      const found = await system.json<{ ok: boolean; tenants: number }>('status');
      return found.ok ? found : undefined;
    });
    expect(status).toMatchObject({ ok: true, tenants: 9 });
    const lag = await system.json<{ lags: { tenant: string; lagSeconds: number; feed: string }[] }>('lag');
    expect(lag.lags).toHaveLength(9);
    const unknown = await system.drover('tenant', 'show', 'nobody');
    expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining('there is no tenant nobody')]);
    const metrics = await (await fetch(`${system.ready.metrics['apply-west']}/metrics`)).text();
    expect(metrics).toMatch(/^drover_apply_/m);
  });

  it('keeps tenants apart, and gives the same refusal to a wrong password and an unknown tenant', async () => {
    const url = new URL(system.ready.proxy);
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    await client.query(`INSERT INTO activity (tenant_id, kind) VALUES ('t01', 'own')`);
    await expect(
      client.query(`INSERT INTO activity (tenant_id, kind) VALUES ('t02', 'foreign')`),
    ).rejects.toMatchObject({ code: '42501' });
    await expect(
      client.query(`SELECT pg_logical_emit_message(true, 'drover.epoch', 'x')`),
    ).rejects.toMatchObject({ code: '42501' });
    await client.end();
    const refused = async (change: (u: URL) => void) => {
      const other = new URL(system.ready.proxy);
      change(other);
      const stranger = new pg.Client({ connectionString: other.href });
      return stranger.connect().then(
        () => 'connected',
        (error: { code?: string }) => error.code,
      );
    };
    expect(
      await refused((u) => {
        u.password = 'wrong';
      }),
    ).toBe('28P01');
    expect(
      await refused((u) => {
        u.username = 'nobody.app';
      }),
    ).toBe('28P01');
  });

  it(`moves tenants back and forth under load, ${SWITCHES} times, without one client error`, async () => {
    const writers = startWriters(system.ready.proxy, system.ready.tenants);
    const holds: number[] = [];
    for (let i = 0; i < SWITCHES; i++) {
      const tenant = system.ready.tenants[i % system.ready.tenants.length] ?? '';
      const { primary } = await system.json<TenantJson>('tenant', 'show', tenant);
      const to = primary === 'east' ? 'west' : 'east';
      const after = await system.json<TenantJson>('tenant', 'failover', tenant, '--to', to);
      expect(after.primary).toBe(to);
      holds.push(after.lastMove?.holdMs ?? 0);
    }
    await writers.stop();
    expect(errorsOf(writers.books)).toEqual([]);
    console.log(
      `switch-overs ${SWITCHES}: hold p50 ${percentile(holds, 50)} ms, p99 ${percentile(holds, 99)} ms`,
    );
    await expectAllEqual();
    expect(await expectNothingLost(writers.books)).toEqual({ ledgered: 0 });
  });

  it(`survives ${KILLS} kills of its processes under load (seed ${SEED})`, async () => {
    const roll = dice(SEED);
    const victims: [string, string?][] = [
      ['cdc', 'east'],
      ['cdc', 'west'],
      ['apply', 'east'],
      ['apply', 'west'],
      ['failover'],
      ['proxy'],
    ];
    const writers = startWriters(system.ready.proxy, system.ready.tenants);
    for (let i = 0; i < KILLS; i++) {
      const [service, cluster] = victims[roll(victims.length)] ?? ['cdc', 'east'];
      const pid = system.pidOf(service, cluster);
      const from = system.events.length;
      if (pid === undefined) continue;
      process.kill(pid, 'SIGKILL');
      const name = cluster === undefined ? service : `${service}-${cluster}`;
      await until(
        () =>
          system.events.slice(from).some((e) => e.event === 'ready' && e['name'] === name) ? true : undefined,
        {
          everyMs: 25,
          timeoutMs: 180_000,
          onTimeout: () => new Error(`${name} did not come back after kill ${i} (seed ${SEED})`),
        },
      );
    }
    await writers.stop();
    await expectAllEqual();
    expect(await expectNothingLost(writers.books)).toEqual({ ledgered: 0 });
  });

  it('loses a whole cluster under load: its tenants go on at the other one, and it comes back as a replica', async () => {
    const before = await system.json<TenantJson[]>('tenant', 'list');
    const writers = startWriters(system.ready.proxy, system.ready.tenants);
    await until(() => (writers.books.every((b) => b.outcomes.length > 20) ? true : undefined), {
      everyMs: 50,
      timeoutMs: 120_000,
      onTimeout: () => new Error('writers did not start'),
    });
    const from = system.events.length;
    process.kill(system.postmaster('east'), 'SIGKILL');
    await until(
      async () => {
        const tenants = await system.json<TenantJson[]>('tenant', 'list');
        return tenants.every((t) => t.primary === 'west') ? true : undefined;
      },
      {
        everyMs: 250,
        timeoutMs: 180_000,
        onTimeout: () => new Error('not all tenants are at west within 180 s'),
      },
    );
    const mark = writers.books.map((b) => b.outcomes.length);
    await until(
      () => (writers.books.every((b, i) => b.outcomes.length > (mark[i] ?? 0) + 10) ? true : undefined),
      {
        everyMs: 50,
        timeoutMs: 120_000,
        onTimeout: () => new Error('a tenant is not writable at west'),
      },
    );
    await system.waitEvent('server_ended', from);
    system.revive();
    await system.waitEvent('server_started', from);
    await until(
      async () => {
        const tenants = await system.json<TenantJson[]>('tenant', 'list');
        return tenants.every((t) => t.replicas.every((r) => r.state === 'live')) ? true : undefined;
      },
      {
        everyMs: 250,
        timeoutMs: 240_000,
        onTimeout: () => new Error('east did not become a replica again within 240 s'),
      },
    );
    await writers.stop();
    const home = new Map(before.map((t) => [t.tenant, t.primary]));
    const east = writers.books.filter((b) => home.get(b.tenant) === 'east');
    const west = writers.books.filter((b) => home.get(b.tenant) === 'west');
    const gaps = east.map(longestGap);
    console.log(
      `cluster lost: gap of its ${east.length} tenants p50 ${percentile(gaps, 50)} ms, p99 ${percentile(gaps, 99)} ms`,
    );
    expect(errorsOf(west)).toEqual([]);
    // They do not wait for the others: of those everyone waits as long.
    expect(Math.max(0, ...west.map(longestGap))).toBeLessThan(Math.max(3000, Math.min(...gaps) / 2));
    await expectAllEqual();
    const { ledgered } = await expectNothingLost(writers.books);
    console.log(`acknowledged writes that had not reached JetStream, now in the ledger: ${ledgered}`);
  });

  it('stops without leaving a process, and starts warm with its data', async () => {
    const first = system.ready.tenants[0] ?? '';
    expect(await system.stop()).toEqual({ code: 0, left: [] });
    const started = performance.now();
    system = await System.start(dir, ['--seed-tenants', '8', '--no-demo-load']);
    expect(performance.now() - started).toBeLessThan(100_000);
    expect((await system.json<TenantJson>('tenant', 'show', first)).epoch).toBeGreaterThan(1);
    await expectAllEqual();
  });
});
