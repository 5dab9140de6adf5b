/** Rules of [[transform]] against the clusters' tables, for `drover doctor` and `drover transform preview`. */
import { type Config, setupConnection } from '@drover/config';
import {
  classifyTable,
  classifyTables,
  connectPg,
  type Finding,
  publishedTables,
  readTables,
  type TableInfo,
} from '@drover/pg';
import { type Rule, readBaseTypes, ruleHoldsTable, validateTransforms } from '@drover/transform';

type Cluster = Config['clusters'][number];

export interface Tables {
  readonly all: readonly TableInfo[];
  readonly captured: readonly TableInfo[];
  readonly baseType: (typeOid: number) => number;
}

/** @throws DroverError `pg.*` */
export async function tablesOf(config: Config, cluster: Cluster, database: string): Promise<Tables> {
  const client = await connectPg(setupConnection(cluster, database));
  try {
    const all = await readTables(client);
    const captured = publishedTables(classifyTables(all, config.tagging, database));
    return { all, captured, baseType: await readBaseTypes(client) };
  } finally {
    await client.end();
  }
}

export function tenantColumn(
  config: Config,
  database: string,
  { schema, name, columns }: TableInfo,
): string | undefined {
  const shape = { schema, name, columns: columns.map((c) => c.name), database };
  const found = classifyTable(config.tagging, shape);
  return found.kind === 'column' ? found.column : undefined;
}

/** Of the rules for rows of this cluster's database, at all targets that have it. @throws DroverError `pg.*` */
export async function transformFindings(
  config: Config,
  rules: readonly Rule[],
  from: { readonly cluster: Cluster; readonly database: string; readonly only?: TableInfo },
): Promise<Finding[]> {
  const { cluster, database, only } = from;
  const source = await tablesOf(config, cluster, database);
  const others = config.clusters.filter((c) => c !== cluster && c.databases.includes(database));
  const targets = await Promise.all(
    others.map(async (c) => ({ cluster: c.name, tables: (await tablesOf(config, c, database)).all })),
  );
  return validateTransforms({
    rules,
    secret: config.security.secret,
    source: { cluster: cluster.name, tables: only === undefined ? source.captured : [only] },
    targets,
    tenantColumn: (table) => {
      const found = source.captured.find((t) => t.schema === table.schema && t.name === table.name);
      return found === undefined ? undefined : tenantColumn(config, database, found);
    },
    baseType: source.baseType,
  });
}

/**
 * What two tables must have in common counts for rows that pass as they are. Where a rule is for everybody's rows, what comes out of it is
 * compared instead ({@link transformFindings}).
 */
export function besidesRules(
  findings: readonly Finding[],
  rules: readonly Rule[],
  target: string,
): Finding[] {
  return findings.filter(({ object, code }) => {
    const [, schema = '', name = ''] = /^table ([^.]+)\.(.+)$/.exec(object) ?? [];
    const ruled = rules.some(
      (rule) =>
        rule.tenants.length === 0 &&
        rule.tier === undefined &&
        (rule.target === undefined || rule.target === target) &&
        ruleHoldsTable(rule, schema, name),
    );
    return !ruled || !BY_COLUMNS.has(code);
  });
}

const BY_COLUMNS: ReadonlySet<string> = new Set([
  'column_missing',
  'column_extra',
  'type_differs',
  'not_null_differs',
  'primary_key_differs',
  'identity_differs',
]);
