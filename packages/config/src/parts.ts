/** A configuration in memory: defaults, and what is given. For tests and for `drover up`. */
import { configFromTable, type Table } from './parse.ts';
import type { Config } from './types.ts';

/** Sections as they stand in the file: keys in snake case, durations and sizes as texts or numbers. */
export interface ConfigParts {
  /** Default: `east` and `west` on this machine, ports 5433 and 5434, database `app`. */
  readonly clusters?: readonly Table[];
  readonly sections?: Readonly<Record<string, Table>>;
  readonly transform?: readonly Table[];
  readonly env?: NodeJS.ProcessEnv;
}

const CLUSTERS: readonly Table[] = [
  { name: 'east', host: '127.0.0.1', port: 5433, databases: ['app'] },
  { name: 'west', host: '127.0.0.1', port: 5434, databases: ['app'] },
];

/** Not a secret: it stands here. */
const SECRET = 'for-tests-and-nothing-else-0123456789';

/** @throws DroverError `config.invalid` like a file would. */
export function configFromParts(parts: ConfigParts = {}): Config {
  const security = { secret: SECRET, ...parts.sections?.['security'] };
  return configFromTable(
    { ...parts.sections, security, clusters: parts.clusters ?? CLUSTERS, transform: parts.transform ?? [] },
    undefined,
    parts.env ?? {},
  );
}
