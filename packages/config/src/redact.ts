/** Secrets do not show when a configuration is printed: as JSON, in a log or with console.log they read `***`. */
import { inspect } from 'node:util';
import { isTable } from './convert.ts';
import { OPTIONS } from './options.ts';
import type { Config } from './types.ts';

const HIDDEN = '***';

const SECRET_FIELDS: ReadonlySet<string> = new Set(
  OPTIONS.filter((o) => o.type === 'secret').map((o) => `${o.section}.${o.field}`),
);

/** The same configuration; its secrets can be read, but not by accident. A spread copy of a section loses the protection. */
export function hideSecrets(config: Config): Config {
  for (const [section, value] of Object.entries(config)) {
    for (const table of Array.isArray(value) ? value : [value]) {
      if (!isTable(table) || !Object.keys(table).some((name) => SECRET_FIELDS.has(`${section}.${name}`)))
        continue;
      const redacted = () => redactTable(section, table);
      Object.defineProperties(table, {
        toJSON: { value: redacted, enumerable: false },
        [inspect.custom]: { value: redacted, enumerable: false },
      });
    }
  }
  return config;
}

/** A copy for people: no secret in it. */
export function redacted(config: Config): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(config).map(([section, value]) => [
      section,
      Array.isArray(value)
        ? value.map((entry) => redactTable(section, entry))
        : isTable(value)
          ? redactTable(section, value)
          : value,
    ]),
  );
}

function redactTable(
  section: string,
  table: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(table).map(([name, value]) => [
      name,
      SECRET_FIELDS.has(`${section}.${name}`) && value !== undefined && value !== '' ? HIDDEN : value,
    ]),
  );
}
