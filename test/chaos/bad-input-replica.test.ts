/**
 * What goes wrong while everything runs, at the front door and between source and replica: passwords, names, a replica that lacks something, a
 * change that it refuses. The tenant concerned stops and says why (I8); nobody else notices (I7); after the mending nothing is missing (I1).
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually, System } from '../e2e/system.ts';
import { type Entry, Observer } from './observe.ts';

let system: System;
let see: Observer;

beforeAll(async () => {
  // t01, t03 and the reference data at home in east, t02 and t04 in west.
  system = await System.start(System.folder(), ['--seed-tenants', '4', '--no-demo-load']);
  await system.patient();
  see = new Observer(system);
});
afterAll(async () => {
  await system.stop();
  system.remove();
});

/** Schema changes are carried, from the west as well: what has an origin goes to nobody else. */
async function atWestAlone(statement: string): Promise<void> {
  await system.sql(
    'west',
    `SELECT pg_replication_origin_create('by_hand') WHERE NOT EXISTS (SELECT FROM pg_replication_origin WHERE roname = 'by_hand');
     SELECT pg_replication_origin_session_setup('by_hand'); ${statement}`,
  );
}

describe('a stranger at the front door', () => {
  const attempt = async (change: (url: URL) => void) => {
    const url = new URL(system.proxyUrl('t01'));
    change(url);
    const client = new pg.Client({ connectionString: url.href });
    client.on('error', () => undefined);
    const outcome = await client.connect().then(
      () => ({ code: 'connected' }),
      ({ code, message, detail, hint }: pg.DatabaseError) => ({ code, message, detail, hint }),
    );
    await client.end().catch(() => undefined);
    return outcome;
  };

  it('learns from no refusal whether a tenant, a user or a database exists', async () => {
    const wrong = (user: string, database = 'app') =>
      attempt((url) => {
        url.username = user;
        url.password = 'wrong';
        url.pathname = `/${database}`;
      });
    for (const user of ['t01.app', 'nobody.app', 't01.nobody', 'nobody']) {
      const refusal = { code: '28P01', message: `password authentication failed for user "${user}"` };
      expect(await wrong(user)).toEqual({ ...refusal, detail: undefined, hint: undefined });
      expect(await wrong(user, 'nowhere')).toEqual({ ...refusal, detail: undefined, hint: undefined });
    }
    // The right password of one tenant opens no other.
    expect(await attempt((url) => (url.username = 'nobody.app'))).toMatchObject({ code: '28P01' });
    expect(await attempt(() => undefined)).toEqual({ code: 'connected' });
  });

  it('who has proven to be a tenant is told that the database does not exist, and where the tenant lives', async () => {
    expect(await attempt((url) => (url.pathname = '/nowhere'))).toEqual({
      code: '3D000',
      message: 'database "nowhere" does not exist',
      detail: undefined,
      hint: 'Tenant "t01" lives in database "app".',
    });
  });

  it('an unknown tenant is named to the operator', async () => {
    for (const args of [
      ['tenant', 'show', 'nobody'],
      ['verify', 'nobody'],
      ['tenant', 'failover', 'nobody', '--to', 'west'],
      ['tenant', 'replicate', 'nobody', '--to', 'west'],
    ]) {
      const answer = await system.drover(...args, '--json');
      expect([args[0], answer.code, JSON.parse(answer.stderr)]).toEqual([
        args[0],
        1,
        expect.objectContaining({ error: 'tenant.unknown', message: expect.stringContaining('nobody') }),
      ]);
    }
  });
});

describe('a role whose password was changed by hand', () => {
  it('is named by the reader, which stays up, and mended by setup; nothing is lost', async () => {
    const pid = system.pidOf('cdc', 'east');
    await see.whileOthersGoOn(['t02', 't04'], async () => {
      await system.sql(
        'east',
        `ALTER ROLE drover_cdc PASSWORD 'changed by hand';
         SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drover_cdc'`,
      );
      await system.asTenant(
        't01',
        `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'meanwhile', 'x')`,
      );
      await see.notReady(
        'cdc-east',
        /database app: pg\.auth: PostgreSQL at 127\.0\.0\.1:\d+ refused role drover_cdc/,
      );
      const status = await see.status();
      expect(see.component(status, 'cdc-east')).toMatchObject({
        ok: false,
        detail: expect.stringMatching(/pg\.auth: .*refused role drover_cdc.*drover setup/),
      });
      expect(see.component(status, 'cdc-west')).toMatchObject({ ok: true });
      expect((await system.drover('setup')).code).toBe(0);
      await see.ready('cdc-east');
    });
    expect(system.pidOf('cdc', 'east')).toBe(pid);
    await see.allEqual();
  });
});

describe('a replica that lacks something', () => {
  /** The tenant's write stops its replica; mending and `ledger retry` bring it to where it should be. */
  async function stopsAndGoesOn(options: {
    tenant: string;
    others: readonly string[];
    breakIt: () => Promise<unknown>;
    reason: RegExp;
    mend: string;
  }): Promise<void> {
    const { tenant } = options;
    await see.whileOthersGoOn(options.others, async () => {
      await options.breakIt();
      // Behind the change that cannot be applied: must come after it, and does.
      await system.asTenant(
        tenant,
        `INSERT INTO activity (tenant_id, kind, body) VALUES ($1, 'behind', 'x')`,
        [tenant],
      );
      const entry = await see.parked(tenant);
      expect(entry).toMatchObject({
        cluster: 'west',
        kind: 'poison',
        reason: expect.stringMatching(options.reason),
      });
      expect((await see.feedOf(tenant))?.reason).toMatch(options.reason);
      const rows = await system.sql('west', `SELECT FROM activity WHERE tenant_id = $1 AND kind = 'behind'`, [
        tenant,
      ]);
      expect(rows).toHaveLength(0);
      expect(await see.status()).toMatchObject({
        ok: false,
        clusters: expect.arrayContaining([expect.objectContaining({ cluster: 'west', parked: 1 })]),
      });
      // Retried too early it stops at the same place, on record.
      expect(
        await system.json<Entry>('ledger', 'retry', 'west', String(entry.id), '--who', 'hasty'),
      ).toMatchObject({ status: 'retried' });
      const again = await see.parked(tenant);
      expect(again).toMatchObject({ id: entry.id, reason: entry.reason });
      await atWestAlone(options.mend);
      expect((await system.drover('setup')).code).toBe(0);
      expect(
        await system.json<Entry>('ledger', 'retry', 'west', String(again.id), '--who', 'operator'),
      ).toMatchObject({
        status: 'retried',
        resolvedBy: 'operator',
      });
      await see.live(tenant);
    });
    expect(await see.openEntries(tenant)).toEqual([]);
    await see.allEqual();
  }

  /** What was carried is taken away again, at the replica alone. */
  async function dropAtReplica(isThere: string, drop: string): Promise<void> {
    await eventually('the change is at the replica', async () => {
      const [row] = await system.sql('west', `SELECT ${isThere} AS there`);
      return row?.['there'] === true ? true : undefined;
    });
    await atWestAlone(drop);
  }

  it('a table: its tenant stops until the table is there', async () => {
    const table = `CREATE TABLE notes (tenant_id text NOT NULL, id int NOT NULL, body text, PRIMARY KEY (tenant_id, id))`;
    await stopsAndGoesOn({
      tenant: 't01',
      others: ['t02', 't03', 't04'],
      breakIt: async () => {
        await system.sql('east', table);
        expect((await system.drover('setup')).code).toBe(0);
        await dropAtReplica(`to_regclass('notes') IS NOT NULL`, 'DROP TABLE notes');
        await system.asTenant('t01', `INSERT INTO notes VALUES ('t01', 1, 'one'), ('t01', 2, 'two')`);
      },
      reason: /apply\.schema: .*public\.notes/,
      mend: table,
    });
  });

  it('a column: its tenant stops until the column is there', async () => {
    const column = `ALTER TABLE customers ADD COLUMN phone text`;
    await stopsAndGoesOn({
      tenant: 't03',
      others: ['t01', 't02', 't04'],
      breakIt: async () => {
        await system.sql('east', column);
        const there = `EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attname = 'phone' AND NOT attisdropped)`;
        await dropAtReplica(there, 'ALTER TABLE customers DROP COLUMN phone');
        await system.asTenant(
          't03',
          `INSERT INTO customers (tenant_id, id, email, name, plan, phone) VALUES ('t03', 900001, 'a@b', 'A', 'free', '1')`,
        );
      },
      reason: /apply\.schema: .*customers.*phone|apply\.schema: .*phone.*customers/,
      mend: column,
    });
  });
});

describe('a change that the replica refuses', () => {
  it('is skipped on record, found by verify, and healed by a copy anew', async () => {
    await atWestAlone(`ALTER TABLE activity ADD CONSTRAINT no_poison CHECK (kind <> 'poison')`);
    await see.whileOthersGoOn(['t02', 't03', 't04'], async () => {
      const { rows } = await system.asTenant(
        't01',
        `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'poison', 'kept in the ledger') RETURNING id`,
      );
      await system.asTenant(
        't01',
        `INSERT INTO activity (tenant_id, kind, body) VALUES ('t01', 'after', 'x')`,
      );
      const entry = await see.parked('t01');
      expect(entry.reason).toMatch(/apply\.conflict: .*no_poison/);
      const skipped = await system.json<Entry>(
        'ledger',
        'skip',
        'west',
        String(entry.id),
        '--who',
        'operator',
      );
      expect(skipped).toMatchObject({ status: 'skipped', resolvedBy: 'operator' });
      await see.live('t01');
      // Of the two only the second is there, and what was left out stands in the ledger with its values.
      await eventually('the change behind it', async () => {
        const there = await system.sql<{ kind: string }>(
          'west',
          `SELECT kind FROM activity WHERE tenant_id = 't01' AND kind IN ('poison', 'after')`,
        );
        return there.length === 1 && there[0]?.kind === 'after' ? true : undefined;
      });
      expect(
        JSON.stringify((await system.json<Entry>('ledger', 'show', 'west', String(entry.id))).detail),
      ).toContain('kept in the ledger');
      const verified = await system.drover('verify', 't01', '--json');
      expect(verified.code).toBe(3);
      expect(verified.stdout).toContain(String(rows[0]?.id));
      await atWestAlone('ALTER TABLE activity DROP CONSTRAINT no_poison');
      const copied = await system.drover('tenant', 'replicate', 't01', '--to', 'west', '--anew');
      expect(copied.code, copied.stderr).toBe(0);
    });
    await see.allEqual();
  });
});
