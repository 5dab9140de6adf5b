import { expect, test } from 'vitest';
import { cacheDir, defaultDataDir } from './paths.ts';

test("root's servers run as another user, so root's places are where everybody can walk", () => {
  expect(cacheDir({ XDG_CACHE_HOME: '/x' }, true)).toBe('/var/cache/drover');
  expect(defaultDataDir('/root/drover', true)).toBe('/var/lib/drover');
});

test('everybody else keeps to their own', () => {
  expect(cacheDir({ XDG_CACHE_HOME: '/x' }, false)).toBe('/x/drover');
  expect(cacheDir({ XDG_CACHE_HOME: '' }, false)).toMatch(/\/\.cache\/drover$/);
  expect(defaultDataDir('/home/a/drover', false)).toBe('/home/a/drover/.drover');
});
