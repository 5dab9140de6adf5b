/** The files of a data directory that are read or written as text. */
import { expect, test } from 'vitest';
import { parsePidFile } from './pg-pidfile.ts';
import { localSettings, renderSettings } from './pg-settings.ts';
import { parsePasswd } from './server-user.ts';

test('postmaster.pid of a running server', () => {
  const text = '4711\n/d/data\n1700000000\n5433\n\n127.0.0.1\n  1234 5\nready   \n';
  expect(parsePidFile(text)).toEqual({ pid: 4711, port: 5433, status: 'ready' });
});

test('postmaster.pid that is not complete yet, or garbage', () => {
  expect(parsePidFile('4711\n/d/data\n')).toEqual({ pid: 4711, port: 0, status: '' });
  for (const text of ['', '\n', 'x\n', '-5\n']) expect(parsePidFile(text)).toBeNull();
});

test('settings: the caller overrides; values are quoted', () => {
  const text = renderSettings(
    localSettings(5555, 18, { fsync: false, max_connections: 20, application_name: "it's \\ x" }),
  );
  expect(text).toContain("port = '5555'");
  expect(text).toContain("fsync = 'off'");
  expect(text).toContain("max_connections = '20'");
  expect(text).not.toContain("max_connections = '300'");
  expect(text).toContain("application_name = 'it''s \\\\ x'");
});

test('passwd entries', () => {
  const text =
    'root:x:0:0:root:/root:/bin/bash\ndrover:x:998:997::/home/drover:/usr/sbin/nologin\nodd:x:a:b::/:/bin/sh\n';
  expect(parsePasswd(text, 'drover')).toEqual({ name: 'drover', uid: 998, gid: 997 });
  expect(parsePasswd(text, 'odd')).toBeNull();
  expect(parsePasswd(text, 'nobody')).toBeNull();
});
