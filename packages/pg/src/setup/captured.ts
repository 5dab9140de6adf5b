/** Which tables are captured and how their rows name their tenant: the configuration's word on the catalog's tables. Pure. */
import type { TableInfo } from '../catalog/table-info.ts';
import { classifyTable, type TableClass, type Tagging } from '../tagging.ts';
import type { TableUse } from './grants.ts';
import { type TenantTag, tenantColumnKind } from './protect-plan.ts';

export interface ClassifiedTable {
  readonly table: TableInfo;
  /** Partitions are what their root is. */
  readonly class: TableClass;
  readonly isPartition: boolean;
}

/** Sorted so that partitions come before their parents. */
export function classifyTables(
  tables: readonly TableInfo[],
  tagging: Tagging,
  database: string,
): ClassifiedTable[] {
  const byOid = new Map(tables.map((table) => [table.oid, table]));
  const depth = (table: TableInfo): number => {
    const parent = table.partitionOf === null ? undefined : byOid.get(table.partitionOf);
    return parent === undefined ? 0 : 1 + depth(parent);
  };
  const rootOf = (table: TableInfo): TableInfo => {
    const parent = table.partitionOf === null ? undefined : byOid.get(table.partitionOf);
    return parent === undefined ? table : rootOf(parent);
  };
  return tables
    .map((table) => {
      const root = rootOf(table);
      const columns = root.columns.map((column) => column.name);
      return {
        table,
        class: classifyTable(tagging, { schema: root.schema, name: root.name, columns, database }),
        isPartition: table.partitionOf !== null,
      };
    })
    .sort((a, b) => depth(b.table) - depth(a.table));
}

/** Tables that the publication names: captured, stored in WAL, and no partitions. */
export function publishedTables(classified: readonly ClassifiedTable[]): TableInfo[] {
  return classified
    .filter((c) => isCaptured(c) && !c.isPartition && c.table.persistence === 'permanent')
    .map((c) => c.table);
}

export function isCaptured(c: ClassifiedTable): boolean {
  return c.class.kind === 'column' || c.class.kind === 'schema' || c.class.kind === 'reference';
}

/** How row-level security recognises the tenant; null where rows have none. */
export function tagOf(c: ClassifiedTable): TenantTag | null {
  if (c.class.kind === 'schema') return { tenant: c.class.tenant };
  if (c.class.kind !== 'column') return null;
  const name = c.class.column;
  const column = c.table.columns.find((candidate) => candidate.name === name);
  return column === undefined ? null : { column: name, type: column.typeName };
}

/** Its policies are made for it; those of a partition are made with its root's. */
export function isProtectable(c: ClassifiedTable): boolean {
  const tag = tagOf(c);
  return tag !== null && !c.isPartition && !('column' in tag && tenantColumnKind(tag.type) === null);
}

export function useOf(c: ClassifiedTable): TableUse {
  if (c.class.kind === 'reference' && !c.isPartition) return 'reference';
  return isProtectable(c) ? 'tenant' : 'hidden';
}
