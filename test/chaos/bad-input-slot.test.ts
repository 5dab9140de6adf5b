/**
 * A replication slot that somebody dropped by hand. What is written until there is a new one is in no stream: the reader says so and waits,
 * nobody pretends (I8), no tenant is moved onto a replica that lacks something (I1), and the documented way out ends with equal replicas.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { errorOf, eventually, System } from '../e2e/system.ts';
import { type Entry, Observer } from './observe.ts';

/** Fed from east: t01 is written before and after the gap, t03 only within it, t05 never; `_shared` is the reference data. */
const FROM_EAST = ['_shared', 't01', 't03', 't05'];
const FROM_WEST = ['t02', 't04', 't06'];

let system: System;
let see: Observer;

beforeAll(async () => {
  system = await System.start(System.folder(), ['--seed-tenants', '6', '--no-demo-load']);
  await system.patient();
  see = new Observer(system);
});
afterAll(async () => {
  await system.stop();
  system.remove();
});

const write = (tenant: string, body: string) =>
  system.asTenant(tenant, `INSERT INTO activity (tenant_id, kind, body) VALUES ($1, 'gap', $2)`, [
    tenant,
    body,
  ]);
const slots = () => system.sql('east', `SELECT slot_name FROM pg_replication_slots`);

describe('a slot that was dropped by hand', () => {
  it('is told by the reader, which stays up and makes none by itself; nobody is moved', async () => {
    await write('t01', 'before');
    const homes = await see.homes();
    const pid = system.pidOf('cdc', 'east');
    await see.whileOthersGoOn(FROM_WEST, async () => {
      // In one round trip, so that the reader is not back in between.
      await system.sql(
        'east',
        `SELECT pg_terminate_backend(active_pid, 60000) FROM pg_replication_slots WHERE slot_name = 'drover_app';
         SELECT pg_drop_replication_slot('drover_app')`,
      );
      await write('t01', 'within');
      await write('t03', 'within');
      const told = await see.notReady(
        'cdc-east',
        /pg\.slot_missing: replication slot drover_app does not exist/,
      );
      expect(told).toContain('drover setup --resync');
      expect((await system.ask('cdc-east', 'livez')).status).toBe(200);
      expect(see.component(await see.status(), 'cdc-east')).toMatchObject({
        ok: false,
        detail: expect.stringContaining('pg.slot_missing'),
      });
      // What the replica lacks cannot be waited for: the switch-over is called off, and the tenant is open where it was.
      const moved = await system.drover('tenant', 'failover', 't01', '--to', 'west', '--json');
      expect([moved.code, errorOf(moved)]).toEqual([
        1,
        expect.objectContaining({ error: 'failover.drain_timeout', hint: 't01 goes on at east' }),
      ]);
      await write('t01', 'after it was called off');
      expect(await slots()).toEqual([]);
    });
    expect(system.pidOf('cdc', 'east')).toBe(pid);
    expect(await see.homes()).toEqual(homes);
  });

  it('leaves no replica that passes for whole: after the resync all its tenants are parked, written or not', async () => {
    const west = await system.sql('west', `SELECT generation, slot_lsn FROM drover.node`);
    const setup = await system.drover('setup', '--resync', '--cluster', 'east');
    expect(setup.code, setup.stderr).toBe(0);
    expect(await slots()).toEqual([{ slot_name: 'drover_app' }]);
    // The slot of a healthy cluster is left alone.
    expect(await system.sql('west', `SELECT generation, slot_lsn FROM drover.node`)).toEqual(west);
    await see.ready('cdc-east');
    await write('t01', 'after');
    for (const tenant of FROM_EAST) {
      const entry = await eventually(`${tenant} is parked for good`, async () =>
        (await see.openEntries(tenant)).find((e) => e.kind === 'resync'),
      );
      expect(entry).toMatchObject({
        cluster: 'west',
        reason: expect.stringMatching(/^pg\.slot_missing: .*made anew/),
      });
    }
    const feeds = await see.feeds();
    for (const { tenant, feed } of feeds)
      expect(`${tenant} ${feed}`).toBe(`${tenant} ${FROM_EAST.includes(tenant) ? 'parked' : 'live'}`);
    expect((await see.status()).clusters.find((c) => c.cluster === 'west')).toMatchObject({
      parked: FROM_EAST.length,
    });
    const moved = await system.drover('tenant', 'failover', 't03', '--to', 'west', '--json');
    expect(moved.code, moved.stdout).toBe(1);
    // Retrying would pass over what is missing.
    const [entry] = await see.openEntries('t03');
    const retried = await system.drover('ledger', 'retry', 'west', String(entry?.id), '--json');
    expect([retried.code, errorOf(retried).hint]).toEqual([
      2,
      expect.stringContaining('drover tenant replicate t03 --to <cluster> --anew'),
    ]);
  });

  it('is over when the tenants were copied anew: equal, nothing open, and new writes flow', async () => {
    await see.whileOthersGoOn(FROM_WEST, async () => {
      for (const tenant of FROM_EAST) {
        const copied = await system.drover('tenant', 'replicate', tenant, '--to', 'west', '--anew');
        expect(copied.code, copied.stderr).toBe(0);
      }
    });
    expect(await system.json<Entry[]>('ledger', 'list', '--open')).toEqual([]);
    await write('t05', 'at last');
    await see.allEqual();
    const rows = await system.sql<{ tenant: string; body: string }>(
      'west',
      `SELECT tenant_id AS tenant, body FROM activity WHERE kind = 'gap' AND tenant_id = ANY ($1) ORDER BY at`,
      [FROM_EAST],
    );
    expect(rows.map((r) => `${r.tenant} ${r.body}`)).toEqual([
      't01 before',
      't01 within',
      't03 within',
      't01 after it was called off',
      't01 after',
      't05 at last',
    ]);
    await eventually('status is well', async () => ((await see.status()).ok ? true : undefined));
  });
});
