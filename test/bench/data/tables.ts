/**
 * The benchmark's tables: ten columns as an application has them, 1,000 tenants, one table a case. Rows are a function of their number,
 * so that clusters can be filled alike without copying.
 */
import type { CaseName } from '../lib/args.ts';

export const TENANTS = 1000;

export function tenantName(index: number): string {
  return `t${String(index).padStart(4, '0')}`;
}

/** Every transaction of the load stands before the marker of its tenant: the last thing a round writes. */
export const MARKER = `CREATE TABLE marker (
  tenant_id text NOT NULL, round bigint NOT NULL, PRIMARY KEY (tenant_id, round));
CREATE INDEX marker_by_round ON marker (round);`;

export const MARK = `INSERT INTO marker SELECT 't' || lpad(t::text, 4, '0'), $1 FROM generate_series(0, ${TENANTS - 1}) t`;

export function createTable(table: string): string {
  return `CREATE TABLE "${table}" (
  id bigint NOT NULL,
  tenant_id text NOT NULL,
  created_at timestamptz NOT NULL,
  amount numeric(12,2) NOT NULL,
  quantity integer NOT NULL,
  status text NOT NULL,
  note text NOT NULL,
  details jsonb NOT NULL,
  paid boolean NOT NULL,
  updated_at timestamptz,
  PRIMARY KEY (tenant_id, id));`;
}

/** Row number `id` (an SQL expression of type bigint) of tenant number `tenant`, as a select list. About 270 bytes. */
export function rowOf(id: string, tenant: string): string {
  return `${id}, 't' || lpad((${tenant})::text, 4, '0'), timestamptz '2026-01-01 00:00:00+00' + ${id} * interval '1.7 s',
    ((${id} * 7919) % 1000003)::numeric / 100, (${id} % 97)::int, (ARRAY['new','paid','shipped','returned'])[1 + ${id} % 4],
    'order ' || ${id} || ' of customer ' || md5(${id}::text),
    jsonb_build_object('sku', 'SKU-' || (${id} * 17) % 5000, 'lines', ${id} % 9, 'channel', 'web', 'ref', md5((${id} * 3)::text)),
    ${id} % 3 = 0, NULL::timestamptz`;
}

const CHANGE = `amount = amount + 1.25, quantity = quantity + 1, status = 'changed', updated_at = clock_timestamp()`;

/** A case's table before the slot exists: rows `0 .. count - 1`, row i is tenant i % 1000's number i / 1000. */
export function fill(table: string, count: number): string {
  return `INSERT INTO "${table}" SELECT ${rowOf('g', `g % ${TENANTS}`)} FROM generate_series(0::bigint, ${count - 1}::bigint) g;`;
}

export interface CaseSql {
  readonly name: CaseName;
  /** Rows that are there before, for `rows` a round and `rounds` rounds. */
  preload(rows: number, rounds: number): number;
  /** Body of a procedure that writes round `r` (0, 1, …) of `n` row changes. `j` is the transaction's number, `pre` the preload. */
  readonly body: string;
}

/** A transaction's rows are one tenant's, as an application writes them; `big` spreads each over all tenants, as a nightly job does. */
export const BIG_ROWS = 50_000;

const loop = (rowsEach: number, work: string): string => `
  FOR j IN 0 .. n / ${rowsEach} - 1 LOOP
    t := j % ${TENANTS};
    ${work}
    COMMIT;
  END LOOP;`;

export const CASE_SQL: readonly CaseSql[] = [
  {
    name: 'big',
    preload: () => 0,
    body: loop(
      BIG_ROWS,
      `INSERT INTO big SELECT ${rowOf('g', `g % ${TENANTS}`)}
       FROM generate_series(r * n + j * ${BIG_ROWS}, r * n + j * ${BIG_ROWS} + ${BIG_ROWS - 1}) g;`,
    ),
  },
  {
    name: 'ten',
    preload: () => 0,
    body: loop(
      10,
      `INSERT INTO ten SELECT ${rowOf('g', 't')} FROM generate_series(r * n + j * 10, r * n + j * 10 + 9) g;`,
    ),
  },
  {
    name: 'single',
    preload: () => 0,
    body: loop(1, `i := r * n + j; INSERT INTO single SELECT ${rowOf('i', 't')};`),
  },
  {
    // Every row of the table once a round, ten of a tenant in a transaction.
    name: 'update',
    preload: (rows) => rows,
    body: loop(
      10,
      `k := j / ${TENANTS} * 10;
       UPDATE "update" SET ${CHANGE} WHERE tenant_id = 't' || lpad(t::text, 4, '0')
         AND id = ANY (ARRAY(SELECT t + ${TENANTS} * (k + m) FROM generate_series(0, 9) m));`,
    ),
  },
  {
    // Six inserts, three updates, one delete. Deletes take the lower half of the preload, updates walk through the upper.
    name: 'mix',
    preload: (rows, rounds) => rows * Math.ceil(rounds / 5),
    body: loop(
      10,
      `k := (r * n / 10 + j) / ${TENANTS};
       INSERT INTO mix SELECT ${rowOf('g', 't')}
         FROM generate_series(pre + (r * n / 10 + j) * 6, pre + (r * n / 10 + j) * 6 + 5) g;
       UPDATE mix SET ${CHANGE} WHERE tenant_id = 't' || lpad(t::text, 4, '0')
         AND id = ANY (ARRAY(SELECT t + ${TENANTS} * (half + (k * 3 + m) % half) FROM generate_series(0, 2) m));
       DELETE FROM mix WHERE tenant_id = 't' || lpad(t::text, 4, '0') AND id = t + ${TENANTS} * k;`,
    ),
  },
  {
    // A hundred keys a tenant. Nine of ten transactions update the ten hot keys of one of the hundred busiest tenants: 1 % of all keys.
    name: 'hot',
    preload: () => TENANTS * 100,
    body: loop(
      10,
      `IF j % 10 < 9 THEN t := (j / 10 * 9 + j % 10) % 100; k := 0;
       ELSE t := 100 + j / 10 % 900; k := 10 + j / 9000 % 9 * 10; END IF;
       UPDATE hot SET ${CHANGE} WHERE tenant_id = 't' || lpad(t::text, 4, '0')
         AND id = ANY (ARRAY(SELECT t + ${TENANTS} * (k + m) FROM generate_series(0, 9) m));`,
    ),
  },
];

/** `CALL load_<case>(round, rows, preload)` in autocommit. */
export function loadProcedure({ name, body }: CaseSql): string {
  return `CREATE PROCEDURE load_${name}(r bigint, n bigint, pre bigint) LANGUAGE plpgsql AS $$
DECLARE i bigint; t bigint; k bigint; half bigint := pre / ${TENANTS} / 2;
BEGIN${body}
END $$;`;
}
