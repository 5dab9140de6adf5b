/** The commented `drover.toml` and the reference page, both from the option table. */
import { OPTIONS, type Option, SECTIONS } from './options.ts';
import { formatDuration, formatSize } from './values.ts';

/** Values to set, by section and key; `clusters` is a list of them. */
export interface TemplateValues {
  readonly sections?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  readonly clusters?: readonly Readonly<Record<string, unknown>>[];
}

/** What is given is set; the rest stands as a comment with its default. */
export function renderConfigTemplate(values: TemplateValues = {}): string {
  const out = ['# Drover. Values may name environment variables: "${NAME}".', ''];
  for (const [section, help] of Object.entries(SECTIONS)) {
    const options = OPTIONS.filter((o) => o.section === section);
    if (section === 'clusters') {
      const clusters = values.clusters ?? [{ name: 'east', host: '127.0.0.1', databases: ['app'] }];
      for (const cluster of clusters)
        out.push(`# ${help}`, '[[clusters]]', ...options.flatMap((o) => line(o, cluster[o.key])), '');
    } else {
      out.push(
        `# ${help}`,
        `[${section}]`,
        ...options.flatMap((o) => line(o, values.sections?.[section]?.[o.key])),
        '',
      );
    }
  }
  out.push(
    '# Qualities of service. [tiers.standard] exists by itself.',
    '# [tiers.gold]',
    '# weight = 4',
    '# replicas = 1',
    '',
  );
  return out.join('\n');
}

function line(option: Option, value: unknown): string[] {
  const comment = `# ${option.help}`;
  if (value !== undefined) return [comment, `${option.key} = ${toml(value)}`];
  if (option.fallback === undefined) return [comment, `${option.key} = ${option.example}`];
  return [comment, `# ${option.key} = ${option.fallback === null ? option.example : shownDefault(option)}`];
}

export function shownDefault(option: Option): string {
  if (option.fallback === undefined) return 'required';
  if (option.fallback === null) return 'none';
  if (option.type === 'duration') return toml(formatDuration(Number(option.fallback)));
  if (option.type === 'size') return toml(formatSize(Number(option.fallback)));
  return toml(option.fallback);
}

function toml(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(toml).join(', ')}]`;
  if (typeof value === 'object' && value !== null) {
    return `{ ${Object.entries(value)
      .map(([k, v]) => `${JSON.stringify(k)} = ${toml(v)}`)
      .join(', ')} }`;
  }
  return JSON.stringify(value);
}

/** docs/reference/config.md */
export function renderConfigReference(): string {
  const out = [
    '# Configuration',
    '',
    'Made from the option table in `packages/config/src/options.ts` by `npm run docs`.',
    '',
  ];
  for (const [section, help] of Object.entries(SECTIONS)) {
    out.push(
      `## ${section === 'clusters' ? '[[clusters]]' : `[${section}]`}`,
      '',
      help,
      '',
      '| key | default | meaning |',
      '|---|---|---|',
    );
    for (const o of OPTIONS.filter((x) => x.section === section)) {
      out.push(
        `| \`${o.key}\` | \`${shownDefault(o)}\` | ${o.help} For example \`${o.key} = ${o.example}\`. |`,
      );
    }
    out.push('');
  }
  return out.join('\n');
}
