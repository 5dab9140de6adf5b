/**
 * The bus is away, or full. Sources keep their WAL and what is written on them (I1), everybody says what is wrong, nobody gives up, no tenant
 * is left closed, and afterwards the replicas are equal.
 */
import { connectBus, streamName } from '@drover/bus';
import { clusterId, parseLsn, partitionOf, tenantId } from '@drover/core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { errorOf, eventually, System } from '../e2e/system.ts';
import { type Book, longestGap, startWriters, type Writers } from '../e2e/writers.ts';
import { Observer, type Status } from './observe.ts';

const TENANTS = ['t01', 't02', 't03', 't04'];

let system: System;
let see: Observer;

beforeAll(async () => {
  system = await System.start(System.folder(), ['--seed-tenants', '4', '--no-demo-load']);
  await system.patient();
  see = new Observer(system);
});
afterAll(async () => {
  await system.stop();
  system.remove();
});

beforeEach(async () => {
  for (const tenant of TENANTS) await system.asTenant(tenant, 'DELETE FROM activity');
});

/** Ended also when a test fails: the next one counts from 1 again. */
let running: Writers | undefined;
const start = () => {
  running = startWriters(system.ready.proxy, TENANTS);
  return running;
};
afterEach(() => running?.stop());

const confirmed = async () => {
  const [row] = await system.sql<{ lsn: string }>(
    'east',
    `SELECT confirmed_flush_lsn::text AS lsn FROM pg_replication_slots WHERE slot_name = 'drover_app'`,
  );
  return parseLsn(row?.lsn ?? '');
};

/** As an application with a connection of its own to the primary. Returns where the WAL ends behind its commit. */
async function writeDirectly(body: string): Promise<bigint> {
  await system.sql(
    'east',
    `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'direct', '${body}')`,
  );
  // Not in the same query: that is one transaction, and the slot may be confirmed up to where its commit begins.
  const [row] = await system.sql<{ lsn: string }>('east', 'SELECT pg_current_wal_insert_lsn()::text AS lsn');
  return parseLsn(row?.lsn ?? '');
}

async function written(books: readonly Book[]): Promise<void> {
  const marks = books.map((book) => book.outcomes.length);
  await eventually('everybody writes', async () =>
    books.every((book, i) => book.outcomes.length > (marks[i] ?? 0) + 10) ? true : undefined,
  );
}

/**
 * Every acknowledged write is there once at the tenant's primary, and nothing else is there. A transaction that is under way at the very
 * moment at which the front door's lease runs out is cut (I4): its outcome is unknown, and of one client that can be one.
 */
async function nothingLost(books: readonly Book[], cutMax: number): Promise<void> {
  const homes = await see.homes();
  for (const { tenant, outcomes } of books) {
    const failed = outcomes.filter((o) => o.result !== 'ok');
    expect(failed.length, JSON.stringify(failed)).toBeLessThanOrEqual(cutMax);
    for (const { result, error } of failed)
      expect(`${result} ${error}`).toMatch(/^unknown .*lost its lease: the transaction was cut off/);
    const rows = await system.sql<{ body: string }>(
      homes[tenant]?.split(' ')[0] ?? '',
      `SELECT body FROM activity WHERE tenant_id = $1 AND kind = 'e2e' ORDER BY body::int`,
      [tenant],
    );
    const unknown = new Set(failed.map((o) => o.seq));
    const there = rows.map((row) => Number(row.body)).filter((seq) => !unknown.has(seq));
    expect(there).toEqual(outcomes.filter((o) => o.result === 'ok').map((o) => o.seq));
    expect(rows.length - there.length).toBeLessThanOrEqual(unknown.size);
  }
}

/** A switch-over that is asked for while NATS is away. */
async function refused(tenant: string): Promise<void> {
  const moved = await system.drover('tenant', 'failover', tenant, '--to', 'west', '--json');
  expect([moved.code, errorOf(moved)]).toEqual([
    1,
    expect.objectContaining({
      error: 'bus.unreachable',
      message: expect.stringMatching(/NATS|cannot be read/),
    }),
  ]);
}

/** A tenant that was to be moved meanwhile is open where it was. */
async function openAtHome(tenant: string): Promise<void> {
  const rows = await system.sql('east', `SELECT role, open FROM drover.tenant WHERE tenant = $1`, [tenant]);
  expect(rows).toEqual([{ role: 'primary', open: true }]);
}

describe.each([
  {
    name: 'that stands still (SIGSTOP)',
    down: async () => {
      const pid = system.natsServer();
      process.kill(pid, 'SIGSTOP');
      return async () => void process.kill(pid, 'SIGCONT');
    },
    told: async () => {
      const answer = await system.drover('status', '--json');
      if (answer.stdout === '') {
        // The connection was given up by then.
        expect(errorOf(answer)).toMatchObject({ error: 'bus.unreachable', message: 'NATS does not answer' });
        return;
      }
      expect(see.component(JSON.parse(answer.stdout) as Status, 'nats')).toEqual({
        name: 'nats',
        ok: false,
        detail: expect.stringContaining('NATS does not answer'),
      });
    },
  },
  {
    name: 'that was killed (SIGKILL)',
    down: async () => {
      const from = system.events.length;
      process.kill(system.natsServer(), 'SIGKILL');
      await system.waitEvent('server_ended', from);
      return async () => {
        system.revive();
        await system.waitEvent('server_started', from);
      };
    },
    told: async () => {
      await see.notReady('control', /NATS does not answer/);
      const status = await system.drover('status', '--json');
      expect([status.code, errorOf(status)]).toEqual([
        1,
        expect.objectContaining({ error: 'bus.unreachable', message: 'NATS does not answer' }),
      ]);
    },
  },
])('a NATS $name', ({ down, told }) => {
  it('holds the front door and stops replication, loses nothing, and is told by everybody', async () => {
    const homes = await see.homes();
    const writers = start();
    await written(writers.books);
    const up = await down();
    try {
      const first = await writeDirectly('first');
      await Promise.all([
        told(),
        see.notReady('cdc-east', /NATS does not answer/),
        see.notReady('apply-west', /waiting for the lease/),
        see.notReady('proxy', /no lease/),
        refused('t01'),
      ]);
      await openAtHome('t01');
      const second = await writeDirectly('second');
      expect(second).toBeGreaterThan(first);
      // Not acknowledged, not confirmed: the source keeps it.
      expect(await confirmed()).toBeLessThan(first);
    } finally {
      await up();
    }
    await Promise.all(
      ['cdc-east', 'cdc-west', 'apply-east', 'apply-west', 'proxy', 'control'].map((name) => see.ready(name)),
    );
    await written(writers.books);
    await writers.stop();
    // Held, and then let go: within the time that a statement waits (`[proxy] hold`).
    expect(Math.max(...writers.books.map(longestGap))).toBeLessThan(120_000);
    await nothingLost(writers.books, 1);
    await see.allEqual();
    expect(await see.homes()).toEqual(homes);
    const direct = await system.sql('west', `SELECT body FROM activity WHERE kind = 'direct' ORDER BY at`);
    expect(direct).toEqual([{ body: 'first' }, { body: 'second' }]);
    await eventually('status is well', async () => ((await see.status()).ok ? true : undefined));
  });
});

describe('a JetStream that is full', () => {
  const MAX = 2 * 1024 ** 3;
  const gauge = async (name: string) => {
    const { text } = await system.ask('cdc-east', 'metrics');
    return Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]);
  };
  const limits = async () => {
    const bus = await connectBus({ url: system.ready.nats, name: 'test' });
    try {
      const name = streamName(clusterId('east'), partitionOf(tenantId('t01'), 4));
      return (await bus.jsm.streams.info(name)).config.max_bytes;
    } finally {
      await bus.close();
    }
  };

  it('stops the reader within its bounds, is told, and goes on when the limit is raised', async () => {
    const homes = await see.homes();
    // The mistake: a bound far too small. Running services learn of it by `setup`; two of them start with it.
    system.configure({ max_bytes: '"64KiB"', in_flight_bytes: '"1MiB"' });
    expect((await system.drover('setup')).code).toBe(0);
    expect(await limits()).toBe(64 * 1024);
    await system.restart('cdc', 'east');
    await system.restart('apply', 'west');
    const writers = start();
    // 8 MB that no codec makes small.
    for (let i = 0; i < 8; i++) {
      await system.asTenant(
        't01',
        `INSERT INTO activity (tenant_id, kind, body)
         SELECT 't01', 'bulk', (SELECT string_agg(md5(random()::text || g || h), '') FROM generate_series(1, 320) h) FROM generate_series(1, 100) g`,
      );
    }
    await see.notReady('cdc-east', /partition \d: the bus is full: .*max_bytes.*drover setup/);
    expect(see.component(await see.status(), 'cdc-east')).toMatchObject({
      ok: false,
      detail: expect.stringContaining('the bus is full'),
    });
    // Paused, for longer and longer, and bounded (I9).
    const paused = await eventually(
      'the reader pauses',
      async () => (await gauge('drover_cdc_paused_seconds_total')) || undefined,
    );
    await eventually('it goes on pausing', async () =>
      (await gauge('drover_cdc_paused_seconds_total')) > paused ? true : undefined,
    );
    const held = await gauge('drover_cdc_held_bytes');
    expect(held).toBeGreaterThan(512 * 1024);
    expect(held).toBeLessThan(4 * 1024 * 1024);
    await eventually('the slot is looked at', async () =>
      (await gauge('drover_cdc_slot_retained_bytes')) > 4 * 1024 * 1024 ? true : undefined,
    );
    const moved = await system.drover('tenant', 'failover', 't01', '--to', 'west', '--json');
    expect([moved.code, errorOf(moved)]).toEqual([
      1,
      expect.objectContaining({ error: 'failover.drain_timeout', hint: 't01 goes on at east' }),
    ]);
    await openAtHome('t01');
    await written(writers.books);

    system.configure({ max_bytes: '"2GiB"' });
    expect((await system.drover('setup')).code).toBe(0);
    await see.ready('cdc-east');
    await writers.stop();
    // A service that was started with the old bound and begins anew leaves the stream as it is.
    await system.sql(
      'west',
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drover_apply'`,
    );
    await see.ready('apply-west');
    await nothingLost(writers.books, 0);
    await see.allEqual();
    expect(await limits()).toBe(MAX);
    expect(await see.homes()).toEqual(homes);
    await eventually('status is well', async () => ((await see.status()).ok ? true : undefined));
  });
});
