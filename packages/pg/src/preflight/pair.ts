/**
 * Whether tables of a source can be applied to a target: the two catalogs side by side. `comparePair` is pure.
 */

import { readServer, type ServerInfo } from '../catalog/read-server.ts';
import { readTables } from '../catalog/read-tables.ts';
import type { ColumnInfo, TableInfo } from '../catalog/table-info.ts';
import { quoteIdent, quoteTable } from '../quote.ts';
import type { Queryable } from '../schema/queryable.ts';
import { classifyTables, publishedTables } from '../setup/captured.ts';
import type { Tagging } from '../tagging.ts';
import { sortFindings } from './doctor.ts';
import { type Finding, finding, ok } from './finding.ts';

/** `source` and `target` are the same database on two clusters. Statements in the findings are for the target. */
export async function doctorPair(
  source: Queryable,
  target: Queryable,
  options: { tagging: Tagging; sourceName?: string; targetName?: string },
): Promise<Finding[]> {
  const servers = { source: await readServer(source), target: await readServer(target) };
  const captured = publishedTables(
    classifyTables(await readTables(source), options.tagging, servers.source.database),
  );
  return comparePair(servers, captured, await readTables(target), options.targetName ?? 'target');
}

export function comparePair(
  servers: { source: ServerInfo; target: ServerInfo },
  captured: readonly TableInfo[],
  targetTables: readonly TableInfo[],
  targetName: string,
): Finding[] {
  const findings = compareServers(servers.source, servers.target, targetName);
  const byName = new Map(targetTables.map((table) => [quoteTable(table.schema, table.name), table]));
  for (const table of captured) {
    const other = byName.get(quoteTable(table.schema, table.name));
    findings.push(
      ...(other === undefined ? [missingTable(table, targetName)] : compareTable(table, other, targetName)),
    );
  }
  if (!findings.some((f) => f.severity === 'error')) {
    findings.push(ok('pair', targetName, `holds all ${captured.length} captured tables`));
  }
  return sortFindings(findings);
}

function compareServers(source: ServerInfo, target: ServerInfo, targetName: string): Finding[] {
  const findings: Finding[] = [];
  const object = `cluster ${targetName}`;
  if (source.systemId === target.systemId && source.database === target.database) {
    findings.push(finding('error', 'same_system', object, 'source and target are the same database'));
  }
  if (source.majorVersion !== target.majorVersion) {
    findings.push(
      finding(
        'warning',
        'major_differs',
        object,
        `PostgreSQL ${target.version}, the source runs ${source.version}: check types and functions that changed between them`,
      ),
    );
  }
  if (source.encoding !== target.encoding) {
    findings.push(
      finding(
        'error',
        'encoding_differs',
        object,
        `encoding ${target.encoding}, the source has ${source.encoding}`,
      ),
    );
  }
  if (source.collation !== target.collation) {
    findings.push(
      finding(
        'warning',
        'collation_differs',
        object,
        `collation ${target.collation}, the source has ${source.collation}: ORDER BY changes with a switch-over`,
      ),
    );
  }
  return findings;
}

function missingTable(table: TableInfo, targetName: string): Finding {
  const schema = quoteTable(table.schema, table.name).replaceAll("'", "'\\''");
  return finding(
    'error',
    'table_missing',
    `table ${table.schema}.${table.name}`,
    `${targetName} lacks it; create it with: pg_dump --schema-only --no-publications -t '${schema}' <source> | psql <target>`,
  );
}

function compareTable(table: TableInfo, other: TableInfo, targetName: string): Finding[] {
  const object = `table ${table.schema}.${table.name}`;
  const name = quoteTable(table.schema, table.name);
  const findings: Finding[] = [];
  const add = (severity: Finding['severity'], code: string, message: string, statements: string[] = []) =>
    findings.push(finding(severity, code, object, message, statements));
  const theirs = new Map(other.columns.map((column) => [column.name, column]));
  for (const column of table.columns) {
    const their = theirs.get(column.name);
    if (their === undefined) {
      const notNull = column.notNull ? ' NOT NULL' : '';
      add(
        'error',
        'column_missing',
        `${targetName} lacks column "${column.name}"`,
        column.generated !== ''
          ? []
          : [`ALTER TABLE ${name} ADD COLUMN ${quoteIdent(column.name)} ${column.typeName}${notNull}`],
      );
      continue;
    }
    findings.push(...compareColumn(object, name, column, their, targetName));
  }
  for (const column of other.columns) {
    if (table.columns.some((c) => c.name === column.name)) continue;
    const needed = column.notNull && !column.hasDefault && column.identity === '' && column.generated === '';
    add(
      needed ? 'error' : 'warning',
      'column_extra',
      `${targetName} has a column "${column.name}" that the source lacks${needed ? '; it is NOT NULL without a default, so inserts fail' : ''}`,
      needed ? [`ALTER TABLE ${name} ALTER COLUMN ${quoteIdent(column.name)} DROP NOT NULL`] : [],
    );
  }
  if ((table.primaryKey ?? []).join('\0') !== (other.primaryKey ?? []).join('\0')) {
    add(
      'error',
      'primary_key_differs',
      `the primary key is (${other.primaryKey?.join(', ') ?? 'none'}) on ${targetName}, (${table.primaryKey?.join(', ') ?? 'none'}) on the source`,
    );
  }
  const sorted = (columns: readonly string[]) => [...columns].sort().join(', ');
  if (sorted(table.identityColumns) !== sorted(other.identityColumns)) {
    add(
      'warning',
      'identity_differs',
      `the replica identity is (${sorted(other.identityColumns)}) on ${targetName}, (${sorted(table.identityColumns)}) on the source; it matters once ${targetName} is the primary`,
    );
  }
  for (const trigger of other.triggers) {
    if (trigger.enabled !== 'A' && trigger.enabled !== 'R') continue;
    add(
      'warning',
      'trigger_fires_on_replica',
      `trigger "${trigger.name}" on ${targetName} fires for replicated changes, too: what it writes is written twice`,
      [`ALTER TABLE ${name} ENABLE TRIGGER ${quoteIdent(trigger.name)}`],
    );
  }
  const names = (t: TableInfo) => t.triggers.filter((g) => g.enabled !== 'D').map((g) => g.name);
  const differing = names(table).filter((g) => !names(other).includes(g));
  if (differing.length > 0) {
    add(
      'warning',
      'trigger_missing',
      `${targetName} lacks trigger ${differing.map((g) => `"${g}"`).join(', ')}; it matters once ${targetName} is the primary`,
    );
  }
  return findings;
}

function compareColumn(
  object: string,
  table: string,
  ours: ColumnInfo,
  theirs: ColumnInfo,
  targetName: string,
): Finding[] {
  const findings: Finding[] = [];
  const column = quoteIdent(ours.name);
  const alter = (what: string) => [`ALTER TABLE ${table} ALTER COLUMN ${column} ${what}`];
  if (ours.typeName !== theirs.typeName) {
    findings.push(
      finding(
        'error',
        'type_differs',
        object,
        `column ${column} is ${theirs.typeName} on ${targetName}, ${ours.typeName} on the source`,
        alter(`TYPE ${ours.typeName} USING ${column}::${ours.typeName}`),
      ),
    );
  }
  if (theirs.notNull && !ours.notNull) {
    findings.push(
      finding(
        'error',
        'not_null_differs',
        object,
        `column ${column} is NOT NULL on ${targetName} but not on the source`,
        alter('DROP NOT NULL'),
      ),
    );
  }
  if (ours.generated !== theirs.generated) {
    findings.push(
      finding(
        'error',
        'generated_differs',
        object,
        `column ${column} is ${theirs.generated === '' ? 'not generated' : 'generated'} on ${targetName}, ${ours.generated === '' ? 'not generated' : 'generated'} on the source`,
      ),
    );
  }
  if (ours.identity !== theirs.identity) {
    findings.push(
      finding(
        'warning',
        'identity_column_differs',
        object,
        `column ${column}: identity is "${theirs.identity}" on ${targetName}, "${ours.identity}" on the source; it matters once ${targetName} is the primary`,
      ),
    );
  }
  return findings;
}
