/** One table in two snapshots: folded into buckets first, then row by row where buckets differ, in bounded memory (I9). */
import type { Queryable } from '@drover/pg';
import type { TenantTable } from '../scope.ts';
import {
  type Bucket,
  bucketQuery,
  differingBuckets,
  differingKeys,
  type KeyedRow,
  rowsQuery,
  shares,
} from './checksum.ts';

export interface TableResult {
  readonly table: string;
  /** At the primary. */
  readonly rows: number;
  readonly equal: boolean;
  /** Keys as JSON; the first hundred that were found. Of a table without a key, whole rows, long ones cut. */
  readonly differing: readonly string[];
}

export const KEYS_MAX = 100;
/** Keys and hashes of both sides that are held at once; a bucket that is larger is read whole. */
const ROWS_AT_ONCE = 100_000;

export async function compareTable(
  left: Queryable,
  right: Queryable,
  table: TenantTable,
  /** What stands for the table on the left. */
  leftTable: TenantTable = table,
): Promise<TableResult> {
  const both = async <T>(sql: (of: TenantTable) => string, params: unknown[] = []): Promise<[T[], T[]]> => {
    const [a, b] = await Promise.all([left.query(sql(leftTable), params), right.query(sql(table), params)]);
    return [a.rows as T[], b.rows as T[]];
  };
  const name = `${table.schema}.${table.name}`;
  const [a, b] = await both<Bucket>(bucketQuery);
  const rows = a.reduce((sum, bucket) => sum + bucket.rows, 0);
  const buckets = differingBuckets(a, b);
  const differing: string[] = [];
  for (const share of shares(buckets, [...a, ...b], ROWS_AT_ONCE)) {
    const [x, y] = await both<KeyedRow>(rowsQuery, [share]);
    differing.push(...differingKeys(x, y, KEYS_MAX - differing.length));
    if (differing.length >= KEYS_MAX) break;
  }
  return { table: name, rows, equal: buckets.length === 0, differing };
}
