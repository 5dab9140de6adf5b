import { describe, expect, test } from 'vitest';
import {
  type AptSource,
  mainArchives,
  parseDeb822,
  parseOneLine,
  parseOsRelease,
  renderSource,
} from './debian-sources.ts';

const MIRROR = 'http://mirror.example/debian';
const source = (over: Partial<AptSource>): AptSource => ({
  uri: MIRROR,
  suites: ['bookworm'],
  components: ['main'],
  options: {},
  ...over,
});

describe('one-line entries', () => {
  test('uri, suite, components', () => {
    expect(parseOneLine(`deb ${MIRROR} bookworm main contrib\n`)).toEqual([
      source({ components: ['main', 'contrib'] }),
    ]);
  });

  test('options: those that decide about trust are kept, others are not', () => {
    const [entry] = parseOneLine(
      `deb [ arch=amd64 Signed-By=/usr/share/keyrings/k.gpg trusted=yes ] ${MIRROR} sid main`,
    );
    expect(entry).toEqual(
      source({ suites: ['sid'], options: { 'signed-by': '/usr/share/keyrings/k.gpg', trusted: 'yes' } }),
    );
  });

  test('comments, sources, blank and broken lines are passed over', () => {
    const text = `# deb ${MIRROR} bookworm main\n\ndeb-src ${MIRROR} bookworm main\ndeb\ndeb ${MIRROR}\n  deb  ${MIRROR}  bookworm  main # here\n`;
    expect(parseOneLine(text)).toEqual([source({})]);
  });
});

describe('deb822', () => {
  test('stanzas, several suites and uris, comments, continued lines', () => {
    const text = [
      'Types: deb deb-src',
      '# a comment',
      `URIs: ${MIRROR} http://other.example/debian`,
      'Suites: bookworm',
      ' bookworm-updates',
      'Components: main contrib',
      'Signed-By: /usr/share/keyrings/debian.gpg',
      '',
      'Types: deb',
      'URIs: http://security.example/debian-security',
      'Suites: bookworm-security',
      'Components: main',
    ].join('\n');
    const first = {
      suites: ['bookworm', 'bookworm-updates'],
      components: ['main', 'contrib'],
      options: { 'signed-by': '/usr/share/keyrings/debian.gpg' },
    };
    expect(parseDeb822(text)).toEqual([
      source(first),
      source({ ...first, uri: 'http://other.example/debian' }),
      source({ uri: 'http://security.example/debian-security', suites: ['bookworm-security'] }),
    ]);
  });

  test('disabled, source-only and empty stanzas are passed over', () => {
    const body = `URIs: ${MIRROR}\nSuites: bookworm\nComponents: main`;
    expect(parseDeb822(`Types: deb-src\n${body}\n\nEnabled: no\nTypes: deb\n${body}\n\n\n`)).toEqual([]);
    expect(parseDeb822(`Enabled: yes\r\nTypes: deb\r\n${body}\r\n`)).toHaveLength(1);
  });

  test('an inline key is left out: no one-line entry can carry it', () => {
    const text = `Types: deb\nURIs: ${MIRROR}\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINB\n`;
    expect(parseDeb822(text)).toEqual([source({})]);
  });
});

test("the distribution's own archive is chosen, not security, updates or third parties", () => {
  const sources = [
    source({ uri: 'http://nodes.example', suites: ['nodistro'] }),
    source({ uri: 'http://security.example', suites: ['bookworm-security'] }),
    source({ suites: ['bookworm', 'bookworm-updates'] }),
    source({ uri: 'http://contrib.example', components: ['contrib'] }),
  ];
  expect(mainArchives(sources, 'bookworm').map((archive) => archive.uri)).toEqual([MIRROR]);
});

test('rendered for another suite, and read back the same', () => {
  const archive = source({ options: { 'signed-by': '/k.gpg', trusted: 'yes' } });
  const text = renderSource(archive, 'sid');
  expect(text).toBe(`deb [signed-by=/k.gpg trusted=yes] ${MIRROR} sid main\n`);
  expect(parseOneLine(text)).toEqual([{ ...archive, suites: ['sid'] }]);
});

test('os-release', () => {
  const fields = parseOsRelease(
    'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_CODENAME=\'bookworm\'\n',
  );
  expect(fields.get('ID')).toBe('debian');
  expect(fields.get('VERSION_CODENAME')).toBe('bookworm');
});
