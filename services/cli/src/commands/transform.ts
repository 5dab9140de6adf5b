/** `drover transform preview`: what the rules make of rows, and whether they fit the tables, before they meet the stream. */
import { type Config, setupConnection } from '@drover/config';
import { DroverError, type TenantId, tenantId } from '@drover/core';
import { connectPg, type Finding, type TableInfo } from '@drover/pg';
import { type Preview, type PreviewRow, preview, type Rule, rulesOf } from '@drover/transform';
import { type Output, table } from '../output/terminal.ts';
import { type Tables, tablesOf, transformFindings } from './transform-findings.ts';

export interface TransformPreviewArgs {
  readonly config: Config;
  /** `schema.table` */
  readonly table: string;
  readonly tenant: string | undefined;
  readonly tier: string;
  /** Absent: as published. */
  readonly target: string | undefined;
  /** Whose rows are read; default: the first. */
  readonly cluster: string | undefined;
  readonly database: string | undefined;
  readonly rows: number;
}

const ROWS_MAX = 1000;

/** Returns whether the rules fit. @throws DroverError `config.*`, `pg.*` */
export async function transformPreview(args: TransformPreviewArgs, out: Output): Promise<boolean> {
  const { config } = args;
  const rules = rulesOf(config);
  const cluster = clusterOf(config, args.cluster);
  if (args.target !== undefined) clusterOf(config, args.target);
  const database = args.database ?? cluster.databases[0] ?? 'postgres';
  const tables = await tablesOf(config, cluster, database);
  const found = tables.captured.find((t) => `${t.schema}.${t.name}` === args.table);
  if (found === undefined)
    throw new DroverError(
      'config.invalid',
      `${cluster.name}/${database} has no captured table ${args.table}`,
      {
        hint: `it has ${
          tables.captured
            .map((t) => `${t.schema}.${t.name}`)
            .slice(0, 10)
            .join(', ') || 'none'
        }`,
      },
    );
  const all = await transformFindings(config, rules, { cluster, database, only: found });
  const findings = all.filter((f) => f.code !== 'transform_no_table');
  for (const finding of findings)
    out.result(
      finding,
      () => `${MARKS[finding.severity]} ${finding.object}: ${finding.message}${mend(finding)}`,
    );
  if (findings.some((f) => f.severity === 'error')) return false;
  show(await sample(rules, found, tables, { ...args, cluster, database }), out);
  return true;
}

const MARKS = { error: '✗', warning: '!', ok: '✓' } as const;

function mend({ sql }: Finding): string {
  return sql === undefined ? '' : `\n${sql.replace(/^/gm, '    ')}`;
}

type Cluster = Config['clusters'][number];

function clusterOf(config: Config, name: string | undefined): Cluster {
  const found = config.clusters.find((c) => name === undefined || c.name === name);
  if (found !== undefined) return found;
  throw new DroverError('config.invalid', `${config.file ?? 'drover.toml'} has no cluster ${name ?? ''}`, {
    hint: `it has ${config.clusters.map((c) => c.name).join(', ')}`,
  });
}

async function sample(
  rules: readonly Rule[],
  source: TableInfo,
  { baseType }: Tables,
  args: Omit<TransformPreviewArgs, 'cluster' | 'database'> & { cluster: Cluster; database: string },
): Promise<Preview> {
  const tenant: TenantId | undefined = args.tenant === undefined ? undefined : tenantId(args.tenant);
  const { config } = args;
  const client = await connectPg(setupConnection(args.cluster, args.database));
  try {
    return await preview(client, {
      rules,
      secret: config.security.secret,
      tagging: config.tagging,
      database: args.database,
      table: source,
      tier: args.tier,
      rows: Math.min(args.rows, ROWS_MAX),
      baseType,
      ...(tenant === undefined ? {} : { tenant }),
      ...(args.target === undefined ? {} : { target: args.target }),
    });
  } finally {
    await client.end();
  }
}

function show(found: Preview, out: Output): void {
  const by = found.rules.length === 0 ? 'no rule holds' : found.rules.join(', ');
  out.line(`\n${found.table}: ${by}`);
  if (out.json) {
    for (const row of found.rows) out.result({ table: found.table, rules: found.rules, ...row }, () => '');
    return;
  }
  for (const [i, row] of found.rows.entries()) out.line(`\nrow ${i + 1}\n${comparison(row)}`);
  if (found.rows.length === 0) out.line('no rows');
}

const CELL_MAX = 60;

/** Columns that came out, beside those that went in; a renamed column stands twice. */
function comparison({ before, after }: PreviewRow): string {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after ?? {})])];
  const rows = names.map((name) => [
    name,
    cell(before, name),
    after === null ? '(row left out)' : cell(after, name),
  ]);
  return table(['column', 'before', 'after'], rows);
}

function cell(row: Readonly<Record<string, string | null>>, name: string): string {
  if (!Object.hasOwn(row, name)) return '—';
  const value = row[name] ?? 'NULL';
  const text = value.replaceAll('\n', '\\n');
  return text.length > CELL_MAX ? `${text.slice(0, CELL_MAX - 1)}…` : text;
}
