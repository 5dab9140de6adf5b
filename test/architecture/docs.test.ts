/** The documents name what is there: files and folders of this repository, other documents, their sections. */
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');
const DOCUMENTS = globSync(['*.md', 'docs/**/*.md', '{packages,services}/*/*.md'], { cwd: ROOT }).sort();

/** Paths in backticks, as far as they begin with a folder of the repository; `{a,b}` stands for each, `*` for some. */
function paths(text: string): string[] {
  const found = text.matchAll(/`((?:packages|services|test|scripts|docs|proto)\/[^`\s<]*)`/g);
  return [...found].flatMap((match) => each(match[1] ?? ''));
}

function each(path: string): string[] {
  const choice = /\{([^{}]*)\}/.exec(path);
  if (choice === null) return [path];
  return (choice[1] ?? '').split(',').flatMap((one) => each(path.replace(choice[0], one)));
}

/** Links to other documents: file (empty: this one) and section (may be empty). */
function links(text: string): { file: string; section: string }[] {
  const found = text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)/g);
  return [...found].map(([, file = '', section = '']) => ({ file, section }));
}

function sections(text: string): Set<string> {
  const titles = [...text.matchAll(/^#+ (.*)$/gm)].map((match) => match[1] ?? '');
  return new Set(
    titles.map((title) =>
      title
        .toLowerCase()
        .replace(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function mistakes(document: string, text: string): string[] {
  const here = join(ROOT, dirname(document));
  return [
    ...paths(text).filter((path) => globSync(path, { cwd: ROOT }).length === 0),
    ...links(text).flatMap(({ file, section }) => {
      const target = file === '' ? join(ROOT, document) : join(here, file);
      if (!existsSync(target)) return [file];
      const known = section === '' || sections(readFileSync(target, 'utf8')).has(section);
      return known ? [] : [`${file}#${section}`];
    }),
  ];
}

describe('documents', () => {
  it('are found', () => {
    expect(DOCUMENTS).toContain('docs/architecture.md');
    expect(DOCUMENTS.length).toBeGreaterThan(25);
  });

  it.each(DOCUMENTS)('%s names what is there', (document) => {
    expect(mistakes(document, readFileSync(join(ROOT, document), 'utf8'))).toEqual([]);
  });

  it.each([
    ['a file that is gone', '`packages/core/src/nowhere.ts`'],
    ['one of several', '`services/{cdc,nobody}/src/main.ts`'],
    ['a document', '[x](docs/nowhere.md)'],
    ['a section', '[x](docs/architecture.md#nowhere)'],
  ])('can fail: %s', (_, text) => {
    expect(mistakes('README.md', text)).toHaveLength(1);
  });
});
