/** Ways around the policies that the data model leaves open (proxied tenants are the audience). Warnings: they may be meant. Pure. */
import type { DefinerFunction, ForeignKeyInfo, TableRights, ViewInfo } from '../catalog/read-exposure.ts';
import { quoteIdent, quoteTable } from '../quote.ts';
import type { ClassifiedTable } from '../setup/captured.ts';
import { type Finding, finding } from './finding.ts';

/** OID to its table, for tables whose rows belong to tenants. */
export function tenantTables(classified: readonly ClassifiedTable[]): Map<number, ClassifiedTable> {
  return new Map(
    classified
      .filter((c) => c.class.kind === 'column' || c.class.kind === 'schema')
      .map((c) => [c.table.oid, c]),
  );
}

const columnOf = (c: ClassifiedTable): string | null => (c.class.kind === 'column' ? c.class.column : null);

/** A foreign key without the tenant column tells whether another tenant's row exists, and may reach into another tenant's rows. */
export function checkForeignKeys(
  keys: readonly ForeignKeyInfo[],
  tables: Map<number, ClassifiedTable>,
): Finding[] {
  const findings: Finding[] = [];
  for (const key of keys) {
    const from = tables.get(key.tableOid);
    const to = tables.get(key.referencedOid);
    if (from === undefined || to === undefined) continue;
    const fromColumn = columnOf(from);
    const toColumn = columnOf(to);
    if (fromColumn === null || toColumn === null) continue;
    const pairs = key.columns.map((column, i) => [column, key.referencedColumns[i]]);
    if (pairs.some(([column, referenced]) => column === fromColumn && referenced === toColumn)) continue;
    const cascades = 'cnd'.includes(key.onDelete) ? ', and deleting a row reaches rows of other tenants' : '';
    findings.push(
      finding(
        'warning',
        'foreign_key_without_tenant',
        `constraint ${key.schema}.${key.table}.${key.name}`,
        `(${key.columns.join(', ')}) references ${key.referencedSchema}.${key.referencedTable} without the tenant column: a tenant can find out which rows others have${cascades}`,
        compositeKey(key, fromColumn, toColumn),
      ),
    );
  }
  return findings;
}

function compositeKey(key: ForeignKeyInfo, fromColumn: string, toColumn: string): string[] {
  const table = quoteTable(key.schema, key.table);
  const referenced = quoteTable(key.referencedSchema, key.referencedTable);
  const action = {
    c: ' ON DELETE CASCADE',
    n: ' ON DELETE SET NULL',
    d: ' ON DELETE SET DEFAULT',
    r: ' ON DELETE RESTRICT',
  }[key.onDelete];
  const from = [fromColumn, ...key.columns].map(quoteIdent).join(', ');
  const to = [toColumn, ...key.referencedColumns].map(quoteIdent).join(', ');
  // SET NULL and SET DEFAULT must leave the tenant column alone (15+).
  const only = 'nd'.includes(key.onDelete) ? ` (${key.columns.map(quoteIdent).join(', ')})` : '';
  return [
    `CREATE UNIQUE INDEX ON ${referenced} (${to})`,
    `ALTER TABLE ${table} DROP CONSTRAINT ${quoteIdent(key.name)}, ADD CONSTRAINT ${quoteIdent(key.name)} FOREIGN KEY (${from}) REFERENCES ${referenced} (${to})${action ?? ''}${only}`,
  ];
}

export function checkDefinerFunctions(functions: readonly DefinerFunction[]): Finding[] {
  return functions.map((f) =>
    finding(
      'warning',
      'security_definer',
      `function ${f.signature}`,
      `it runs with the rights of ${f.owner}, past the policies of tenants, and tenants may call it`,
      [`REVOKE EXECUTE ON FUNCTION ${f.signature} FROM PUBLIC, drover_tenant`],
    ),
  );
}

export function checkViews(views: readonly ViewInfo[], tables: Map<number, ClassifiedTable>): Finding[] {
  return views
    .filter(
      (view) => view.tables.some((oid) => tables.has(oid)) && (view.materialized || !view.securityInvoker),
    )
    .map((view) => {
      const name = quoteTable(view.schema, view.name);
      if (view.materialized) {
        return finding(
          'warning',
          'materialized_view',
          `materialized view ${view.schema}.${view.name}`,
          'it holds rows of all tenants and cannot have policies; it must not be readable by drover_tenant, and it is not replicated',
          [`REVOKE ALL ON ${name} FROM PUBLIC, drover_tenant`],
        );
      }
      return finding(
        'warning',
        'view_of_owner',
        `view ${view.schema}.${view.name}`,
        `it reads tenants' rows with the rights of ${view.owner}, past the policies`,
        [`ALTER VIEW ${name} SET (security_invoker = true)`],
      );
    });
}

/** Rights of others than Drover's roles. */
export function checkRights(rights: readonly TableRights[], tables: Map<number, ClassifiedTable>): Finding[] {
  const findings: Finding[] = [];
  const writers = new Set<string>();
  const bound = new Set<string>();
  for (const each of rights) {
    const c = tables.get(each.oid);
    if (c === undefined) continue;
    for (const role of each.writers) writers.add(role);
    for (const role of each.boundWriters) bound.add(role);
    const beyond = each.publicRights.filter((right) =>
      ['TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN'].includes(right),
    );
    if (beyond.length === 0) continue;
    findings.push(
      finding(
        'warning',
        'public_rights',
        `table ${c.table.schema}.${c.table.name}`,
        `PUBLIC has ${beyond.join(', ')}: no policy limits these to a tenant`,
        [`REVOKE ${beyond.join(', ')} ON ${quoteTable(c.table.schema, c.table.name)} FROM PUBLIC`],
      ),
    );
  }
  for (const role of [...writers].sort()) {
    findings.push(
      finding(
        'warning',
        'direct_writer',
        `role ${role}`,
        `it may write tenants' rows past the write fence: after a switch-over nothing stops it from writing to the cluster that is no longer the tenant's primary. Let it connect through the proxy${bound.has(role) ? '; and COPY FROM is refused to it on protected tables (unless it has BYPASSRLS)' : ''}`,
      ),
    );
  }
  return findings;
}
