/**
 * From TOML text to a Config. Every mistake is found and named with file, key and an example; all are reported together. What comes
 * out has every field of the option table, within its bounds, and holds together (`check.ts`).
 */
import { DroverError, describeError } from '@drover/core';
import { parse as parseToml } from 'smol-toml';
import { checkWhole } from './check.ts';
import { convert, isTable } from './convert.ts';
import { Faults } from './faults.ts';
import { OPTIONS, type Option, SECTIONS } from './options.ts';
import { hideSecrets } from './redact.ts';
import { transformTables } from './transform-tables.ts';
import type { Config } from './types.ts';
import { expandEnv, nearest } from './values.ts';

export type Table = Readonly<Record<string, unknown>>;

/** Names of tiers, which are keys of sections. */
const ENTRY_NAME = /^[a-z][a-z0-9_-]{0,30}$/;

/** @throws DroverError `config.invalid` with one line for each mistake. */
export function parseConfig(text: string, file: string, env: NodeJS.ProcessEnv = process.env): Config {
  let raw: Table;
  try {
    raw = parseToml(text);
  } catch (error) {
    // Behind the first line smol-toml shows the place in the text, which may hold a secret.
    const [what = ''] = describeError(error).split('\n');
    const { line, column } = error as { line?: number; column?: number };
    const at = line === undefined ? '' : `:${line}:${column ?? 1}`;
    throw new DroverError(
      'config.invalid',
      `${file}${at}: not valid TOML: ${what.replace(/^Invalid TOML document: /, '')}`,
      {
        hint: '`drover init` writes a commented example',
      },
    );
  }
  return configFromTable(raw, file, env);
}

/** `file` undefined: built in memory. @throws DroverError `config.invalid` */
export function configFromTable(
  raw: Table,
  file: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Config {
  const faults = new Faults(file ?? 'configuration');
  const reader = new Reader(env, faults);
  const { transform, ...rest } = raw;
  unknownKeys(Object.keys(rest), Object.keys(SECTIONS), (key, near) =>
    faults.add(
      `[${key}]`,
      `unknown section${near === undefined ? '' : `, did you mean [${near}]?`}`,
      `[${near ?? 'nats'}]`,
    ),
  );
  const sections: Record<string, unknown> = {};
  for (const [name, { kind }] of Object.entries(SECTIONS)) {
    sections[name] =
      kind === 'once'
        ? reader.once(name, raw[name])
        : kind === 'list'
          ? reader.list(name, raw[name])
          : reader.named(name, raw[name]);
  }
  sections['transform'] = transformTables(transform, env, faults);
  checkWhole(sections, faults);
  faults.throwIfAny();
  // Every field is there and of its type: the option table says so, and a test that it says what types.ts says.
  return hideSecrets({ file, ...sections } as unknown as Config);
}

class Reader {
  readonly #env: NodeJS.ProcessEnv;
  readonly #faults: Faults;

  constructor(env: NodeJS.ProcessEnv, faults: Faults) {
    this.#env = env;
    this.#faults = faults;
  }

  /** `[name]`; absent: all defaults. */
  once(name: string, value: unknown): Table {
    if (value !== undefined && !isTable(value)) this.#faults.add(name, 'must be a section', `[${name}]`);
    return this.#options(name, isTable(value) ? value : {}, name);
  }

  /** `[[name]]` */
  list(name: string, value: unknown): readonly Table[] {
    if (value !== undefined && !Array.isArray(value)) {
      this.#faults.add(name, 'must be a list of sections', `[[${name}]]`);
      return [];
    }
    return (value ?? []).map((entry: unknown, i) => {
      const path = `${name}[${i}]`;
      if (!isTable(entry)) this.#faults.add(path, 'must be a section', `[[${name}]]`);
      return this.#options(name, isTable(entry) ? entry : {}, path);
    });
  }

  /** `[name.<entry>]` */
  named(name: string, value: unknown): Readonly<Record<string, Table>> {
    const out: Record<string, Table> = { standard: this.#options(name, {}, `${name}.standard`) };
    if (value !== undefined && !isTable(value))
      this.#faults.add(name, 'must be sections by name', `[${name}.gold]`);
    for (const [entry, table] of Object.entries(isTable(value) ? value : {})) {
      const path = `${name}.${entry}`;
      if (!ENTRY_NAME.test(entry))
        this.#faults.add(
          path,
          'is not a name: a lower-case letter, then a-z, 0-9, _ and -',
          `[${name}.gold]`,
        );
      if (!isTable(table)) this.#faults.add(path, 'must be a section', `[${name}.gold]`);
      out[entry] = this.#options(name, isTable(table) ? table : {}, path);
    }
    return out;
  }

  #options(section: string, table: Table, path: string): Table {
    const options = OPTIONS.filter((o) => o.section === section);
    unknownKeys(
      Object.keys(table),
      options.map((o) => o.key),
      (key, near) => {
        const known = options.find((o) => o.key === near) ?? options[0];
        this.#faults.add(
          `${path}.${key}`,
          `unknown key${near === undefined ? '' : `, did you mean ${near}?`}`,
          exampleOf(known),
        );
      },
    );
    return Object.fromEntries(
      options.map((option) => [
        option.field,
        this.#value(option, table[option.key], `${path}.${option.key}`),
      ]),
    );
  }

  /** Undefined after a fault. */
  #value(option: Option, given: unknown, key: string): unknown {
    if (given === undefined) {
      if (option.fallback === undefined) this.#faults.add(key, 'is missing', exampleOf(option));
      return option.fallback ?? undefined;
    }
    const missing = new Set<string>();
    const converted = convert(option, given, (text) =>
      expandEnv(text, this.#env, (name) => missing.add(name)),
    );
    for (const name of missing)
      this.#faults.add(key, `the environment variable ${name} is not set`, `export ${name}=…`);
    if (missing.size > 0) return undefined;
    if (converted.ok) return converted.value;
    this.#faults.add(key, converted.wrong, exampleOf(option));
    return undefined;
  }
}

function unknownKeys(
  keys: readonly string[],
  known: readonly string[],
  tell: (key: string, near: string | undefined) => void,
): void {
  for (const key of keys) if (!known.includes(key)) tell(key, nearest(key, known));
}

function exampleOf(option: Option | undefined): string {
  return option === undefined ? '' : `${option.key} = ${option.example}`;
}
