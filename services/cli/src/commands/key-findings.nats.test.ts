/** `drover doctor` says of which sealed tenants the keys cannot be had where it runs. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bus, connectBus } from '@drover/bus';
import { KeyBucket, KeyStore, MasterKeys, newMasterKey } from '@drover/catalog';
import { configFromParts } from '@drover/config';
import { tenantId } from '@drover/core';
import type { Finding } from '@drover/pg';
import { type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { keyFindings } from './key-findings.ts';

const file = join(mkdtempSync(join(tmpdir(), 'drover-test-keys-')), 'master.keys');
const [FIRST, SECOND] = [newMasterKey(1), newMasterKey(2)];

let nats: TestNats;
let bus: Bus;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectBus({ url: nats.url, name: 'test' });
  writeFileSync(file, FIRST);
});
afterAll(async () => {
  await bus.close();
  await nats.stop();
});

function found(master: Readonly<Record<string, unknown>> = { master_key: { file } }): Promise<Finding[]> {
  return keyFindings(bus, configFromParts({ sections: { nats: { url: nats.url }, security: master } }));
}
const store = async () => new KeyStore(await KeyBucket.open(bus, { replicas: 1 }), MasterKeys.at({ file }));

it('says nothing while nobody is sealed, and makes no bucket', async () => {
  expect(await found()).toEqual([]);
  expect(await KeyBucket.exists(bus)).toBe(false);
});

it('says that all is well, or whose keys cannot be had and why, old ones too', async () => {
  for (const name of ['acme', 'globex']) await (await store()).seal(tenantId(name));
  expect(await found()).toEqual([expect.objectContaining({ severity: 'ok', message: '2 can be had here' })]);
  expect(await found({})).toEqual([
    expect.objectContaining({
      severity: 'error',
      code: 'key_unavailable',
      message: expect.stringMatching(
        /^of acme, globex cannot be had here: no master key is configured here; /,
      ),
    }),
  ]);
  writeFileSync(file, `${FIRST}\n${SECOND}`);
  await (await store()).rotate(tenantId('acme'));
  writeFileSync(file, SECOND); // what blocks of before were sealed under is gone
  const messages = (await found()).map(({ message }) => message);
  expect(messages).toEqual([
    expect.stringMatching(
      /^of acme, globex cannot be had here: generation 1 of the master key is not here; /,
    ),
  ]);
  writeFileSync(file, FIRST);
  expect((await found()).map(({ message }) => message)).toEqual([
    expect.stringMatching(/^of acme cannot be had here: generation 2 of the master key is not here; /),
  ]);
});

it('says that a master key which is configured cannot be read', async () => {
  const findings = await found({ master_key: { file: `${file}.none` } });
  expect(findings.map(({ code, severity }) => [code, severity])).toEqual([
    ['key_master', 'error'],
    ['key_unavailable', 'error'],
  ]);
});

it('does not count keys that were shredded', async () => {
  for (const name of ['acme', 'globex']) await (await store()).shred(tenantId(name));
  expect((await found()).map(({ severity }) => severity)).toEqual(['ok']);
});
