// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the placeholders of drover.toml look like those of template strings
import { parseConfig } from '@drover/config';
import { DroverError } from '@drover/core';
import { describe, expect, it } from 'vitest';
import { rulesOf } from './load.ts';
import { parseRules } from './parse-rules.ts';
import { matches, matchesTable, rulesFor } from './select.ts';

const CONFIG = `
[[clusters]]
name = "east"
host = "db-east"
databases = ["app"]
[[clusters]]
name = "west"
host = "db-west"
databases = ["app"]
[security]
secret = "0123456789012345678901234567890123456789"
[tiers.gold]
weight = 2
`;

const load = (toml: string, env: NodeJS.ProcessEnv = {}) => {
  const config = parseConfig(CONFIG + toml, '/etc/drover.toml', env);
  return { config, rules: rulesOf(config) };
};

function faults(raw: unknown): string[] {
  try {
    parseRules(raw, { file: 'drover.toml', tiers: ['standard'], clusters: ['east', 'west'] });
  } catch (error) {
    if (error instanceof DroverError) return error.message.split('\n');
    throw error;
  }
  return [];
}

describe('[[transform]]', () => {
  it('is read with its selectors, actions in order, filter and stage', () => {
    const { rules, config } = load(
      `
[[transform]]
tables = ["public.users", "audit.*"]
tenants = ["eu-*"]
where = "kind <> 'test' AND deleted IS NULL"
actions = [
  { drop = "ssn" },
  { mask = "email", with = "hash", scope = "people" },
  { mask = "name", with = "partial", first = 1 },
  { mask = "note", with = "null" },
  { mask = "note2", with = "constant", value = "\${NOTE}" },
  { rename = "mail", to = "email2" },
  { convert = "id", to = "int8" },
]
[[transform]]
tables = ["public.orders"]
tier = "gold"
target = "west"
stage = "apply"
where = "total > 0"
`,
      { NOTE: 'hidden' },
    );
    expect(config.clusters).toHaveLength(2);
    expect(rules).toMatchObject([
      {
        at: 'transform[0]',
        stage: 'publish',
        tenants: ['eu-*'],
        actions: [
          { kind: 'drop', column: 'ssn' },
          { kind: 'mask', column: 'email', mask: { kind: 'hash', length: 32, scope: 'people' } },
          { kind: 'mask', column: 'name', mask: { kind: 'partial', first: 1, last: 0, fill: '*' } },
          { kind: 'mask', column: 'note', mask: { kind: 'constant', value: null } },
          { kind: 'mask', column: 'note2', mask: { kind: 'constant', value: 'hidden' } },
          { kind: 'rename', column: 'mail', to: 'email2' },
          { kind: 'convert', column: 'id', to: 'int8' },
        ],
      },
      { at: 'transform[1]', stage: 'apply', tier: 'gold', target: 'west', actions: [] },
    ]);
  });

  it('hides before it leaves the source unless told otherwise', () => {
    const stage = (raw: object) => parseRules([{ tables: ['a.b'], ...raw }], { file: 'f' })[0]!.stage;
    expect(stage({ actions: [{ drop: 'x' }] })).toBe('publish');
    expect(stage({ actions: [{ mask: 'x', with: 'hash' }] })).toBe('publish');
    expect(stage({ actions: [{ rename: 'x', to: 'y' }] })).toBe('apply');
    expect(stage({ where: 'x = 1' })).toBe('apply');
    expect(stage({ where: 'x = 1', stage: 'publish' })).toBe('publish');
  });

  it('is absent in most files, and leaves the faults of the rest to the rest', () => {
    expect(load('').rules).toEqual([]);
    expect(() => load('[nope]')).toThrow(/\[nope\]: unknown section/);
    expect(() => load('[[transform]')).toThrow(/not valid TOML/);
    expect(() => load('[transform]')).toThrow(/transform: must be a list of sections/);
    expect(() => load('[[transform]]\ntables = ["a.${X}"]')).toThrow(/transform\[0\]: .* X is not set/);
  });

  it('names file, key and an example for every fault, all together', () => {
    const told = faults([
      {
        tables: ['users'],
        tier: 'gold',
        target: 'north',
        actions: [{ mask: 'x', with: 'hush' }, { drop: 'a', mask: 'b' }, 7, { round: 'x' }],
      },
      {
        table: ['a.b'],
        where: 'lower(x) = 1',
        stage: 'later',
        actions: [
          { mask: 'x', with: 'hash', length: 3 },
          { convert: 'x', to: 'json' },
          { drop: 'x', to: 'y' },
        ],
      },
      { tables: ['a.b'] },
      { tables: ['a.b'], target: 'west', actions: [{ drop: 'x' }] },
    ]);
    expect(
      told.every((line) => /^drover\.toml: transform\[\d\]\.?[^ ]*: .+; for example .+/.test(line)),
    ).toBe(true);
    expect(told.map((line) => line.replace('drover.toml: ', ''))).toMatchInlineSnapshot(`
      [
        "transform[0].tables: "users" is not schema.table; for example tables = ["public.users", "audit.*"]",
        "transform[0].tier: there is no tier "gold" (standard); for example tier = "standard"",
        "transform[0].target: there is no cluster "north" (east, west); for example target = "west"",
        "transform[0].actions[0].with: "hush" is not one of hash, partial, constant, null, format-keeping, truncate, round; for example { mask = "email", with = "hash" }",
        "transform[0].actions[1]: must say one of drop, rename, convert, mask; for example { mask = "email", with = "hash" }",
        "transform[0].actions[2]: must be an inline table; for example { drop = "ssn" }",
        "transform[0].actions[3]: must say one of drop, rename, convert, mask; for example { mask = "email", with = "hash" }",
        "transform[1].table: unknown key, did you mean tables?; for example actions = [{ drop = "ssn" }, { mask = "email", with = "hash" }]",
        "transform[1].tables: is missing: a rule names its tables; for example tables = ["public.users"]",
        "transform[1].actions[0].length: 3 is not a whole number from 8 to 64; for example { mask = "email", with = "hash", length = 32, scope = "people" }",
        "transform[1].actions[1].to: "json" is not one of int4, int8, numeric, float4, float8, text; for example { convert = "id", to = "int8" }",
        "transform[1].actions[2].to: unknown key for drop; for example { drop = "ssn" }",
        "transform[1].where: functions cannot be called in a filter (at character 1: "lower(x) = 1"); for example where = "status <> 'draft' AND deleted_at IS NULL"",
        "transform[1].stage: "later" is not one of publish, apply; for example stage = "publish"",
        "transform[2].actions: is missing, and so is where: the rule does nothing; for example actions = [{ drop = "ssn" }, { mask = "email", with = "hash" }]",
        "transform[3].target: one stream feeds all targets, so what is published cannot depend on the target; for example stage = "apply"",
      ]
    `);
  });
});

describe('which rules hold', () => {
  it('patterns', () => {
    expect(matches('eu-*', 'eu-1')).toBe(true);
    expect(matches('*', '')).toBe(true);
    expect(matches('a*b*c', 'aXbYc')).toBe(true);
    expect(matches('a*a', 'a')).toBe(false);
    expect(matches('a*b*b', 'ab')).toBe(false);
    expect(matches('eu', 'eu-1')).toBe(false);
    expect(matchesTable('public.*', 'public', 'a.b')).toBe(true);
    expect(matchesTable('p*.users', 'public', 'users')).toBe(true);
    expect(matchesTable('*.users', 'public', 'users2')).toBe(false);
  });

  it('by stage, tenant, tier and target', () => {
    const { rules } = load(`
[[transform]]
tables = ["a.b"]
tenants = ["t*"]
actions = [{ drop = "x" }]
[[transform]]
tables = ["a.b"]
tier = "gold"
where = "x = 1"
[[transform]]
tables = ["a.b"]
target = "west"
stage = "apply"
actions = [{ drop = "x" }]
`);
    const held = (scope: object) =>
      rulesFor(rules, { stage: 'apply', tenant: 't1', tier: 'standard', ...scope }).map((r) => r.at);
    expect(held({ stage: 'publish' })).toEqual(['transform[0]']);
    expect(held({ stage: 'publish', tenant: 'x' })).toEqual([]);
    expect(held({ tier: 'gold', target: 'west' })).toEqual(['transform[1]', 'transform[2]']);
    expect(held({ target: 'east' })).toEqual([]);
  });
});
