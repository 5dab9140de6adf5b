/** The floors of docs/architecture.md as rules over imports. Pure: files in, violations out. */
export interface SourceFile {
  /** Path from the root, with `/`. */
  readonly path: string;
  readonly text: string;
}

/** What each workspace may import. Services may import every package but testkit, and never each other. */
export const FLOORS: Readonly<Record<string, readonly string[]>> = {
  core: [],
  block: ['core'],
  config: ['core'],
  pg: ['core'],
  bus: ['core'],
  telemetry: ['core'],
  catalog: ['core', 'bus'],
  rpc: ['core'],
  local: ['core', 'pg'],
  transform: ['core', 'block', 'config', 'pg'],
  testkit: ['core', 'block', 'config', 'pg', 'bus', 'telemetry', 'catalog', 'rpc', 'local', 'transform'],
};
const SERVICES = ['cdc', 'apply', 'failover', 'migration', 'proxy', 'control', 'cli'];
const PACKAGES = Object.keys(FLOORS);

export function isTestFile(path: string): boolean {
  return /\.(test|testing|bench)\.ts$/.test(path) || path.startsWith('test/') || /fixture|golden/.test(path);
}

/** Every import of the file: `import … from`, `export … from`, `import('…')` with a literal. */
export function importsOf(text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
  const out: string[] = [];
  for (const m of code.matchAll(/(?:^|\n)\s*(?:import|export)\b[^'"`;]*?from\s*['"]([^'"]+)['"]/g))
    if (m[1]) out.push(m[1]);
  for (const m of code.matchAll(/(?:^|\n)\s*import\s*['"]([^'"]+)['"]/g)) if (m[1]) out.push(m[1]);
  for (const m of code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)) if (m[1]) out.push(m[1]);
  return out;
}

export interface Workspace {
  readonly name: string;
  readonly dependencies: ReadonlySet<string>;
}

/** One line for each import that climbs a floor, crosses into a sibling, or is not declared. */
export function violations(
  files: readonly SourceFile[],
  workspaces: ReadonlyMap<string, Workspace>,
): string[] {
  return files.flatMap((file) => importsOf(file.text).flatMap((target) => judge(file, target, workspaces)));
}

function judge(file: SourceFile, target: string, workspaces: ReadonlyMap<string, Workspace>): string[] {
  const [kind, name] = file.path.split('/');
  if (name === undefined || (kind !== 'packages' && kind !== 'services')) return [];
  if (target.startsWith('.'))
    return escapes(file.path, target) ? [`${file.path}: ${target} leaves its workspace`] : [];
  if (target.startsWith('node:')) return [];
  const drover = /^@drover\/([a-z]+)/.exec(target)?.[1];
  const test = isTestFile(file.path);
  if (drover === undefined) {
    const dependency = target.startsWith('@')
      ? target.split('/').slice(0, 2).join('/')
      : (target.split('/')[0] ?? target);
    const declared = workspaces.get(`${kind}/${name}`)?.dependencies.has(dependency) === true;
    return declared || test || name === 'testkit'
      ? []
      : [`${file.path}: ${dependency} is not declared in its package.json`];
  }
  if (drover === name) return [`${file.path}: ${target} imports its own workspace by name`];
  if (SERVICES.includes(drover)) return [`${file.path}: ${target} is a service`];
  if (drover === 'testkit') return test ? [] : [`${file.path}: testkit is for tests only`];
  if (test) return [];
  const allowed = kind === 'services' ? PACKAGES : (FLOORS[name] ?? []);
  if (!allowed.includes(drover)) return [`${file.path}: ${name} may not stand on ${drover}`];
  const declared = workspaces.get(`${kind}/${name}`)?.dependencies.has(`@drover/${drover}`) === true;
  return declared ? [] : [`${file.path}: @drover/${drover} is not declared in its package.json`];
}

function escapes(path: string, target: string): boolean {
  const at = path.split('/').slice(0, -1);
  for (const part of target.split('/')) {
    if (part === '..') at.pop();
    else if (part !== '.') at.push(part);
  }
  return at.slice(0, 2).join('/') !== path.split('/').slice(0, 2).join('/');
}
