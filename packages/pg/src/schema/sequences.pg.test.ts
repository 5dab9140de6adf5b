/** Sequences are moved on under other tenants' hands: never backwards, no number twice, no number that a tenant has already. */
import { testPostgres } from '@drover/testkit';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFedColumns } from '../catalog/read-fed-columns.ts';
import { doctor } from '../preflight/doctor.ts';
import { columnTagging, type Fixture, fixture, PASSWORDS, sqlStateOf } from '../setup/fixture.testing.ts';
import { setupCluster } from '../setup/setup-cluster.ts';

const TABLES = `CREATE TABLE public.t (tenant text NOT NULL, id bigserial, PRIMARY KEY (tenant, id));
  CREATE SEQUENCE public.plain; CREATE SEQUENCE public.ahead CACHE 20; CREATE SEQUENCE public.other CACHE 20;
  CREATE SEQUENCE public.down INCREMENT -3 MINVALUE -1000 MAXVALUE -1; CREATE SEQUENCE public.small MAXVALUE 50;
  CREATE SEQUENCE public.round MINVALUE 1 MAXVALUE 30 CYCLE; CREATE SEQUENCE public.steps INCREMENT 7;`;

describe.each([16, 17, 18] as const)('sequences on PostgreSQL %i', (major) => {
  let f: Fixture;
  beforeAll(async () => {
    f = await fixture(await testPostgres({ major }), { sql: TABLES });
  });
  afterAll(() => f.close());

  const next = async (client: pg.Client, name: string): Promise<bigint> =>
    BigInt((await client.query(`SELECT nextval('public.${name}') AS n`)).rows[0].n);

  /** False: it is in use. */
  async function carry(name: string, value: bigint): Promise<boolean> {
    const { rows } = await f.admin.query(
      `CALL drover.carry_sequences(ARRAY['public.${name}'::regclass::oid], ARRAY[$1::bigint], NULL)`,
      [String(value)],
    );
    return rows[0].behind.length === 0;
  }

  it('beyond the value, by drawing or by a jump, and never back', async () => {
    expect(await carry('plain', 900n)).toBe(true);
    expect(await next(f.root, 'plain')).toBe(901n);
    expect(await carry('plain', 5_000_000_000n)).toBe(true);
    expect(await next(f.root, 'plain')).toBe(5_000_000_001n);
    expect(await carry('plain', 17n)).toBe(true);
    expect(await next(f.root, 'plain')).toBe(5_000_000_002n);
    expect(await carry('plain', 5_000_000_002n)).toBe(true);
    expect(await next(f.root, 'plain')).toBe(5_000_000_003n);
  });

  it('the first number too is beyond a row that has it', async () => {
    await f.root.query('CREATE SEQUENCE public.fresh');
    expect(await carry('fresh', 1n)).toBe(true);
    expect(await next(f.root, 'fresh')).toBe(2n);
  });

  it('downwards, in steps, up to the bounds and no further', async () => {
    expect(await carry('down', -100n)).toBe(true);
    expect(await next(f.root, 'down')).toBeLessThan(-100n);
    expect(await carry('down', -10n)).toBe(true);
    expect(await next(f.root, 'down')).toBeLessThan(-103n);
    expect(await carry('steps', 70_000n)).toBe(true);
    expect(await next(f.root, 'steps')).toBeGreaterThan(70_000n);
    expect(await carry('small', 1_000_000n)).toBe(true);
    expect(await sqlStateOf(next(f.root, 'small'))).toBe('2200H');
    expect(await carry('small', 50n)).toBe(true);
  });

  it('one that goes round does not go round because of it', async () => {
    await f.root.query(`SELECT setval('public.round', 10)`);
    expect(await carry('round', 25n)).toBe(true);
    expect(await next(f.root, 'round')).toBe(26n);
    expect(await carry('round', 12n)).toBe(true);
    expect(await next(f.root, 'round')).toBe(27n);
  });

  it('numbers that other sessions hold in advance are taken from them', async () => {
    const other = await f.connect('postgres');
    expect(await next(other, 'ahead')).toBe(1n);
    // It is beyond 10 already for new sessions; this one holds 2 to 20 in advance.
    expect(await carry('ahead', 10n)).toBe(true);
    expect(await next(f.root, 'ahead')).toBe(21n);
    expect(await next(other, 'ahead')).toBeGreaterThan(40n);
    expect(await carry('ahead', 50n)).toBe(true);
    expect(await next(other, 'ahead')).toBeGreaterThan(50n);
    expect(await next(f.root, 'ahead')).toBeGreaterThan(50n);
  });

  it('an open transaction that has drawn from it does not stop it, nor does it stop others', async () => {
    const busy = await f.connect('postgres');
    await busy.query('BEGIN');
    await next(busy, 'plain');
    const from = await next(f.root, 'plain');
    let tries = 1;
    while (!(await carry('plain', from + 250_000n))) tries++;
    expect(tries).toBe(3);
    expect(await next(f.root, 'plain')).toBe(from + 250_001n);
    await busy.query('COMMIT');
  });

  it('with numbers in advance it takes the lock, so it waits, and says so', async () => {
    const busy = await f.connect('postgres');
    await busy.query('BEGIN');
    await next(busy, 'other');
    expect(await carry('other', 300n)).toBe(false);
    await busy.query('COMMIT');
    expect(await carry('other', 300n)).toBe(true);
    expect(await next(busy, 'other')).toBeGreaterThan(300n);
  });

  it.each(['plain', 'ahead'])('no number is handed out twice while %s is moved on', async (name) => {
    const drawers = await Promise.all(Array.from({ length: 4 }, () => f.connect('postgres')));
    const drawn: bigint[] = [];
    let last = await next(f.root, name);
    const goals: { at: number; goal: bigint }[] = [];
    let stop = false;
    const work = drawers.map(async (client, index) => {
      while (!stop) {
        // Some in transactions of their own length, some one by one.
        const sql =
          index % 2 === 0
            ? `SELECT nextval('public.${name}') AS n`
            : `BEGIN; SELECT nextval('public.${name}') AS n FROM generate_series(1, 30); COMMIT`;
        const before = goals.at(-1)?.goal ?? 0n;
        const result: unknown = await client.query(sql);
        const rows = (Array.isArray(result) ? result[1] : result).rows as { n: string }[];
        for (const { n } of rows) {
          expect(BigInt(n)).toBeGreaterThan(before);
          drawn.push(BigInt(n));
        }
      }
    });
    try {
      for (let i = 0; i < 60 || drawn.length <= 500; i++) {
        last += BigInt([300, 5000, 90_000][i % 3] ?? 1);
        for (let tries = 0; !(await carry(name, last)); tries++) expect(tries).toBeLessThan(300);
        goals.push({ at: drawn.length, goal: last });
        last = await next(f.root, name);
        drawn.push(last);
      }
    } finally {
      stop = true;
      await Promise.all(work);
    }
    expect(drawn.length).toBeGreaterThan(500);
    expect(new Set(drawn).size).toBe(drawn.length);
  });

  it('is for drover_admin alone, and not for the sequences of Drover', async () => {
    const tenant = await f.tenant();
    for (const client of [tenant.client, await f.connect('drover_apply')])
      expect(
        await sqlStateOf(client.query(`SELECT drover.carry_sequence('public.plain'::regclass, 1)`)),
      ).toBe('42501');
    expect(
      await sqlStateOf(f.admin.query(`SELECT drover.carry_sequence('drover.backend'::regclass, 1)`)),
    ).toBe('42P01');
  });

  it('a setup user who owns the tables can be enough; where it is not, doctor says what is', async () => {
    const who = await f.server.createUser('owner_user', 'CREATEROLE REPLICATION BYPASSRLS');
    await f.root.query(
      `GRANT drover_admin, drover_apply, drover_cdc, drover_tenant TO ${who} WITH ADMIN OPTION`,
    );
    const database = await f.server.createDatabase('drv');
    const root = await f.server.connect(database);
    await root.query(`ALTER DATABASE "${database}" OWNER TO ${who}; ALTER SCHEMA public OWNER TO ${who}`);
    await root.query(`SET ROLE ${who}; ${TABLES} RESET ROLE`);
    const tagging = columnTagging('tenant');
    const setup = (user?: string) =>
      setupCluster({
        cluster: 'east' as never,
        databases: [database],
        connect: (name) => f.server.connect(name, user),
        passwords: PASSWORDS,
        contextKey: Buffer.alloc(32, 7),
        tagging,
        origins: [],
        failoverSlots: false,
      });
    const about = async (user?: string) => {
      const client = await f.server.connect(database, user);
      const found = await doctor(client, { cluster: 'east', tagging });
      await client.end();
      return found
        .filter((x) => x.severity === 'error' && x.object.startsWith('sequence'))
        .map((x) => x.code);
    };
    await setup(who);
    expect(await about(who)).toEqual([]);
    const admin = await f.server.connect(database, 'drover_admin');
    await admin.query(`SELECT drover.carry_sequence('public.plain'::regclass, 1000000)`);
    await root.query(
      `CREATE SEQUENCE public.foreign_one; ALTER TABLE public.t ADD n int DEFAULT nextval('public.foreign_one')`,
    );
    const foreign = `SELECT drover.carry_sequence('public.foreign_one'::regclass, 1000000)`;
    expect(await sqlStateOf(admin.query(foreign))).toBe('42501');
    await admin.end();
    expect(await about(who)).toEqual(['sequence_immovable']);
    expect(await about()).toEqual(['privilege_missing']);
    await setup();
    expect(await about()).toEqual([]);
    const again = await f.server.connect(database, 'drover_admin');
    await again.query(foreign);
    await again.end();
    await root.end();
  });

  it('columns that are fed: identity, serial, shared, in defaults, of partitions', async () => {
    await f.root.query(`CREATE TABLE public.many (tenant text, a int GENERATED ALWAYS AS IDENTITY (INCREMENT 5), b smallserial, c numeric DEFAULT nextval('public.plain'),
        d text DEFAULT 'x' || nextval('public.plain'), e int, PRIMARY KEY (tenant, a));
      CREATE DOMAIN public.dom AS bigint; ALTER TABLE public.many ADD f public.dom DEFAULT nextval('public.steps'); CREATE INDEX ON public.many (f, b);
      CREATE TABLE public.parted (tenant text, id bigint DEFAULT nextval('public.plain'), PRIMARY KEY (tenant, id)) PARTITION BY LIST (tenant);
      CREATE TABLE public.part1 PARTITION OF public.parted DEFAULT; CREATE SEQUENCE public.owned OWNED BY public.many.e`);
    const found = await readFedColumns(f.root);
    const brief = found
      .filter((x) => x.table === 'many' || x.table === 'parted')
      .map((x) => `${x.table}.${x.column} ${x.sequence.name} ${x.plain}`);
    expect(brief).toEqual([
      'many.a many_a_seq true',
      'many.b many_b_seq true',
      'many.c plain true',
      'many.d plain false',
      'many.e owned true',
      'many.f steps true',
      'parted.id plain true',
    ]);
    expect(found.find((x) => x.column === 'a')).toMatchObject({
      indexes: expect.arrayContaining([
        ['tenant', 'a'],
        ['f', 'b'],
      ]) as unknown,
      sequence: { increment: 5n, last: null },
    });
  });
});
