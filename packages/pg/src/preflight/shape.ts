/** Tables as such: is it known whose rows they hold, can the tenant be read, is it in the WAL, do keys stay apart. Pure. */
import type { UniqueIndexInfo } from '../catalog/table-info.ts';
import { type ClassifiedTable, isCaptured, tagOf } from '../setup/captured.ts';
import { tenantColumnKind } from '../setup/protect-plan.ts';
import { type Finding, finding } from './finding.ts';

export function checkShape(c: ClassifiedTable): Finding[] {
  const { table } = c;
  const full = `${table.schema}.${table.name}`;
  const object = `table ${full}`;
  if (c.class.kind === 'unclassified') {
    if (c.isPartition) return [];
    return [
      finding(
        'error',
        'unclassified_table',
        object,
        `${c.class.why}; add the tenant column, or list "${full}" in tagging.reference, tagging.exclude or tagging.overrides`,
      ),
    ];
  }
  if (!isCaptured(c)) return [];
  const findings: Finding[] = [];
  if (table.persistence === 'unlogged') {
    findings.push(
      finding(
        'error',
        'unlogged_table',
        object,
        'an unlogged table is not in the WAL and cannot be replicated; exclude it, or',
        [`ALTER TABLE ${quoted(c)} SET LOGGED`],
      ),
    );
  }
  const tag = tagOf(c);
  if (tag !== null && 'column' in tag && tenantColumnKind(tag.type) === null) {
    findings.push(
      finding(
        'error',
        'tenant_column_type',
        object,
        `column "${tag.column}" is of type ${tag.type}; a tenant column is text, varchar, smallint, integer, bigint or uuid`,
      ),
    );
  }
  if (tag !== null && 'column' in tag && !c.isPartition) findings.push(...globalKeys(c, tag.column));
  return findings;
}

/** A key unique over all tenants tells one tenant which keys others use, and collides when tenants come from several clusters. */
function globalKeys(c: ClassifiedTable, column: string): Finding[] {
  const leads = (index: UniqueIndexInfo) => index.columns[0] === column;
  return c.table.uniqueIndexes
    .filter((index) => !index.columns.includes(column))
    .map((index) =>
      finding(
        'warning',
        'global_key',
        `index ${c.table.schema}.${index.name}`,
        `unique over all tenants (${index.columns.map((name) => name ?? 'expression').join(', ')}): a tenant can find out which keys others use, and rows of tenants from different clusters may collide; lead it with "${column}", or use values that never repeat (uuid, one sequence range a cluster)`,
      ),
    )
    .concat(
      c.table.uniqueIndexes
        .filter(
          (index) =>
            index.columns.includes(column) && !leads(index) && index.name.endsWith('_identity') === false,
        )
        .filter((index) => index.columns.length > 1)
        .map((index) =>
          finding(
            'warning',
            'key_order',
            `index ${c.table.schema}.${index.name}`,
            `the tenant column "${column}" is not its first column: reading one tenant's rows by it scans those of others`,
          ),
        ),
    );
}

function quoted(c: ClassifiedTable): string {
  return `"${c.table.schema.replaceAll('"', '""')}"."${c.table.name.replaceAll('"', '""')}"`;
}
