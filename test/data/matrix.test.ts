/**
 * Every type that comes with PostgreSQL, with every value at its edge, alone and in arrays: through inserts, updates and deletes of the stream under
 * each replica identity, through the first copy, and as keys; in both forms in which PostgreSQL sends values. Rows are compared by text and by binary
 * form.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  builtInTypes,
  createTable,
  createTwins,
  deletes,
  fitsBinary,
  IDENTITIES,
  inserts,
  keyTable,
  type MatrixTable,
  type MatrixType,
  matrixTables,
  type PgType,
  TWINS,
  TYPES_QUERY,
  twinChanges,
  twinTable,
  updates,
} from './matrix.ts';
import { DataWorld } from './world.ts';

const names = (of: readonly MatrixTable[]): string[] => of.map((table) => table.name);
const together = (statements: readonly string[]): string => ['BEGIN', ...statements, 'COMMIT'].join(';');

describe.each(['binary', 'text'] as const)('sent as %s', (form) => {
  let world: DataWorld;
  let tables: MatrixTable[];
  let keys: MatrixType[];

  beforeAll(async () => {
    world = await DataWorld.start({ sections: { migration: { chunk_rows: 7 } } });
    const all = builtInTypes((await world.source.query<PgType>(TYPES_QUERY)).rows);
    const types = all.filter((type) => form === 'text' || fitsBinary(type));
    // Twice in all of it would be long: text has the two identities that differ most.
    tables = matrixTables(types).filter(
      (t) => form === 'binary' || t.identity === 'default' || t.identity === 'full',
    );
    keys = types.filter((type) => type.ordered);
    await world.tables([...tables.map(createTable), ...keys.map((type) => keyTable(type).create)].join(';'));
    await world.tenant('a', 'b');
  });
  afterAll(() => world.close());

  describe.each(IDENTITIES.filter((i) => form === 'binary' || i === 'default' || i === 'full'))(
    'under replica identity %s',
    (identity) => {
      const own = () => tables.filter((table) => table.identity === identity);

      it('inserts, one by one and many in one transaction', async () => {
        for (const table of own()) {
          await world.write(...inserts(table, 'a', 1));
          await world.write(together([...inserts(table, 'b', 1), ...inserts(table, 'b', 1001)]));
        }
        await world.same(names(own()));
        const { rows } = await world.target.query(`SELECT count(*)::int AS n FROM ${own()[0]?.name}`);
        expect(rows[0].n).toBeGreaterThan(20);
      });

      it('updates of every value, of one column, and of the key', async () => {
        for (const table of own()) {
          await world.write(...updates(table, 'a', 1));
          await world.write(together(updates(table, 'b', 1)));
        }
        await world.same(names(own()));
      });

      it('deletes', async () => {
        for (const table of own()) {
          await world.write(...deletes(table, 'a'));
          await world.write(together(deletes(table, 'b')));
        }
        await world.same(names(own()));
        const { rows } = await world.target.query(
          `SELECT count(*)::int AS n FROM ${own()[0]?.name} WHERE tenant = 'a' AND id % 4 = 0`,
        );
        expect(rows[0].n).toBe(0);
      });
    },
  );

  it('rows without a key that are equal and not the same: the one that was meant goes', async () => {
    const collation = `CREATE COLLATION insensitive (provider = icu, locale = 'und-u-ks-level2', deterministic = false)`;
    const created = TWINS.flatMap(([type], n) => [createTwins(n, type, false), createTwins(n, type, true)]);
    await world.tables([collation, ...created].join(';'));
    for (const [n, [, one, other]] of TWINS.entries()) {
      for (const name of [twinTable(n, false), twinTable(n, true)]) {
        await world.write(...twinChanges(name, 'a', [one, other]));
        await world.write(together(twinChanges(name, 'b', [other, one])));
      }
    }
    await world.same(TWINS.flatMap((_, n) => [twinTable(n, false), twinTable(n, true)]));
  });

  it('as a key: inserted, updated, changed and deleted by every value', async () => {
    for (const type of keys) {
      const { changes } = keyTable(type);
      await world.write(...changes('a'));
      await world.write(together(changes('b')));
    }
    await world.same(keys.map((type) => keyTable(type).name));
  });

  it('the first copy of a tenant with all of it, and the stream behind it', async () => {
    const tenant = await world.copied('copied');
    for (const table of tables) await world.write(together(inserts(table, 'copied', 1)));
    for (const type of keys) await world.write(together(keyTable(type).changes('copied')));
    await world.copy(tenant);
    const all = [...names(tables), ...keys.map((type) => keyTable(type).name)];
    await world.same(all);
    for (const table of tables)
      await world.write(...updates(table, 'copied', 1), ...deletes(table, 'copied'));
    for (const type of keys) await world.write(...keyTable(type).changes('copied'));
    await world.same(all);
  });

  it('it was sent so', async () => {
    const { rows } = await world.source.query('SELECT form FROM drover.reader');
    expect(rows).toEqual([{ form }]);
  });
});
