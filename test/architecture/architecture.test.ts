import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FLOORS, importsOf, type SourceFile, violations, type Workspace } from './imports.ts';

const ROOT = join(import.meta.dirname, '../..');

function workspaces(): Map<string, Workspace> {
  const out = new Map<string, Workspace>();
  for (const kind of ['packages', 'services']) {
    for (const name of readdirSync(join(ROOT, kind))) {
      const json = JSON.parse(readFileSync(join(ROOT, kind, name, 'package.json'), 'utf8')) as Record<
        string,
        Record<string, string>
      >;
      const dependencies = new Set([
        ...Object.keys(json['dependencies'] ?? {}),
        ...Object.keys(json['optionalDependencies'] ?? {}),
      ]);
      out.set(`${kind}/${name}`, { name, dependencies });
    }
  }
  return out;
}

function sources(): SourceFile[] {
  return ['packages', 'services'].flatMap((kind) =>
    readdirSync(join(ROOT, kind), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts') && !path.includes('node_modules') && !path.includes('/gen/'))
      .map((path) => ({ path: `${kind}/${path}`, text: readFileSync(join(ROOT, kind, path), 'utf8') })),
  );
}

describe('the house', () => {
  it('keeps its floors: no service imports a service, no package climbs, every import is declared', () => {
    const files = sources();
    expect(files.length).toBeGreaterThan(100);
    expect(violations(files, workspaces())).toEqual([]);
  });

  it('declares every metric of a service in its catalogue', () => {
    const strays = sources().filter(
      ({ path, text }) =>
        path.startsWith('services/') &&
        !path.endsWith('.test.ts') &&
        /\b(?:telemetry\.)?metrics\.(?:counter|gauge|histogram)\(/i.test(text),
    );
    expect(strays.map(({ path }) => path)).toEqual([]);
  });

  it('has a rule for every package', () => {
    expect(readdirSync(join(ROOT, 'packages')).sort()).toEqual(Object.keys(FLOORS).sort());
  });

  it.each([
    ['a service that imports a service', 'services/cdc/src/x.ts', `import { run } from '@drover/apply';`],
    [
      'a service that reaches into another by path',
      'services/cdc/src/x.ts',
      `import { run } from '../../apply/src/main.ts';`,
    ],
    ['a package that climbs', 'packages/block/src/x.ts', `import { connectBus } from '@drover/bus';`],
    ['core that knows somebody', 'packages/core/src/x.ts', `export * from '@drover/pg';`],
    ['testkit outside tests', 'services/cdc/src/x.ts', `import { testNats } from '@drover/testkit';`],
    ['an undeclared dependency', 'packages/core/src/x.ts', `import pg from 'pg';`],
    ['a dynamic import across services', 'services/cdc/src/x.ts', `const m = await import('@drover/proxy');`],
    [
      'an import over several lines',
      'packages/pg/src/x.ts',
      `import {\n  a,\n  b,\n} from '@drover/catalog';`,
    ],
  ])('can fail: %s', (_, path, text) => {
    expect(violations([{ path, text }], workspaces())).toHaveLength(1);
  });

  it('does not take comments and strings for imports', () => {
    expect(
      importsOf(`/* import x from 'a' */\n// import y from 'b'\nconst s = "import('c')";`).filter(
        (i) => i !== 'c',
      ),
    ).toEqual([]);
  });
});
