/**
 * One schema change in the caller's transaction: its first half is made, its second half noted, and what stands for what is brought up to
 * date. What the change did to rows that only the source knows is told, never guessed.
 */
import type { Flyer } from '../target/session.ts';
import type { Action, Steps } from './action.ts';
import { explain } from './explain.ts';
import type { DdlMessage, TableChange, TableShape, TypeChange } from './message.ts';
import { remember, tableOf, type Where } from './remember.ts';
import {
  ensureSchema,
  findTable,
  findType,
  ownerOf,
  readMap,
  readServer,
  readTable,
  runAction,
  type Server,
} from './replica.ts';
import { tableSteps } from './table-steps.ts';
import { typeSteps } from './type-steps.ts';

/** Whose rows a table holds. `all`: those of every tenant but `_shared`. */
export type Touched = { readonly tenant: string } | 'all';

export interface Outcome {
  readonly contract: readonly Action[];
  readonly touches: readonly string[];
  /** Why the tenants stop: the code, and a sentence. */
  readonly trouble: { readonly code: 'apply.ddl' | 'apply.ddl_values'; readonly reason: string } | null;
}

/** @throws StatementFailed, Unsupported; the caller rolls back */
export async function expand(session: Flyer, where: Where, message: DdlMessage): Promise<Outcome> {
  const server = await readServer(session);
  const contract: Action[] = [];
  const touches: string[] = [];
  const troubles: Outcome['trouble'][] = [];
  const take = async (steps: Steps): Promise<void> => {
    for (const action of steps.expand) await runAction(session, action);
    for (const action of steps.contract) contract.push(await withColumn(session, action));
    touches.push(...steps.touches);
  };
  const types = async (dropped: boolean): Promise<void> => {
    for (const change of message.types) {
      if ((change.after === null) === dropped)
        await take(await planType(session, server, change, message.baseline));
    }
  };
  await types(false);
  for (const change of inOrder(message.tables)) {
    if (!(await isWanted(session, where.source, change))) continue;
    const stopped = change.unknown.filter((u) => u === 'using' || u === 'cast' || u === 'class');
    if (message.baseline) {
      await remember(session, where, change, true);
    } else if (stopped.length > 0) {
      troubles.push({ code: 'apply.ddl', reason: explain(stopped, change, message) });
      await remember(session, where, change, false);
    } else {
      await take(await planTable(session, server, where.source, change));
      await remember(session, where, change, false);
      if (change.unknown.length > 0)
        troubles.push({ code: 'apply.ddl_values', reason: explain(change.unknown, change, message) });
    }
  }
  await types(true); // when no column is of it any more
  // A table that goes with one it refers to, or that refers to it: the references first.
  contract.sort((a, b) => dropRank(a) - dropRank(b));
  const trouble = troubles.find((t) => t?.code === 'apply.ddl') ?? troubles[0] ?? null;
  return { contract, touches, trouble };
}

/** A column that was made just now has its number. */
async function withColumn(session: Flyer, action: Action): Promise<Action> {
  if (action.added === undefined || action.oid === null) return action;
  const table = await readTable(session, action.oid);
  const column = table?.columns.find((c) => c.name === action.added);
  return column === undefined ? action : { ...action, column: column.n };
}

const dropRank = ({ key }: Action): number =>
  key.startsWith('type:') ? 2 : key.startsWith('table:') ? 1 : 0;

/** Nothing is made here, but rows that come are read by what the source has now. */
export async function rememberAll(session: Flyer, where: Where, message: DdlMessage): Promise<void> {
  for (const change of message.tables) {
    if (await isWanted(session, where.source, change))
      await remember(session, where, change, message.baseline);
  }
}

/** Whose rows are in the tables of the message. */
export function touchedBy(message: DdlMessage): Touched[] {
  const touched: Touched[] = message.tables.map(({ class: c }) => {
    if (c.kind === 'reference') return { tenant: '_shared' };
    return c.kind === 'schema' && c.tenant !== undefined ? { tenant: c.tenant } : 'all';
  });
  return message.types.length > 0 ? [...touched, 'all'] : touched;
}

export function objectOf(message: DdlMessage): string {
  const shapes = [...message.tables, ...message.types].map((change) => change.after ?? change.before);
  return shapes
    .map((s) => `${s?.schema}.${s?.name}`)
    .join(', ')
    .slice(0, 500);
}

/** Tables that lose a foreign key first, drops last. */
function inOrder(tables: readonly TableChange[]): TableChange[] {
  const rank = ({ before, after }: TableChange): number => {
    if (after === null) return 2;
    return before?.constraints.some((c) => c.type === 'f' && !after.constraints.some((a) => a.oid === c.oid))
      ? 0
      : 1;
  };
  return [...tables].sort((a, b) => rank(a) - rank(b));
}

/** A table of one tenant concerns a cluster only while it follows that tenant from there. */
async function isWanted(session: Flyer, source: string, { class: c }: TableChange): Promise<boolean> {
  if (c.kind !== 'schema' || c.tenant === undefined) return true;
  const rows = await session.rows(
    `SELECT 1 FROM drover.tenant WHERE tenant = $1 AND role = 'replica' AND source = $2`,
    [c.tenant, source],
  );
  return rows.length > 0;
}

/** A narrower type that waits is given now where another is to follow: what it rounds off must be gone. */
async function makeWaitingTypes(
  session: Flyer,
  source: string,
  { oid, before, after }: TableChange,
): Promise<void> {
  const changed = (after?.columns ?? []).filter(
    (c) => before?.columns.some((b) => b.n === c.n && b.type !== c.type) === true,
  );
  if (changed.length === 0) return;
  const rows = await session.rows(
    `SELECT a.value::text FROM drover.ddl_step s, jsonb_array_elements(s.contract) AS a (value)
     WHERE s.source = $1 AND s.status = 'pending' AND a.value ->> 'key' = ANY ($2::text[]) ORDER BY s.generation, s.lsn, s.at`,
    [source, `{${changed.map((c) => `type:${oid}:${c.n}`).join(',')}}`],
  );
  for (const [text] of rows) {
    const action = JSON.parse(text ?? '') as Action;
    // A cast that is asked for cuts off what does not fit yet: its row is still to be changed.
    const using = ` USING \u0001C::${action.type?.replace(/ COLLATE .*/, '')}`;
    await runAction(session, { ...action, sql: action.sql + using });
  }
}

async function planTable(
  session: Flyer,
  server: Server,
  source: string,
  change: TableChange,
): Promise<Steps> {
  await makeWaitingTypes(session, source, change);
  const table = await tableOf(session, source, change);
  const { after } = change;
  if (table === null && after !== null) {
    await ensureSchema(session, server, after.schema, ownerOf(server, after.schemaOwner, after.owner));
    await makeWay(session, source, after);
  } else if (after !== null && change.before !== null && after.schema !== change.before.schema) {
    await ensureSchema(session, server, after.schema, ownerOf(server, after.schemaOwner, after.owner));
  }
  const map = await readMap(session, source, change.oid);
  return tableSteps(change, {
    table,
    pairs: map?.targetOid === table?.oid ? (map?.pairs ?? {}) : {},
    major: server.major,
    ownerOf: (role, schemaOwner) => ownerOf(server, role, schemaOwner),
  });
}

/** A table of that name is to go, and has not yet. */
async function makeWay(session: Flyer, source: string, after: TableShape): Promise<void> {
  const old = await findTable(session, after.schema, after.name);
  if (old === null) return;
  const [row] = await session.rows(
    `SELECT m.oid FROM drover.ddl_map m WHERE m.source = $1 AND m.kind = 'table' AND m.target_oid = $2::bigint`,
    [source, String(old.oid)],
  );
  await runAction(session, {
    key: '',
    sql: 'DROP TABLE \u0001T',
    oid: old.oid,
    column: null,
    owner: old.owner,
  });
  await session.rows(
    `UPDATE drover.ddl_map SET target_oid = NULL, shape = NULL WHERE source = $1 AND oid = $2::bigint`,
    [source, String(row?.[0] ?? 0)],
  );
}

async function planType(
  session: Flyer,
  server: Server,
  change: TypeChange,
  baseline: boolean,
): Promise<Steps> {
  const { before, after } = change;
  if (baseline) return { expand: [], contract: [], touches: [] };
  const names = [before, after].flatMap((shape) => (shape === null ? [] : [shape]));
  const type = await findType(session, names);
  if (type === null && after !== null)
    await ensureSchema(session, server, after.schema, ownerOf(server, after.schemaOwner, after.owner));
  return typeSteps(change, { type, ownerOf: (role, schemaOwner) => ownerOf(server, role, schemaOwner) });
}
