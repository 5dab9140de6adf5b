/** `[[transform]]` tables, with the environment filled in. What stands in them is for packages/transform to read. */
import { isTable } from './convert.ts';
import type { Faults } from './faults.ts';
import { expandEnv } from './values.ts';

type Table = Readonly<Record<string, unknown>>;

export function transformTables(value: unknown, env: NodeJS.ProcessEnv, faults: Faults): readonly Table[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) {
    faults.add('transform', 'must be a list of sections', '[[transform]]');
    return [];
  }
  return value.flatMap((entry: unknown, i) => {
    const path = `transform[${i}]`;
    const missing = (name: string) =>
      faults.add(path, `the environment variable ${name} is not set`, `export ${name}=…`);
    if (isTable(entry)) return [expandTable(entry, env, missing)];
    faults.add(path, 'must be a section', '[[transform]]');
    return [];
  });
}

function expandTable(table: Table, env: NodeJS.ProcessEnv, missing: (name: string) => void): Table {
  return Object.fromEntries(
    Object.entries(table).map(([key, value]) => [key, expandValue(value, env, missing)]),
  );
}

function expandValue(value: unknown, env: NodeJS.ProcessEnv, missing: (name: string) => void): unknown {
  if (typeof value === 'string') return expandEnv(value, env, missing);
  if (Array.isArray(value)) return value.map((item: unknown) => expandValue(item, env, missing));
  return isTable(value) ? expandTable(value, env, missing) : value;
}
