/** From TOML text to a Config: every mistake is found, named with file, key and an example, and reported together. */
import { clusterId, DroverError, describeError } from '@drover/core';
import { parse as parseToml } from 'smol-toml';
import { OPTIONS, type Option, SECTIONS } from './options.ts';
import type { ClusterConfig, Config } from './types.ts';
import { expandEnv, nearest, parseDuration, parseSize } from './values.ts';

type Table = Record<string, unknown>;

/** @throws DroverError `config.invalid` with one line for each mistake. */
export function parseConfig(
  text: string,
  file: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Config {
  let raw: Table;
  try {
    raw = parseToml(text) as Table;
  } catch (error) {
    throw new DroverError(
      'config.invalid',
      `${file ?? 'drover.toml'}: not valid TOML: ${describeError(error).split('\n')[0]}`,
      {
        hint: '`drover init` writes a commented example',
      },
    );
  }
  return configFromTable(raw, file, env);
}

export function configFromTable(
  raw: Table,
  file: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Config {
  const faults: string[] = [];
  const name = file ?? 'drover.toml';
  const fault = (key: string, wrong: string, example: string) =>
    faults.push(`${name}: ${key}: ${wrong}; for example ${example}`);

  for (const key of Object.keys(raw)) {
    if (key in SECTIONS || key === 'tiers') continue;
    const near = nearest(key, [...Object.keys(SECTIONS), 'tiers']);
    fault(`[${key}]`, `unknown section${near === undefined ? '' : `, did you mean [${near}]?`}`, '[nats]');
  }
  const sections: Record<string, Table> = {};
  for (const section of Object.keys(SECTIONS)) {
    if (section === 'clusters') continue;
    const value = raw[section] ?? {};
    if (!isTable(value)) fault(section, 'must be a section', `[${section}]`);
    sections[section] = parseSection(section, isTable(value) ? value : {}, section, env, fault);
  }
  const clusters = parseClusters(raw['clusters'], env, fault);
  const tiers = parseTiers(raw['tiers'], fault);
  const secret = sections['security']?.['secret'];
  if (typeof secret === 'string' && secret.length < 32) {
    fault(
      'security.secret',
      `is ${secret.length} characters, at least 32 are needed`,
      'secret = "${DROVER_SECRET}" and a value from `openssl rand -base64 32`',
    );
  }
  const proxy = sections['proxy'] ?? {};
  if ((proxy['certFile'] === undefined) !== (proxy['keyFile'] === undefined)) {
    fault('proxy.cert_file', 'cert_file and key_file go together', 'cert_file = "/etc/drover/tls.crt"');
  }
  if (faults.length > 0) {
    throw new DroverError('config.invalid', faults.join('\n'), {
      hint: '`drover init` writes a commented example',
      facts: { faults },
    });
  }
  return { file, clusters, tiers, ...sections } as unknown as Config; // every field was checked against the option table
}

type Fault = (key: string, wrong: string, example: string) => void;

function parseClusters(value: unknown, env: NodeJS.ProcessEnv, fault: Fault): ClusterConfig[] {
  const example = '[[clusters]]\\n  name = "east"';
  if (!Array.isArray(value) || value.length === 0) {
    fault('clusters', 'at least one cluster is needed', example);
    return [];
  }
  const names = new Set<string>();
  return value.map((entry: unknown, i) => {
    const path = `clusters[${i}]`;
    if (!isTable(entry)) fault(path, 'must be a section', example);
    const parsed = parseSection('clusters', isTable(entry) ? entry : {}, path, env, fault);
    const name = parsed['name'];
    if (typeof name === 'string') {
      try {
        clusterId(name);
      } catch (error) {
        fault(`${path}.name`, describeError(error), 'name = "east"');
      }
      if (names.has(name))
        fault(`${path}.name`, `"${name}" stands twice`, 'a name of its own for each cluster');
      names.add(name);
    }
    if (Array.isArray(parsed['databases']) && parsed['databases'].length === 0) {
      fault(`${path}.databases`, 'is empty', 'databases = ["app"]');
    }
    return parsed as unknown as ClusterConfig; // checked against the option table
  });
}

function parseTiers(value: unknown, fault: Fault): Config['tiers'] {
  const tiers: Record<string, { weight: number; replicas: number }> = {
    standard: { weight: 1, replicas: 1 },
  };
  if (value === undefined) return tiers;
  if (!isTable(value)) {
    fault('tiers', 'must be sections', '[tiers.gold]\\n  weight = 4');
    return tiers;
  }
  for (const [tier, entry] of Object.entries(value)) {
    const table = isTable(entry) ? entry : {};
    for (const key of Object.keys(table)) {
      if (key !== 'weight' && key !== 'replicas') fault(`tiers.${tier}.${key}`, 'unknown key', 'weight = 4');
    }
    const weight = table['weight'] ?? 1;
    const replicas = table['replicas'] ?? 1;
    if (!Number.isInteger(weight) || Number(weight) < 1)
      fault(`tiers.${tier}.weight`, 'must be a whole number from 1', 'weight = 4');
    if (!Number.isInteger(replicas) || Number(replicas) < 0)
      fault(`tiers.${tier}.replicas`, 'must be a whole number from 0', 'replicas = 1');
    tiers[tier] = { weight: Number(weight), replicas: Number(replicas) };
  }
  return tiers;
}

function parseSection(
  section: string,
  table: Table,
  path: string,
  env: NodeJS.ProcessEnv,
  fault: Fault,
): Table {
  const options = OPTIONS.filter((o) => o.section === section);
  const out: Table = {};
  for (const key of Object.keys(table)) {
    if (options.some((o) => o.key === key)) continue;
    const near = nearest(
      key,
      options.map((o) => o.key),
    );
    fault(
      `${path}.${key}`,
      `unknown key${near === undefined ? '' : `, did you mean ${near}?`}`,
      exampleOf(options.find((o) => o.key === near) ?? options[0]),
    );
  }
  for (const option of options) {
    const key = `${path}.${option.key}`;
    const given = table[option.key];
    if (given === undefined) {
      if (option.fallback === undefined) fault(key, 'is missing', exampleOf(option));
      out[option.field] = option.fallback === null ? undefined : option.fallback;
      continue;
    }
    const before = { missing: false };
    const value = convert(option, given, (text) =>
      expandEnv(text, env, (variable) => {
        before.missing = true;
        fault(key, `the environment variable ${variable} is not set`, `export ${variable}=…`);
      }),
    );
    if (before.missing) continue;
    const shown = option.type === 'secret' ? '***' : JSON.stringify(given);
    if (value === undefined)
      fault(
        key,
        `${shown} is not ${WHAT[option.type]}${option.choices === undefined ? '' : ` (${option.choices.join(', ')})`}`,
        exampleOf(option),
      );
    else if (
      typeof value === 'number' &&
      (value < (option.min ?? -Infinity) || value > (option.max ?? Infinity))
    ) {
      fault(key, `${shown} is out of bounds (${option.min ?? ''} to ${option.max ?? ''})`, exampleOf(option));
    }
    out[option.field] = value;
  }
  return out;
}

const WHAT: Readonly<Record<Option['type'], string>> = {
  text: 'a text',
  secret: 'a text',
  integer: 'a whole number',
  boolean: 'true or false',
  duration: 'a duration',
  size: 'a size',
  list: 'a list of texts',
  map: 'a map of texts',
  choice: 'one of the choices',
};

function exampleOf(option: Option | undefined): string {
  return option === undefined ? '' : `${option.key} = ${option.example}`;
}

/** The value in its parsed form, or undefined when it is not of the option's type. */
function convert(option: Option, value: unknown, expand: (text: string) => string): unknown {
  const given = typeof value === 'string' ? expand(value) : value;
  switch (option.type) {
    case 'text':
    case 'secret':
      return typeof given === 'string' ? given : undefined;
    case 'choice':
      return typeof given === 'string' && option.choices?.includes(given) ? given : undefined;
    case 'integer': {
      const n = typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : given;
      return Number.isInteger(n) ? n : undefined;
    }
    case 'boolean':
      return typeof given === 'boolean' ? given : undefined;
    case 'duration':
      return parseDuration(given);
    case 'size':
      return parseSize(given);
    case 'list':
      return Array.isArray(given) && given.every((v) => typeof v === 'string')
        ? given.map(expand)
        : undefined;
    case 'map':
      return isTable(given) && Object.values(given).every((v) => typeof v === 'string') ? given : undefined;
  }
}

function isTable(value: unknown): value is Table {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
