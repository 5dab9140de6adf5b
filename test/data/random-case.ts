/**
 * One random case: tables, and transactions over them. The same seed gives the same statements. Statements that PostgreSQL refuses (a key that
 * is taken) are rolled back to the savepoint before them, as an application would do.
 */
import type pg from 'pg';

/** Mulberry32: small, and the same everywhere. */
export class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  /** 0 to n - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % n;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T; // never of nothing
  }
  shuffled<T>(items: readonly T[]): T[] {
    const out = [...items];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  }
}

/** Types of the installation, made at both before the first case. */
export const RANDOM_TYPES = `CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION seg; CREATE EXTENSION ltree;
  CREATE TYPE mood AS ENUM ('sad', 'ok', 'fine'); CREATE TYPE pair AS (m mood, t text);`;

/** `$r` stands for a random number, `$b` for a long random text. */
const TYPES: readonly (readonly [type: string, ...values: string[]])[] = [
  ['int', '$r', '0', '-2147483648'],
  ['bigint', '$r::bigint * 1000000007'],
  ['text', `md5($r::text)`, `''`, `repeat('x', $r % 3000)`],
  ['varchar(12)', `left(md5($r::text), $r % 13)`],
  ['char(4)', `left(md5($r::text), $r % 5)`],
  ['numeric', `$r / 7.0`, `'NaN'`, `'1.0'`, `'1.00'`, `'-0.0'`, `1e30 + $r`],
  ['float8', `$r / 7.0`, `'NaN'`, `'-0'`, `'0'`, `'Infinity'`],
  ['timestamptz', `'2026-01-01 00:00+00'::timestamptz + $r * interval '1 s'`, `'infinity'`],
  ['interval', `$r * interval '1 h'`, `'1 mon'`, `'30 days'`],
  ['jsonb', `jsonb_build_object('k', $r, 'v', ARRAY[$r, NULL])`, `'{"a": 1.0}'`, `'{"a": 1.00}'`],
  ['json', `'{"a": 1, "a":  2}'`, `json_build_array($r)`],
  ['text[]', `ARRAY[md5($r::text), NULL, 'NULL', '']`, `'{}'`],
  ['bytea', `decode(md5($r::text), 'hex')`, `'\\x'`],
  ['xml', `('<a>' || $r || '</a>')::xml`],
  ['point', 'point($r, -$r)'],
  ['int4range', `int4range($r % 100, $r % 100 + 5)`, `'empty'`],
  ['mood', `'ok'`, `'sad'`],
  ['mood[]', `'{ok,NULL,fine}'`],
  ['pair', `'(ok,"x, y")'`, `'(,)'`],
  ['citext', `'A' || $r`, `'a' || $r`, `'A'`, `'a'`],
  ['hstore', `hstore('k', $r::text)`, `'a=>NULL'`],
  ['seg', `($r || ' .. ' || ($r + 1))::seg`],
  ['ltree', `('a.b' || $r)::ltree`],
];

interface Column {
  readonly name: string;
  readonly type: string;
  readonly values: readonly string[];
}

export interface RandomTable {
  readonly name: string;
  readonly columns: readonly Column[];
  readonly keyed: boolean;
  /** The whole old row is sent, or no value is stored out of line: a row may change its tenant. */
  readonly movable: boolean;
  readonly shared: boolean;
  readonly source: string;
  readonly target: string;
}

export function randomTable(random: Random, name: string, shared: boolean): RandomTable {
  const columns = Array.from({ length: 1 + random.below(5) }, (_, i): Column => {
    const [type, ...values] = random.pick(TYPES);
    return { name: `c${i}`, type, values };
  });
  const big = random.chance(60);
  if (big) columns.push({ name: 'big', type: 'text', values: ['$b', '$b', 'NULL', `'short'`] });
  const kind = random.pick(['key', 'key', 'key', 'index', 'full', 'none'] as const);
  const keyed = kind !== 'none';
  const key = shared ? ['id'] : random.shuffled(['tenant', 'id']);
  const generated = random.chance(20) ? ['g int GENERATED ALWAYS AS (n * 2) STORED'] : [];
  const unique = !shared && keyed && random.chance(25);
  const partitioned = keyed && !unique && kind !== 'index' && random.chance(30);
  const list = (order: readonly Column[]): string =>
    [
      ...(shared ? [] : ['tenant text NOT NULL']),
      'id int NOT NULL',
      `n int DEFAULT 0`,
      ...order.map((c) => `${c.name} ${c.type}`),
      ...(kind === 'none' ? [] : generated),
      ...(keyed ? [`PRIMARY KEY (${key.join(', ')})`] : []),
      ...(unique ? [`UNIQUE (tenant, n)${random.chance(50) ? ' DEFERRABLE' : ''}`] : []),
    ].join(', ');
  const make = (order: readonly Column[], parts: number): string => {
    const by = parts > 0 ? ' PARTITION BY HASH (id)' : '';
    const made = [`CREATE TABLE ${name} (${list(order)})${by}`];
    for (let i = 0; i < parts; i++)
      made.push(
        `CREATE TABLE ${name}_${i} PARTITION OF ${name} FOR VALUES WITH (MODULUS ${parts}, REMAINDER ${i})`,
      );
    if (big) made.push(`ALTER TABLE ${name} ALTER big SET STORAGE EXTERNAL`);
    if (kind === 'index')
      made.push(
        `CREATE UNIQUE INDEX ${name.replace('.', '_')}_i ON ${name} (${key.toReversed().join(', ')})`,
        `ALTER TABLE ${name} REPLICA IDENTITY USING INDEX ${name.replace('.', '_')}_i`,
      );
    if (kind === 'full' || kind === 'none') {
      made.push(`ALTER TABLE ${name} REPLICA IDENTITY FULL`);
      for (let i = 0; i < parts; i++) made.push(`ALTER TABLE ${name}_${i} REPLICA IDENTITY FULL`);
    }
    return made.join('; ');
  };
  return {
    name,
    columns,
    keyed,
    movable: !big || kind === 'full' || kind === 'none',
    shared,
    source: make(columns, partitioned ? 1 + random.below(3) : 0),
    target: make(random.shuffled(columns), partitioned && random.chance(70) ? 1 + random.below(3) : 0),
  };
}

/** Values of `big` are long enough to be stored out of line. */
const LONG = `(SELECT string_agg(md5(x::text || $r), '') FROM generate_series(1, 90) x)`;

export class Writer {
  readonly #client: pg.Client;
  readonly #random: Random;
  readonly #tables: readonly RandomTable[];
  readonly #tenants: readonly string[];
  #ids: number;

  /** `first`: numbers of rows begin here, so that writers do not wait for each other's. */
  constructor(
    client: pg.Client,
    random: Random,
    tables: readonly RandomTable[],
    tenants: readonly string[],
    first: number,
  ) {
    this.#client = client;
    this.#random = random;
    this.#tables = tables;
    this.#tenants = tenants;
    this.#ids = first;
  }

  async transaction(): Promise<void> {
    const random = this.#random;
    await this.#client.query('BEGIN');
    let open = 0;
    for (let i = 1 + random.below(6); i > 0; i--) {
      const roll = random.below(12);
      if (roll === 0) await this.#client.query(`SAVEPOINT s${++open}`);
      else if (roll === 1 && open > 0) await this.#client.query(`ROLLBACK TO s${open--}`);
      else if (roll === 2 && open > 0) await this.#client.query(`RELEASE s${open--}`);
      else await this.#try(this.#statement());
    }
    await this.#client.query(random.chance(90) ? 'COMMIT' : 'ROLLBACK');
  }

  async #try(sql: string): Promise<void> {
    await this.#client.query('SAVEPOINT attempt');
    try {
      await this.#client.query(sql);
      await this.#client.query('RELEASE attempt');
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      // Taken keys, deadlocks with the other writer, a row that it has moved to another partition meanwhile: an application's everyday life.
      if (!['23505', '40001', '40P01', '55P03'].includes(code))
        throw new Error(`${(error as Error).message}: ${sql}`, { cause: error });
      await this.#client.query('ROLLBACK TO attempt');
    }
  }

  #value(column: Column): string {
    const random = this.#random;
    if (random.chance(12)) return 'NULL';
    const value = random.pick(column.values).replaceAll('$b', LONG);
    return `(${value.replaceAll('$r', String(1 + random.below(100_000)))})::${column.type}`;
  }

  #statement(): string {
    const random = this.#random;
    const table = random.pick(this.#tables);
    const { name, columns, shared } = table;
    const tenant = random.pick(this.#tenants);
    const ours = shared ? 'true' : `tenant = '${tenant}'`;
    const some = random.pick([
      `id % ${2 + random.below(9)} = 0`,
      `id = ${this.#ids - random.below(20)}`,
      `id > ${this.#ids - random.below(40)}`,
      'n % 3 = 1',
    ]);
    switch (random.below(10)) {
      case 0:
      case 1:
      case 2: {
        const rows = random.chance(30) ? 20 + random.below(20) : 1 + random.below(4);
        const first = this.#ids + 1;
        this.#ids += rows;
        const names = [...(shared ? [] : ['tenant']), 'id', 'n', ...columns.map((c) => c.name)];
        // Rows without a key may be alike.
        const n = table.keyed ? 'i' : '1';
        const values = [
          ...(shared ? [] : [`'${tenant}'`]),
          table.keyed ? 'i' : String(first % 5),
          n,
          ...columns.map((c) => this.#value(c)),
        ];
        return `INSERT INTO ${name} (${names.join(', ')}) SELECT ${values.join(', ')} FROM generate_series(${first}, ${first + rows - 1}) i`;
      }
      case 3:
      case 4:
      case 5: {
        const set = random.shuffled(columns).slice(0, 1 + random.below(2));
        return `UPDATE ${name} SET ${set.map((c) => `${c.name} = ${this.#value(c)}`).join(', ')} WHERE ${ours} AND ${some}`;
      }
      case 6:
        return `UPDATE ${name} SET id = id + ${random.pick([1, -1, 1000, 3])}${random.chance(50) ? ', n = n + 100000' : ''} WHERE ${ours} AND id = (SELECT max(id) FROM ${name} WHERE ${ours} AND ${some})`;
      case 7:
        if (shared || !table.movable) return `UPDATE ${name} SET n = n + 1000000 WHERE ${ours} AND ${some}`;
        return `UPDATE ${name} SET tenant = '${random.pick(this.#tenants)}' WHERE ${ours} AND ${some}`;
      case 8:
        if (shared && random.chance(50)) return `TRUNCATE ${name}`;
        return `DELETE FROM ${name} WHERE ${ours} AND ${some}`;
      default:
        // One of several that may be alike.
        return `DELETE FROM ${name} WHERE (tableoid, ctid) IN (SELECT tableoid, ctid FROM ${name} WHERE ${ours} LIMIT 1)`;
    }
  }
}
