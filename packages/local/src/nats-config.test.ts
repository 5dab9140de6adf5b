import { expect, test } from 'vitest';
import { parseGreeting, renderNatsConfig, versionAtLeast } from './nats-config.ts';

const base = { port: 4222, storeDir: '/d/js', pidFile: '/d/pid', logFile: '/d/log' };

test('only what was asked for differs from the defaults of the server', () => {
  expect(renderNatsConfig(base)).not.toMatch(/max_payload|sync_interval|max_file_store/);
  const all = renderNatsConfig({ ...base, maxPayload: 1024, syncInterval: 'always', maxFileStore: 5 });
  expect(all).toContain('max_payload: 1024');
  expect(all).toMatch(
    /jetstream \{[^}]*store_dir: "\/d\/js"[^}]*max_file_store: 5[^}]*sync_interval: "always"[^}]*\}/,
  );
});

test('paths with spaces and quotes stay one value', () => {
  expect(renderNatsConfig({ ...base, logFile: '/a b/"c"' })).toContain('log_file: "/a b/\\"c\\""');
});

test('the greeting', () => {
  expect(
    parseGreeting('INFO {"version":"2.12.1","jetstream":true,"max_payload":1048576,"server_name":"x"}'),
  ).toEqual({
    version: '2.12.1',
    jetstream: true,
    maxPayload: 1048576,
    serverName: 'x',
  });
  expect(parseGreeting('INFO {"version":"2.12.1"}')?.jetstream).toBe(false);
  for (const line of ['', 'HTTP/1.1 400 Bad Request', 'INFO {broken']) expect(parseGreeting(line)).toBeNull();
});

test.each([
  ['2.10.0', true],
  ['v2.9.25', false],
  ['2.15.1', true],
  ['3.0.0', true],
  ['2.11.0-RC.1', true],
  ['unknown', false],
])('%s is at least 2.10: %s', (version, expected) => {
  expect(versionAtLeast(version, 2, 10)).toBe(expected);
});
