/** Clusters of different major versions: the matrix in small, through the stream and the first copy, in every direction that differs. */
import type { PgMajor } from '@drover/local';
import { describe, expect, it } from 'vitest';
import {
  builtInTypes,
  createTable,
  deletes,
  inserts,
  keyTable,
  matrixTables,
  type PgType,
  TYPES_QUERY,
  updates,
} from './matrix.ts';
import { DataWorld } from './world.ts';

const PAIRS: readonly [PgMajor, PgMajor][] = [
  [16, 18],
  [18, 16],
  [17, 18],
];
const together = (statements: readonly string[]): string => ['BEGIN', ...statements, 'COMMIT'].join(';');

describe.each(PAIRS)('from PostgreSQL %i to %i', (source, target) => {
  it('every type that both have', async () => {
    const world = await DataWorld.start({ source, target });
    try {
      const [ours, theirs] = await Promise.all(
        [world.source, world.target].map(async (client) => (await client.query<PgType>(TYPES_QUERY)).rows),
      );
      const both = new Set(theirs?.map((type) => type.name));
      const types = builtInTypes((ours ?? []).filter((type) => both.has(type.name)));
      expect(types.length).toBeGreaterThan(70);
      const tables = matrixTables(types).filter((t) => t.identity === 'default' || t.identity === 'full');
      const keys = types.filter((type) => type.ordered).map(keyTable);
      await world.tables([...tables.map(createTable), ...keys.map((key) => key.create)].join(';'));
      const all = [...tables, ...keys].map((table) => table.name);
      await world.tenant('a');
      const copied = await world.copied('copied');
      for (const tenant of ['a', 'copied']) {
        for (const table of tables) await world.write(together(inserts(table, tenant, 1)));
        for (const key of keys) await world.write(together(key.changes(tenant)));
      }
      await world.copy(copied);
      await world.same(all);
      for (const table of tables)
        await world.write(...updates(table, 'a', 1), together(updates(table, 'copied', 1)));
      await world.same(all);
      for (const table of tables) await world.write(...deletes(table, 'a'), ...deletes(table, 'copied'));
      await world.same(all);
    } finally {
      await world.close();
    }
  });
});
