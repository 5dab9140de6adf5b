/**
 * Reading apt's source lists: which archives this machine is set up to use. Pure. Both formats of sources.list(5).
 */

/** One archive: what may be asked of it, and how its signature is checked. */
export interface AptSource {
  readonly uri: string;
  readonly suites: readonly string[];
  readonly components: readonly string[];
  /** Options to carry over in the brackets of a one-line entry: `signed-by`, `trusted` ... (names in lower case). */
  readonly options: Readonly<Record<string, string>>;
}

const KEPT_OPTIONS = new Set(['signed-by', 'trusted', 'check-valid-until', 'allow-insecure']);

/** A `*.list` file: `deb [option=value ...] uri suite component...` a line. Lines that are not `deb` are passed over. */
export function parseOneLine(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const raw of text.split('\n')) {
    const line = raw.replace(/#.*$/, '').trim();
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)$/.exec(line);
    const uri = match?.[2];
    const suite = match?.[3];
    if (uri === undefined || suite === undefined) continue;
    const options: Record<string, string> = {};
    for (const pair of (match?.[1] ?? '').split(/\s+/)) {
      const at = pair.indexOf('=');
      const name = pair.slice(0, at).toLowerCase();
      if (at > 0 && KEPT_OPTIONS.has(name)) options[name] = pair.slice(at + 1);
    }
    sources.push({ uri, suites: [suite], components: words(match?.[4]), options });
  }
  return sources;
}

/**
 * A deb822 `*.sources` file: stanzas of `Field: value`, continued by indented lines. Disabled stanzas and those
 * without binary packages are passed over; so are keys given inline, which no one-line entry can carry.
 */
export function parseDeb822(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const stanza of text.replaceAll('\r', '').split(/\n[ \t]*\n/)) {
    const fields = stanzaFields(stanza);
    if (!words(fields.get('types')).includes('deb')) continue;
    if (/^(no|false|0|off|disable)$/i.test(fields.get('enabled') ?? 'yes')) continue;
    const options: Record<string, string> = {};
    for (const name of KEPT_OPTIONS) {
      const value = fields.get(name);
      if (value !== undefined && value !== '' && !value.includes('BEGIN PGP'))
        options[name] = words(value).join(',');
    }
    for (const uri of words(fields.get('uris'))) {
      sources.push({
        uri,
        suites: words(fields.get('suites')),
        components: words(fields.get('components')),
        options,
      });
    }
  }
  return sources;
}

function stanzaFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let name = '';
  for (const line of stanza.split('\n')) {
    if (line.startsWith('#')) continue;
    const start = /^([A-Za-z0-9-]+)\s*:\s*(.*)$/.exec(line);
    if (start !== null) {
      name = (start[1] ?? '').toLowerCase();
      fields.set(name, (start[2] ?? '').trim());
    } else if (name !== '' && /^\s/.test(line)) {
      fields.set(name, `${fields.get(name) ?? ''} ${line.trim()}`);
    }
  }
  return fields;
}

/**
 * The distribution's main archives among the sources, best first: those that carry a plain suite (not only its
 * security or update pocket) with component main. Third parties have suites of their own names and are left out
 * by `codename`, the release's own name in os-release.
 */
export function mainArchives(sources: readonly AptSource[], codename: string): AptSource[] {
  const plain = new Set([codename, 'stable', 'testing', 'unstable', 'sid', 'oldstable']);
  return sources.filter(
    (source) => source.components.includes('main') && source.suites.some((suite) => plain.has(suite)),
  );
}

/** A one-line entry for `suite` of that archive. */
export function renderSource(
  source: AptSource,
  suite: string,
  components: readonly string[] = ['main'],
): string {
  const options = Object.entries(source.options).map(([name, value]) => `${name}=${value}`);
  const bracket = options.length === 0 ? '' : `[${options.join(' ')}] `;
  return `deb ${bracket}${source.uri} ${suite} ${components.join(' ')}\n`;
}

/** `ID`, `VERSION_CODENAME` ... of os-release(5), unquoted. */
export function parseOsRelease(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(.*)$/.exec(line.trim());
    if (match !== null) fields.set(match[1] ?? '', (match[2] ?? '').replace(/^(["'])(.*)\1$/, '$2'));
  }
  return fields;
}

function words(text: string | undefined): string[] {
  return (text ?? '').split(/\s+/).filter((word) => word !== '');
}
