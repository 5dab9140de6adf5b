/**
 * The publication `drover`: exactly the captured tables, named one by one. Only this publication is touched. Partitioned
 * tables are published through their root, so replicas may be partitioned differently (publish_via_partition_root).
 */
import { DroverError } from '@drover/core';
import { PUBLICATION } from '../names.ts';
import { quoteIdent, quoteTable } from '../quote.ts';
import { inTransaction, type Queryable, queryOne, queryRows } from '../schema/queryable.ts';
import { type Action, runActions } from './actions.ts';

export interface TableName {
  readonly schema: string;
  readonly name: string;
}

interface State {
  readonly allTables: boolean;
  readonly viaRoot: boolean;
  readonly complete: boolean;
  readonly schemas: number;
}

/**
 * From PostgreSQL 18 on a table whose replica identity holds a stored generated column can only be updated while the publication has those
 * columns, too (CREATE PUBLICATION, publish_generated_columns); replicas compute them all the same.
 */
const GENERATED = 'publish_generated_columns = stored';

export interface PublicationPlan {
  readonly exists: boolean;
  /** Why the publication of that name is not ours; then there are no statements. */
  readonly foreign: string | null;
  readonly statements: readonly string[];
}

/** What {@link ensurePublication} would do. */
export async function planPublication(
  client: Queryable,
  tables: readonly TableName[],
): Promise<PublicationPlan> {
  const state = await readState(client);
  if (state !== null && (state.allTables || state.schemas > 0)) {
    const what = state.allTables ? 'all tables' : 'whole schemas';
    return {
      exists: true,
      foreign: `publication "${PUBLICATION}" publishes ${what}; Drover names its tables one by one`,
      statements: [],
    };
  }
  const present = state === null ? [] : await readPublished(client);
  return {
    exists: state !== null,
    foreign: null,
    statements: publicationStatements(state, present, tables, await knowsGenerated(client)),
  };
}

/**
 * Adds what is missing and drops what is not wanted. `tables` holds partition roots, not partitions.
 * @throws DroverError pg.publication_foreign when a publication of that name publishes all tables or whole schemas
 */
export async function ensurePublication(client: Queryable, tables: readonly TableName[]): Promise<Action[]> {
  return inTransaction(client, async () => {
    const plan = await planPublication(client, tables);
    if (plan.foreign !== null) {
      throw new DroverError('pg.publication_foreign', plan.foreign, {
        hint: `rename it: ALTER PUBLICATION ${quoteIdent(PUBLICATION)} RENAME TO ...`,
      });
    }
    return runActions(client, `publication ${PUBLICATION}`, plan.statements);
  });
}

interface Published extends TableName {
  /** It has a column list or a row filter, which Drover never sets. */
  readonly partial: boolean;
}

/** Statements from the state found to the state wanted; `generated`: the server knows {@link GENERATED}. Pure. */
export function publicationStatements(
  state: State | null,
  present: readonly Published[],
  wanted: readonly TableName[],
  generated = false,
): string[] {
  const name = quoteIdent(PUBLICATION);
  const list = (tables: readonly TableName[]) => tables.map((t) => quoteTable(t.schema, t.name)).join(', ');
  if (state === null) {
    const tables = wanted.length === 0 ? '' : ` FOR TABLE ${list(wanted)}`;
    const more = generated ? `, ${GENERATED}` : '';
    return [`CREATE PUBLICATION ${name}${tables} WITH (publish_via_partition_root = true${more})`];
  }
  const key = (t: TableName) => quoteTable(t.schema, t.name);
  const whole = new Set(present.filter((t) => !t.partial).map(key));
  const wantedKeys = new Set(wanted.map(key));
  const drop = present.filter((t) => t.partial || !wantedKeys.has(key(t)));
  const add = wanted.filter((t) => !whole.has(key(t)));
  const statements: string[] = [];
  if (!state.viaRoot || !state.complete) {
    statements.push(
      `ALTER PUBLICATION ${name} SET (publish = 'insert, update, delete, truncate', publish_via_partition_root = true${generated ? `, ${GENERATED}` : ''})`,
    );
  }
  if (drop.length > 0) statements.push(`ALTER PUBLICATION ${name} DROP TABLE ${list(drop)}`);
  if (add.length > 0) statements.push(`ALTER PUBLICATION ${name} ADD TABLE ${list(add)}`);
  return statements;
}

async function knowsGenerated(client: Queryable): Promise<boolean> {
  const row = await queryOne<{ knows: boolean }>(
    client,
    `SELECT pg_catalog.current_setting('server_version_num')::int >= 180000 AS knows`,
  );
  return row?.knows === true;
}

async function readState(client: Queryable): Promise<State | null> {
  return queryOne<State & { [column: string]: unknown }>(
    client,
    `SELECT p.puballtables AS "allTables", p.pubviaroot AS "viaRoot",
       p.pubinsert AND p.pubupdate AND p.pubdelete AND p.pubtruncate
         AND coalesce(pg_catalog.to_jsonb(p) ->> 'pubgencols', 's') = 's' AS complete,
       (SELECT count(*)::int FROM pg_catalog.pg_publication_namespace n WHERE n.pnpubid = p.oid) AS schemas
     FROM pg_catalog.pg_publication p WHERE p.pubname = $1`,
    [PUBLICATION],
  );
}

/** The tables in publication `drover`. */
export async function readPublished(client: Queryable): Promise<Published[]> {
  return queryRows<Published & { [column: string]: unknown }>(
    client,
    `SELECT n.nspname::text AS schema, c.relname::text AS name, r.prqual IS NOT NULL OR r.prattrs IS NOT NULL AS partial
     FROM pg_catalog.pg_publication p JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
     JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE p.pubname = $1 ORDER BY 1, 2`,
    [PUBLICATION],
  );
}
