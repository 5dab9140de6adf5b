/** A figure of a replica that is not equal to its source must never count. */
import { DroverError } from '@drover/core';
import type pg from 'pg';

/** Rows of a table and a sum over hashes of each whole row: equal for equal multisets. */
export async function checksum(client: pg.Client, table: string): Promise<string> {
  const { rows } = await client.query<{ sum: string }>(
    `SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS sum FROM "${table}" t`,
  );
  return rows[0]?.sum ?? 'nothing';
}

/** @throws DroverError `internal.assertion` naming the table and both sums */
export async function mustBeEqual(
  source: pg.Client,
  replicas: readonly { readonly name: string; readonly replica: pg.Client }[],
  tables: readonly string[],
): Promise<void> {
  for (const table of tables) {
    const [wanted, ...found] = await Promise.all(
      [source, ...replicas.map(({ replica }) => replica)].map((client) => checksum(client, table)),
    );
    for (const [i, sum] of found.entries()) {
      if (sum === wanted) continue;
      throw new DroverError(
        'internal.assertion',
        `${replicas[i]?.name}'s replica of table ${table} differs from its source`,
        {
          facts: { source: wanted, replica: sum },
        },
      );
    }
  }
}
