/**
 * Rules of [[transform]] from a real source to a real replica: what is hidden is nowhere in the stream, the replica holds what the rules make
 * of the source, however the rows came there, and a rule that cannot be carried out any more stops its tenants and nobody else.
 */
import { createHmac } from 'node:crypto';
import { readHeader, walkBlock } from '@drover/block';
import { callRpc, consume, streamState } from '@drover/bus';
import { type TenantId, tenantId } from '@drover/core';
import { newTenant } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EAST, FailoverWorld, type Name } from './failover-world.ts';

const TABLES = `
CREATE TABLE public.notes (tenant text NOT NULL, id int, PRIMARY KEY (tenant, id));
CREATE TABLE public.people (tenant text NOT NULL, id int, email text, name varchar(40), ssn text, born date, bio text, PRIMARY KEY (tenant, id));
ALTER TABLE public.people ALTER COLUMN bio SET STORAGE EXTERNAL;
CREATE TABLE public.accounts (tenant text NOT NULL, code text, balance int, PRIMARY KEY (tenant, code));
CREATE TABLE public.orders (tenant text NOT NULL, id int, status text, note text, big text, PRIMARY KEY (tenant, id));
ALTER TABLE public.orders REPLICA IDENTITY FULL;
ALTER TABLE public.orders ALTER COLUMN big SET STORAGE EXTERNAL`;
const tenants = ['acme', 'late'];
const RULES = [
  {
    tables: ['public.people'],
    tenants,
    actions: [
      { mask: 'email', with: 'hash' },
      { rename: 'email', to: 'mail' },
      { drop: 'ssn' },
      { mask: 'name', with: 'partial', first: 1 },
      { mask: 'born', with: 'truncate', to: 'year' },
    ],
  },
  { tables: ['public.accounts'], tenants, actions: [{ mask: 'code', with: 'hash' }] },
  { tables: ['public.orders'], tenants, where: "status <> 'draft'", stage: 'publish' },
  {
    tables: ['public.orders'],
    target: 'west',
    stage: 'apply',
    actions: [{ mask: 'note', with: 'constant', value: 'kept at east' }],
  },
];

let world: FailoverWorld;
let acme: TenantId;
let bolt: TenantId;

beforeAll(async () => {
  world = await FailoverWorld.start(
    TABLES,
    { tiers: {} },
    { transform: RULES, west: 'ALTER TABLE public.people ADD COLUMN mail text' },
  );
  await world.run('cdc east', 'apply west', 'migration');
  acme = await world.tenant('acme');
  bolt = await world.tenant('bolt');
});
afterAll(() => world.close());

const east = (sql: string) => world.query('east', sql);
const hash = (text: string) => {
  const key = createHmac('sha256', world.config.security.secret).update('transform:hash:').digest();
  return createHmac('sha256', key).update(text).digest('hex').slice(0, 32);
};

interface Person {
  id: number;
  email: string | null;
  mail: string | null;
  name: string;
  ssn: string | null;
  born: string;
  bio: string;
}

const people = (name: Name, tenant: string) =>
  world.query<Person>(
    name,
    `SELECT id, ${name === 'west' ? 'mail' : 'NULL::text AS mail'}, email, name, ssn, born::text, md5(bio) AS bio FROM people WHERE tenant = $1 ORDER BY id`,
    [tenant],
  );
const accounts = (name: Name, tenant: string) =>
  world.query<{ code: string; balance: number }>(
    name,
    'SELECT code, balance FROM accounts WHERE tenant = $1 ORDER BY balance, code',
    [tenant],
  );
const orders = (name: Name, tenant: string) =>
  world.query<{ id: number; status: string; note: string }>(
    name,
    'SELECT id, status, note, md5(big) AS big FROM orders WHERE tenant = $1 ORDER BY id',
    [tenant],
  );

/** What the rules make of a tenant of theirs, by other means. */
async function expected(tenant: string) {
  return {
    people: (await people('east', tenant)).map((p) => ({
      ...p,
      mail: p.email === null ? null : hash(p.email),
      email: null,
      ssn: null,
      name: p.name.length > 1 ? p.name[0] + '*'.repeat(p.name.length - 1) : '*'.repeat(p.name.length),
      born: `${p.born.slice(0, 4)}-01-01`,
    })),
    accounts: (await accounts('east', tenant))
      .map((a) => ({ ...a, code: hash(a.code) }))
      .sort((a, b) => a.balance - b.balance || (a.code < b.code ? -1 : 1)),
    orders: (await orders('east', tenant))
      .filter((o) => o.status !== 'draft')
      .map((o) => ({ ...o, note: 'kept at east' })),
  };
}

const held = async (tenant: string) => ({
  people: await people('west', tenant),
  accounts: await accounts('west', tenant),
  orders: await orders('west', tenant),
});

async function expectMade(tenant: string): Promise<void> {
  const want = await expected(tenant);
  let seen: unknown;
  await world
    .waitFor('the replica holds what the rules make', async () => {
      seen = await held(tenant);
      return JSON.stringify(seen) === JSON.stringify(want);
    })
    .catch(() => expect(seen).toEqual(want));
}

/** Tuples, messages and names of columns of everything that was published. */
async function published(): Promise<{
  text: string;
  columns: Set<string>;
  withheld: number;
  early: number;
}> {
  const bytes: Buffer[] = [];
  const columns = new Set<string>();
  let withheld = 0;
  let early = 0;
  const keep = (b: Buffer, start: number, end: number) =>
    void bytes.push(Buffer.from(b.subarray(start, end)));
  for (let partition = 0; partition < world.config.nats.partitions; partition++) {
    const last = (await streamState(world.bus, EAST, partition))?.lastSeq ?? 0;
    const stop = new AbortController();
    for await (const message of consume(world.bus, {
      cluster: EAST,
      partition,
      startSeq: 1,
      signal: stop.signal,
    })) {
      if (readHeader(message.data).streamed?.kind === 'part') early++;
      walkBlock(message.data, {
        relation: (_, r) => {
          if (message.token === 'acme' && r.name === 'people') for (const c of r.columns) columns.add(c.name);
        },
        begin: () => undefined,
        insert: (_, b, s, e) => keep(b, s, e),
        update: (_, kind, b, os, oe, ns, ne) => {
          if (kind !== null) keep(b, os, oe);
          keep(b, ns, ne);
        },
        delete: (_, _kind, b, s, e) => keep(b, s, e),
        truncate: () => undefined,
        message: (_, prefix, content) => {
          if (prefix === 'drover.withheld') withheld++;
          bytes.push(Buffer.from(content));
        },
      });
      if (message.seq >= last) break;
    }
    stop.abort();
  }
  return { text: Buffer.concat(bytes).toString('latin1'), columns, withheld, early };
}

describe('a replica under rules', () => {
  it('holds what they make of rows that are written, changed, moved to other keys, and let in and out', async () => {
    for (const tenant of [acme, bolt]) {
      const t = `'${tenant}'`;
      await east(`INSERT INTO people SELECT ${t}, i, 'SECRET' || i || '@' || ${t}, 'Ada Lovelace', 'SECRET-ssn-' || ${t}, '1990-05-17', repeat(md5(i::text), 100) FROM generate_series(1, 20) i;
        INSERT INTO people VALUES (${t}, 100, NULL, 'A', NULL, '2001-12-31', NULL);
        INSERT INTO accounts SELECT ${t}, 'SECRET-code-' || ${t} || i, i FROM generate_series(1, 10) i;
        INSERT INTO orders SELECT ${t}, i, CASE WHEN i % 2 = 0 THEN 'draft' ELSE 'open' END, 'note ' || i, repeat(md5(i::text), 100) FROM generate_series(1, 10) i`);
      // A large value that does not change is not sent; a masked column beside it is.
      await east(`UPDATE people SET name = 'Grace' WHERE tenant = ${t} AND id < 5`);
      await east(`UPDATE people SET email = 'SECRETnew@' || ${t} WHERE tenant = ${t} AND id = 6`);
      await east(
        `UPDATE accounts SET code = 'SECRET-code-' || ${t} || '-moved', balance = 70 WHERE tenant = ${t} AND balance = 7`,
      );
      await east(`UPDATE accounts SET balance = 80 WHERE tenant = ${t} AND balance = 8`);
      await east(`DELETE FROM accounts WHERE tenant = ${t} AND balance = 9`);
      // In, out, and neither; a row that comes in brings its unchanged large value along.
      await east(`UPDATE orders SET status = 'open' WHERE tenant = ${t} AND id = 2; UPDATE orders SET status = 'draft' WHERE tenant = ${t} AND id = 1;
        UPDATE orders SET note = 'other' WHERE tenant = ${t} AND id IN (3, 4); DELETE FROM orders WHERE tenant = ${t} AND id IN (5, 6); UPDATE people SET id = 200 WHERE tenant = ${t} AND id = 20`);
    }
    await expectMade(acme);
    expect((await held(acme)).people).toHaveLength(21);
    expect((await held(acme)).orders.map((o) => o.id)).toEqual([2, 3, 7, 9]);
    // The neighbour is under one rule alone, that of the target.
    await world.waitFor('the neighbour is as it was', async () => {
      const [a, b] = [await people('east', bolt), await people('west', bolt)];
      return JSON.stringify(a) === JSON.stringify(b) && (await orders('west', bolt)).length === 8;
    });
    expect(await accounts('west', bolt)).toEqual(await accounts('east', bolt));
    expect((await orders('west', bolt)).every((o) => o.note === 'kept at east')).toBe(true);
  });

  it('also of a transaction that is published before it has committed', async () => {
    await east(
      `INSERT INTO people SELECT 'acme', 1000 + i, 'SECRETbig' || i || '@acme', 'Long Name ' || i, 'SECRET-ssn-acme', '1970-02-02', repeat(md5(i::text), 100) FROM generate_series(1, 4000) i`,
    );
    await expectMade(acme);
  });

  it('and nothing that is hidden is in the stream', async () => {
    const { text, columns, early } = await published();
    expect(early).toBeGreaterThan(1);
    expect(text).toContain('SECRET1@bolt'); // it would be found
    expect(text).toContain(hash('SECRET1@acme'));
    expect(text).not.toMatch(/SECRET[a-z]*\d*@acme|SECRET-ssn-acme|SECRET-code-acme/);
    expect([...columns].sort()).toEqual(['bio', 'born', 'id', 'mail', 'name', 'tenant']);
  });

  it('is copied as it is streamed, and verified', async () => {
    const late = tenantId('late');
    await east(`SELECT drover.open_tenant('late', 1)`);
    await east(`INSERT INTO people SELECT 'late', i, E'SECRET\\t\\\\' || i || '@late', 'Tab\\t' || i, 'SECRET-ssn', '1990-05-17', repeat(md5(i::text), 100) FROM generate_series(1, 500) i;
      INSERT INTO accounts SELECT 'late', 'SECRET-code-late' || i, i FROM generate_series(1, 300) i;
      INSERT INTO orders SELECT 'late', i, CASE WHEN i % 2 = 0 THEN 'draft' ELSE 'open' END, 'note ' || i, 'x' FROM generate_series(1, 100) i`);
    await world.catalog.createTenant(...newTenant(late, { west: 'copying' }));
    await world.waitFor(
      'the copy is live',
      async () => (await world.placement(late)).replicas['west']?.state === 'live',
    );
    await expectMade(late);
    await east(
      `UPDATE accounts SET balance = balance + 1000 WHERE tenant = 'late'; DELETE FROM people WHERE tenant = 'late' AND id > 490`,
    );
    await expectMade(late);
    const verify = () =>
      callRpc(
        world.bus,
        'migration.verify',
        { tenant: 'late', target: 'west' },
        { timeoutMs: 180_000 },
      ) as Promise<{
        equal: boolean;
        tables: { table: string; rows: number; equal: boolean; differing: string[] }[];
      }>;
    const good = await verify();
    expect(good.tables.filter((t) => !t.equal)).toEqual([]);
    expect(good.tables.find((t) => t.table === 'public.orders')?.rows).toBe(50);
    await world.query('west', `UPDATE people SET name = 'X' WHERE tenant = 'late' AND id = 3`);
    const bad = await verify();
    expect(bad.tables.filter((t) => !t.equal)).toMatchObject([
      { table: 'public.people', differing: [expect.stringContaining('"id": 3')] },
    ]);
    await world.query('west', `UPDATE people SET name = 'T****' WHERE tenant = 'late' AND id = 3`);
  });

  it('stops, with advice, when its table is changed so that a rule does not fit; others go on', async () => {
    await east('ALTER TABLE people RENAME COLUMN email TO contact');
    for (const t of ['acme', 'bolt'])
      await east(
        `INSERT INTO people VALUES ('${t}', 9999, 'SECRETlate@${t}', 'Eve', 'SECRET-ssn-${t}', '1990-01-01', 'b')`,
      );
    const row = await world.waitFor('acme is parked', async () => {
      const [found] = await world.query<{ feed: string; reason: string }>(
        'west',
        `SELECT feed, reason FROM drover.tenant WHERE tenant = 'acme'`,
      );
      return found?.feed === 'parked' && found;
    });
    expect(row.reason).toMatch(
      /^apply\.withheld: rows of public\.people were withheld at the source: .*no column "email"/,
    );
    await world.waitFor('bolt goes on', async () => {
      const rows = await world.query(
        'west',
        `SELECT FROM people WHERE tenant = 'bolt' AND id = 9999 AND contact = 'SECRETlate@bolt'`,
      );
      return rows.length === 1;
    });
    const { text, withheld } = await published();
    expect(withheld).toBeGreaterThan(0);
    expect(text).toContain('SECRETlate@bolt');
    expect(text).not.toContain('SECRETlate@acme');
    const ledger = await world.query(
      'west',
      `SELECT kind, detail FROM drover.ledger WHERE tenant = 'acme' AND status = 'open'`,
    );
    expect(ledger).toMatchObject([{ kind: 'poison' }]);
    expect(JSON.stringify(ledger)).not.toContain('SECRET');
  });

  it('goes on from a copy, once the rule fits again', async () => {
    await east('ALTER TABLE people RENAME COLUMN contact TO email');
    const since = new Date().toISOString();
    await world.catalog.changePlacement(acme, (p) => ({
      ...p,
      replicas: { west: { state: 'copying', since } },
      updatedAt: since,
    }));
    await world.waitFor(
      'the copy is live',
      async () => (await world.placement(acme)).replicas['west']?.state === 'live',
    );
    await east(`UPDATE people SET email = 'SECRETagain@acme' WHERE tenant = 'acme' AND id = 9999`);
    await expectMade(acme);
    expect((await published()).text).not.toMatch(/SECRET(late|again)@acme/);
  });
});
