/**
 * Random schema changes among random rows, in transactions that commit or do not: afterwards catalog and rows of both clusters are equal
 * (pitfalls 43, 45 to 48). A failing run prints its seed; DROVER_TEST_SEED repeats it.
 */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DdlWorld } from './ddl-world.ts';

const EACH = `unnest('{a,b,c,d}'::text[]) t`;
/** From each type, those its values can be converted to without losing the run. */
const TYPES: Record<string, string[]> = {
  int: ['bigint', 'numeric', 'text'],
  bigint: ['numeric', 'text'],
  'varchar(40)': ['text', 'varchar(60)'],
  'varchar(60)': ['text', 'varchar(40)'],
  text: ['varchar(60)'],
  numeric: ['text', 'numeric(20,4)'],
  'numeric(20,4)': ['numeric', 'text'],
  boolean: ['text'],
};
const isText = (type: string): boolean => type === 'text' || type.startsWith('varchar');
const value = (type: string, n: number): string =>
  isText(type) ? `'s${n}'` : type === 'boolean' ? String(n % 2 === 0) : String(n % 1000);

interface Column {
  name: string;
  type: string;
  notNull: boolean;
}
interface Table {
  name: string;
  columns: Column[];
  indexes: string[];
}

/** Numbers that decide what is done; what they mean depends on the tables as they are by then. */
const step = fc.record({
  op: fc.nat({ max: 21 }),
  table: fc.nat({ max: 50 }),
  column: fc.nat({ max: 50 }),
  n: fc.nat({ max: 997 }),
});
const transaction = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 6 }),
  commit: fc.nat({ max: 6 }),
});

class Model {
  tables: Table[] = [];
  names = 0;

  clone(): Model {
    const copy = new Model();
    copy.tables = structuredClone(this.tables);
    copy.names = this.names;
    return copy;
  }

  sql({ op, table, column, n }: { op: number; table: number; column: number; n: number }): string[] {
    const t = this.tables[table % Math.max(1, this.tables.length)];
    if (t === undefined || (op === 0 && this.tables.length < 3)) {
      const made: Table = {
        name: `r${this.names++}`,
        columns: [{ name: 'v', type: 'int', notNull: false }],
        indexes: [],
      };
      this.tables.push(made);
      return [
        `CREATE TABLE ${made.name} (tenant text, id int, v int DEFAULT ${n}, PRIMARY KEY (tenant, id))`,
      ];
    }
    const at = column % Math.max(1, t.columns.length);
    const c = t.columns[at];
    switch (op) {
      case 1: {
        // Under a name that was there before, as often as not.
        const name = n % 2 === 0 ? `c${n % 5}` : `n${this.names++}`;
        if (t.columns.some((x) => x.name === name)) return [];
        const type = Object.keys(TYPES)[column % Object.keys(TYPES).length] ?? 'int';
        const filled = n % 3 > 0;
        const notNull = n % 3 === 2;
        t.columns.push({ name, type, notNull });
        return [
          `ALTER TABLE ${t.name} ADD ${name} ${type}${filled ? ` DEFAULT ${value(type, n)}` : ''}${notNull ? ' NOT NULL' : ''}`,
        ];
      }
      case 2:
        if (c === undefined) return [];
        t.columns.splice(at, 1);
        t.indexes = []; // they may have been on it
        return [
          `DROP INDEX IF EXISTS ${Array.from({ length: 5 }, (_, i) => `${t.name}_i${i}`).join(', ')}`,
          `ALTER TABLE ${t.name} DROP ${c.name}`,
        ];
      case 3: {
        const name = `n${this.names++}`;
        if (c === undefined) return [];
        const old = c.name;
        c.name = name;
        return [`ALTER TABLE ${t.name} RENAME ${old} TO ${name}`];
      }
      case 4: {
        const other = t.columns[(at + 1) % Math.max(1, t.columns.length)];
        if (c === undefined || other === undefined || other === c) return [];
        const [a, b] = [c.name, other.name];
        [c.name, other.name] = [b, a];
        return [
          `ALTER TABLE ${t.name} RENAME ${a} TO swap`,
          `ALTER TABLE ${t.name} RENAME ${b} TO ${a}`,
          `ALTER TABLE ${t.name} RENAME swap TO ${b}`,
        ];
      }
      case 5:
      case 6: {
        const choices = c === undefined ? [] : (TYPES[c.type] ?? []);
        const to = choices[n % Math.max(1, choices.length)];
        if (c === undefined || to === undefined) return [];
        c.type = to;
        return [
          `ALTER TABLE ${t.name} ALTER ${c.name} DROP DEFAULT`,
          `ALTER TABLE ${t.name} ALTER ${c.name} TYPE ${to}`,
        ];
      }
      case 7:
        if (c === undefined || c.notNull) return [];
        c.notNull = true;
        return [
          `UPDATE ${t.name} SET ${c.name} = ${value(c.type, n)} WHERE ${c.name} IS NULL`,
          `ALTER TABLE ${t.name} ALTER ${c.name} SET NOT NULL`,
        ];
      case 8:
        if (c === undefined) return [];
        c.notNull = false;
        return [`ALTER TABLE ${t.name} ALTER ${c.name} DROP NOT NULL`];
      case 9:
        if (c === undefined) return [];
        return [`ALTER TABLE ${t.name} ALTER ${c.name} SET DEFAULT ${value(c.type, n)}`];
      case 10: {
        const name = `${t.name}_i${n % 5}`;
        if (c === undefined || t.indexes.includes(name)) return [];
        t.indexes.push(name);
        return [`CREATE ${n % 2 === 0 ? '' : 'UNIQUE '}INDEX ${name} ON ${t.name} (tenant, id, ${c.name})`];
      }
      case 11: {
        const name = t.indexes.pop();
        return name === undefined ? [] : [`DROP INDEX ${name}`];
      }
      case 12:
        if (this.tables.length < 2) return [];
        this.tables = this.tables.filter((x) => x !== t);
        return [`DROP TABLE ${t.name}`];
      case 13: {
        if (t.indexes.length > 0) return [];
        const old = t.name;
        t.name = `r${this.names++}`;
        return [`ALTER TABLE ${old} RENAME TO ${t.name}`];
      }
      case 14:
        return [`ALTER TABLE ${t.name} REPLICA IDENTITY ${n % 2 === 0 ? 'FULL' : 'DEFAULT'}`];
      case 15:
      case 16:
        return [`DELETE FROM ${t.name} WHERE id % 11 = ${n % 11}`];
      case 17:
      case 18:
        if (c === undefined) return [];
        return [`UPDATE ${t.name} SET ${c.name} = ${value(c.type, n)} WHERE id % 5 = ${n % 5}`];
      default: {
        const columns = t.columns.map((x) => `, ${x.name}`).join('');
        const values = t.columns.map((x) => `, ${value(x.type, n)}`).join('');
        return [
          `INSERT INTO ${t.name} (tenant, id${columns}) SELECT t, i${values} FROM ${EACH}, generate_series(${n}, ${n + 25}) i ON CONFLICT DO NOTHING`,
        ];
      }
    }
  }
}

let world: DdlWorld;
beforeAll(async () => {
  world = await DdlWorld.start();
  await world.tenant('a', 'b', 'c', 'd');
});
afterAll(() => world.close());

const feed = (to: 'held' | 'catchup'): Promise<unknown> =>
  world.target.query(
    `UPDATE drover.tenant SET feed = $1, reason = CASE WHEN $1 = 'held' THEN 'test' END
     WHERE tenant = 'd' AND feed IN ('held', CASE WHEN $1 = 'held' THEN 'live' END)`,
    [to],
  );

it('catalog and rows are equal after random schema changes and rows', async () => {
  const seed = Number(process.env['DROVER_TEST_SEED'] ?? Date.now() % 1_000_000_000);
  console.log(`seed ${seed}`);
  const model = new Model();
  let runs = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(transaction, { minLength: 10, maxLength: 25 }), async (transactions) => {
      runs++;
      for (const { steps, commit } of transactions) {
        // One of the tenants is held for the rest of the run, and reads it all later.
        if (commit === 6) await feed('held');
        const tried = model.clone();
        const statements = steps.flatMap((one) => tried.sql(one));
        if (statements.length === 0) continue;
        if (commit === 0) {
          await world.write(`BEGIN; ${statements.join('; ')}; ROLLBACK`);
        } else if (commit < 4) {
          await world.write(`BEGIN; ${statements.join('; ')}; COMMIT`);
        } else {
          await world.write(...statements);
        }
        // A savepoint's changes are taken back, the rest stands.
        if (commit === 5 && tried.tables[0] !== undefined)
          await world.write(
            `BEGIN; SAVEPOINT s; ALTER TABLE ${tried.tables[0].name} ADD never int; ROLLBACK TO s; DELETE FROM ${tried.tables[0].name} WHERE id = 1; COMMIT`,
          );
        if (commit !== 0) {
          model.tables = tried.tables;
        }
        model.names = tried.names;
      }
      await feed('catchup');
      await world.same();
    }),
    // What a smaller example would start from is gone: the seed repeats the run as a whole.
    { seed, numRuns: 12, endOnFailure: true },
  );
  expect(runs).toBe(12);
});
