// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
/** The commented `drover.toml`, from the option table. What it writes reads back as the values it was given. */
import { OPTIONS, type Option, SECTIONS } from './options.ts';
import { formatDuration, formatSize } from './values.ts';

type Values = Readonly<Record<string, unknown>>;

/** Values to set, by key as in the file. Numbers of durations are milliseconds, of sizes bytes. `"${NAME}"` names the environment. */
export interface TemplateValues {
  readonly sections?: Readonly<Record<string, Values>>;
  readonly clusters?: readonly Values[];
  readonly tiers?: Readonly<Record<string, Values>>;
}

/** What `drover init` begins with. */
const START: readonly Values[] = [
  {
    name: 'east',
    host: 'db-east.internal',
    port: 5432,
    databases: ['app'],
    setup_password: '${PGPASSWORD_EAST}',
  },
  {
    name: 'west',
    host: 'db-west.internal',
    port: 5432,
    databases: ['app'],
    setup_password: '${PGPASSWORD_WEST}',
  },
];

/** What is given is set; the rest stands as a comment with its default. */
export function renderConfigTemplate(values: TemplateValues = {}): string {
  const out = [
    '# Configuration of Drover. What stands behind # is the default, or an example where there is none.',
    '# Texts may name environment variables: "${NAME}". Durations: ms, s, m, h, d. Sizes: B, KiB, MiB, GiB, TiB.',
    '',
  ];
  for (const [section, { kind, help }] of Object.entries(SECTIONS)) {
    out.push(`# ${help}`);
    switch (kind) {
      case 'once':
        out.push(`[${section}]`, ...lines(section, values.sections?.[section] ?? {}), '');
        break;
      case 'list':
        for (const entry of values.clusters ?? START)
          out.push(`[[${section}]]`, ...lines(section, entry), '');
        break;
      case 'named':
        for (const [name, entry] of Object.entries(values.tiers ?? {}))
          out.push(`[${section}.${name}]`, ...lines(section, entry), '');
        if (values.tiers === undefined) out.push(`# [${section}.gold]`, ...lines(section, {}), '');
        break;
    }
  }
  return out.join('\n');
}

function lines(section: string, values: Values): string[] {
  return OPTIONS.filter((o) => o.section === section).flatMap((option) => {
    const value = values[option.key];
    const comment = `# ${option.help}`;
    if (value !== undefined) return [comment, `${option.key} = ${written(option, value)}`];
    if (option.fallback === undefined) return [comment, `${option.key} = ${option.example}`];
    return [
      comment,
      `# ${option.key} = ${option.fallback === null ? option.example : written(option, option.fallback)}`,
    ];
  });
}

/** A value as it stands in the file. */
export function written(option: Option, value: unknown): string {
  if (option.type === 'duration' && typeof value === 'number') return toml(formatDuration(value));
  if (option.type === 'size' && typeof value === 'number') return toml(formatSize(value));
  return toml(value);
}

function toml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toml).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value).map(([key, item]) => `${toml(key)} = ${toml(item)}`);
    return entries.length === 0 ? '{}' : `{ ${entries.join(', ')} }`;
  }
  // A basic string is a JSON string in which DEL must be escaped too (TOML 1.0, String).
  return typeof value === 'string' ? JSON.stringify(value).replaceAll('\x7f', '\\u007f') : String(value);
}
