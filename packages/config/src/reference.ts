/** docs/reference/config.md and the text of `drover help config`, from the option table. */
import { bounds } from './convert.ts';
import { OPTIONS, type Option, SECTIONS, type Section } from './options.ts';
import { written } from './template.ts';

const INTRODUCTION = `# Configuration

\`drover.toml\`, in the working folder or named with \`--config\`. \`drover init\` writes a commented one. Every mistake in it is told at once, each
with its key, what is wrong, and an example.

Texts may name environment variables: \`"\${NAME}"\`; \`$\${\` stands for \`\${\` itself. Durations are written \`"500ms"\`, \`"3s"\`, \`"2m"\`, \`"1h"\`, \`"7d"\`,
sizes \`"512B"\`, \`"64KiB"\`, \`"4MiB"\`, \`"8GiB"\`. Secrets are never printed.

This page is made from the option table (\`packages/config/src/options.ts\`) by \`node packages/config/src/write-reference.ts\`.
`;

export function renderConfigReference(): string {
  const out = [INTRODUCTION];
  for (const [section, about] of Object.entries(SECTIONS)) {
    out.push(
      `## ${heading(section, about)}`,
      '',
      about.help,
      '',
      '| key | type | default | meaning |',
      '|---|---|---|---|',
    );
    for (const option of optionsOf(section)) {
      const { key, help, example } = option;
      out.push(
        `| \`${key}\` | ${typeOf(option)} | ${defaultOf(option)} | ${cell(help)} Example: \`${cell(`${key} = ${example}`)}\` |`,
      );
    }
    out.push('');
  }
  out.push('## [[transform]]', '', TRANSFORM, '');
  return out.join('\n');
}

const TRANSFORM =
  'Rules for what replicas get: `tables`, `tenants`, `tier`, `target`, `stage`, `where`, `actions`. See [transforms](../transforms.md).';

/** For a terminal; `section` narrows it. Undefined when there is no such section. */
export function renderConfigHelp(section?: string): string | undefined {
  const chosen = Object.entries(SECTIONS).filter(([name]) => section === undefined || name === section);
  if (chosen.length === 0) return undefined;
  const out: string[] = [];
  for (const [name, about] of chosen) {
    out.push(`${heading(name, about)}  ${about.help}`, '');
    for (const option of optionsOf(name)) {
      out.push(
        `  ${option.key} = ${option.example}`,
        `      ${option.help} (${typeOf(option)}, default: ${defaultOf(option).replaceAll('`', '')})`,
      );
    }
    out.push('');
  }
  return out.join('\n');
}

function optionsOf(section: string): readonly Option[] {
  return OPTIONS.filter((option) => option.section === section);
}

function heading(name: string, { kind }: Section): string {
  return kind === 'once' ? `[${name}]` : kind === 'list' ? `[[${name}]]` : `[${name}.<name>]`;
}

function typeOf(option: Option): string {
  const limits = bounds(option);
  const type =
    option.type === 'choice' ? (option.choices ?? []).map((c) => `\`${c}\``).join(', ') : option.type;
  return limits === '' ? type : `${type}, ${limits}`;
}

function defaultOf(option: Option): string {
  if (option.fallback === undefined) return 'required';
  if (option.fallback === null) return 'none';
  return `\`${written(option, option.fallback)}\``;
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
