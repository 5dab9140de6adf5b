import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Bus, connectBus } from '@drover/bus';
import { newMasterKey, openCatalog } from '@drover/catalog';
import { type Config, configFromParts } from '@drover/config';
import { DroverError } from '@drover/core';
import { newTenant, type TestNats, testNats } from '@drover/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outputOf } from '../output/terminal.ts';
import { keyGenerate, keyList, keyRewrap, keyRotate, keyShred, tenantSeal } from './keys.ts';

let nats: TestNats;
let bus: Bus;
const file = join(mkdtempSync(join(tmpdir(), 'drover-test-keys-')), 'master.keys');
let config: Config;

beforeAll(async () => {
  nats = await testNats();
  bus = await connectBus({ url: nats.url, name: 'test' });
  config = configFromParts({ sections: { nats: { url: nats.url }, security: { master_key: { file } } } });
  writeFileSync(file, newMasterKey(1));
  const catalog = await openCatalog(bus, { replicas: 1 });
  for (const name of ['acme', 'globex']) await catalog.createTenant(...newTenant(name));
});

afterAll(async () => {
  await bus.close();
  await nats.stop();
});

/** What the verb answers, as --json. */
async function said(verb: (out: ReturnType<typeof outputOf>) => unknown) {
  let text = '';
  const answer = await verb(outputOf(true, (more) => (text += more)));
  return {
    answer,
    lines: text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>),
  };
}
const codeOf = async (verb: (out: ReturnType<typeof outputOf>) => unknown) => {
  try {
    await verb(outputOf(true, () => undefined));
  } catch (error) {
    return error instanceof DroverError ? error.code : String(error);
  }
  return 'done';
};
const listed = async () => (await said((out) => keyList(config, out))).lines[0];

describe('the life of keys', () => {
  it('begins with a tenant that exists', async () => {
    expect(await codeOf((out) => tenantSeal(config, 'nobody', out))).toBe('tenant.unknown');
    expect((await said((out) => tenantSeal(config, 'acme', out))).lines).toEqual([
      { tenant: 'acme', key: 1, made: true },
    ]);
    expect((await said((out) => tenantSeal(config, 'globex', out))).lines[0]).toMatchObject({ key: 1 });
    expect((await said((out) => tenantSeal(config, '_shared', out))).lines[0]).toMatchObject({ key: 1 });
  });

  it('goes on with rotation, of one or of all', async () => {
    const one = await said((out) => keyRotate(config, { tenant: 'acme', all: false }, out));
    expect(one.lines).toEqual([{ tenant: 'acme', key: 2 }]);
    const all = await said((out) => keyRotate(config, { tenant: undefined, all: true }, out));
    expect([all.answer, all.lines]).toEqual([
      true,
      [
        { tenant: '_shared', key: 2 },
        { tenant: 'acme', key: 3 },
        { tenant: 'globex', key: 2 },
      ],
    ]);
    for (const which of [
      { tenant: undefined, all: false },
      { tenant: 'acme', all: true },
    ]) {
      expect(await codeOf((out) => keyRotate(config, which, out))).toBe('config.invalid');
    }
  });

  it('with another master key, after which the one before may go', async () => {
    const { lines } = await said((out) => keyGenerate(config, out));
    expect(lines[0]).toMatchObject({ generation: 2 });
    const second = String(lines[0]?.['line']);
    writeFileSync(file, second);
    const early = await said((out) => keyRewrap(config, out));
    expect([early.answer, early.lines[0]?.['wrapped']]).toEqual([false, 0]); // the first was thrown away too soon
    const first = newMasterKey(1);
    writeFileSync(file, `${first}\n${second}`);
    expect((await said((out) => keyRewrap(config, out))).answer).toBe(false); // that was another
    expect(await listed()).toMatchObject({ master: { here: [1, 2], used: [1] } });
  });

  it('and ends with shredding, said twice', async () => {
    expect(await codeOf((out) => keyShred(config, 'acme', false, out))).toBe('config.invalid');
    const { lines } = await said((out) => keyShred(config, 'acme', true, out));
    expect(lines[0]).toMatchObject({ tenant: 'acme', erased: 3 });
    expect(String(lines[0]?.['stays'])).toContain('rows in PostgreSQL');
    const tenants = (await listed())?.['tenants'] as { tenant: string; state: string; keys: unknown[] }[];
    expect(tenants.map(({ tenant, state, keys }) => [tenant, state, keys.length])).toEqual([
      ['_shared', 'sealed', 2],
      ['acme', 'shredded', 0],
      ['globex', 'sealed', 2],
    ]);
    expect(await codeOf((out) => keyShred(config, 'nobody', true, out))).toBe('key.none');
  });
});

it('without a master key nothing is sealed, but keys can be shredded, and the first one made', async () => {
  const none = configFromParts({ sections: { nats: { url: nats.url } } });
  expect(await codeOf((out) => tenantSeal(none, 'acme', out))).toBe('key.master');
  expect(await codeOf((out) => keyRewrap(none, out))).toBe('key.master');
  expect(await codeOf((out) => keyList(none, out))).toBe('done');
  expect((await said((out) => keyShred(none, 'globex', true, out))).lines[0]).toMatchObject({ erased: 2 });
  const missing = configFromParts({
    sections: { nats: { url: nats.url }, security: { master_key: { file: '/nowhere/keys' } } },
  });
  expect((await said((out) => keyGenerate(missing, out))).lines[0]).toMatchObject({ generation: 1 });
});
