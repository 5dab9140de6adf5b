/** Schemas as an application sees them, so that two of them can be compared. */
import type pg from 'pg';

export type Shapes = Record<string, Record<string, unknown>>;

/** What an application sees of the schema: nothing that is a number of this server's own. */
export async function shapesOf(client: pg.Client): Promise<Shapes> {
  const { rows } = await client.query(
    `SELECT t.kind, t.name, t.shape FROM (
       SELECT 'table' AS kind, format('%I.%I', n.nspname, c.relname) AS name, drover.ddl_table(c.oid) AS shape FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')
       UNION ALL SELECT 'type', format('%I.%I', n.nspname, t.typname), drover.ddl_type(t.oid) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
       WHERE t.typtype IN ('e', 'd', 'c') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT IN ('information_schema', 'drover')) t
     WHERE t.shape IS NOT NULL ORDER BY 1, 2`,
  );
  const out: Shapes = {};
  for (const { kind, name, shape } of rows) {
    const without = strip(shape) as Record<string, unknown>;
    if (kind === 'table') without['part'] = shape.parent !== null;
    // What partitions inherit differs between versions.
    if (shape.parent)
      without['columns'] = shape.columns.map((c: { name: string; type: string }) => [c.name, c.type]).sort();
    out[kind === 'type' ? `type ${name}` : name] = without;
  }
  return out;
}

const ORDERED = new Set(['labels']);

function strip(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) {
    const items = value.map((item) => strip(item));
    if (ORDERED.has(key)) return items;
    return items.sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  }
  if (typeof value !== 'object' || value === null) return value;
  const skip = ['oid', 'n', 'typeOid', 'baseOid', 'column', 'owner', 'schemaOwner', 'columns'];
  return Object.fromEntries(
    Object.entries(value)
      .filter(([k, v]) => !skip.includes(k) || (k === 'columns' && typeof v[0] === 'object'))
      .map(([k, v]) => [k, strip(v, k)]),
  );
}

export function difference(ours: Shapes, theirs: Shapes): string {
  const names = new Set([...Object.keys(ours), ...Object.keys(theirs)]);
  const out: string[] = [];
  for (const name of names) {
    const [a, b] = [ours[name], theirs[name]];
    for (const key of new Set([...Object.keys(a ?? {}), ...Object.keys(b ?? {})])) {
      const [x, y] = [JSON.stringify(a?.[key]), JSON.stringify(b?.[key])];
      if (x !== y) out.push(`${name} ${key}\n  source  ${x}\n  replica ${y}`);
    }
  }
  return out.join('\n').slice(0, 4000);
}
